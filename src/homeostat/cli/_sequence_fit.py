"""A fit to a user's own sequences, as a run."""

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np

from ..data import AbstractSequences, open_sequences, split_sequences as split_at_random
from ..experiments import Experiment, Minutes
from ..results import BadInputError
from ..workflow import (
    SequencesDescription,
    SequencesOptions,
    SequencesSystem,
    Tracker,
    build_sequences_system,
    check_sequences_options,
    describe_sequences,
    failure_text,
    outline_sequences_system,
    sequence_format,
    sequences_fingerprint,
)
from ._context import RunContext
from ._fit import Trained, _close as close_on_rows
from ._sequence_figures import show_filtering, show_sequence_training
from ._sequence_fitted import Tally, free_energies, parts, summarize_sequences, track
from ._sequence_training import train_on_sequences
from ._sequences import SEQUENCE_FIT

_LOOKED_AT = 64


@final
@dataclass(frozen=True)
class SequenceFitRequest:
    """What a fit was asked for.

    Attributes:
        data: the sequences: a file, an array in an archive, or a folder.
        options: everything else.
    """

    data: str
    options: SequencesOptions

    def plain(self) -> dict[str, Any]:
        """One level of names, as a run keeps it."""
        return {"data": self.data, **dataclasses.asdict(self.options)}


class _Parts(NamedTuple):
    """Sequences of a fit. There are no test sequences: those come with `homeostat evaluate`."""

    everything: AbstractSequences
    train: AbstractSequences
    validation: AbstractSequences


def sequence_fit_experiment(request: SequenceFitRequest) -> Experiment:
    """The fit in the clothes of an experiment."""
    summary = f"{request.options.model} with {request.options.engine} filtering on {request.data}"
    return Experiment(SEQUENCE_FIT, summary, "", Minutes(0, 0, 0), (), SequencesOptions, _run)


def _run(request: SequenceFitRequest, context: RunContext, *, key: Any) -> None:
    config = request.options
    check_sequences_options(config)
    everything = open_sequences(request.data, sequence_format(config), message=context.say)
    splits = split_at_random(everything, validation=config.validation_fraction, test=0.0, seed=context.seed)
    data = _Parts(everything, splits.train, splits.validation)

    def describe(key: Any) -> SequencesDescription:
        found = describe_sequences(everything, data.train, config)
        outline_sequences_system(config, found)
        return found

    observations: SequencesDescription = context.stage("describe", describe, key=key)
    if sequences_fingerprint(everything) != observations.fingerprint:
        raise BadInputError(
            f"Expected the sequences that this run was started with in {request.data}, got others: the file has changed. Put "
            f"it back, or start a new run."
        )
    _announce(context, observations, data, config)
    build_key, train_key, measure_key, figure_key = jax.random.split(key, 4)
    system = build_sequences_system(config, observations, key=build_key)
    trained = _train(system, data, context, train_key)
    context.checkpoint("model", trained.kept)
    chosen = data.validation if len(data.validation) else data.train
    chosen = chosen.select(np.arange(min(len(chosen), _LOOKED_AT)))
    summary = context.stage("measure", lambda key: _measure(system, trained.kept.learned, chosen, key), key=measure_key)
    failed = _failure(system, trained)
    context.conclude(
        unit="sequence",
        rows_of="validation" if len(data.validation) else "train",
        likelihood=observations.likelihood,
        training_rows=len(data.train),
        validation_rows=len(data.validation),
        training_steps=data.train.num_steps,
        best_step=trained.step,
        last_step=trained.last_step,
        failure=failed,
        **summary,
    )
    show_sequence_training(context)
    if trained.failure is None or trained.validated:
        show_filtering(system, trained.kept.learned, chosen, context, key=figure_key)
    _close(system, context, trained, failed)


def _announce(context: RunContext, observations: SequencesDescription, data: _Parts, config: SequencesOptions) -> None:
    shape = " x ".join(map(str, observations.shape))
    context.say(
        f"  sequences: {len(data.train)} to train on ({data.train.num_steps} steps), {len(data.validation)} to validate on "
        f"({data.validation.num_steps} steps), of {shape} numbers a step"
    )
    chosen = "chosen from the data" if config.likelihood == "auto" else "as asked"
    uneven = "; steps differ in duration, which is an input of the model" if observations.uneven else ""
    context.say(f"  likelihood: {observations.likelihood}, {chosen} (--likelihood names another){uneven}")


def _train(system: SequencesSystem, data: _Parts, context: RunContext, key: Any) -> Trained:
    validation = data.validation.select(np.arange(min(len(data.validation), _LOOKED_AT)))

    def validate(state: Any, key: Any) -> float:
        return _tally(system, system.keep(state).learned, validation, key).per_step_nats

    return train_on_sequences(system, data.train, validate if len(validation) else None, context, key=key)


def _tally(system: SequencesSystem, learned: Tracker, sequences: AbstractSequences, key: Any) -> Tally:
    tally = Tally([])
    for part in parts(sequences, system.observations, system.config.bounds):
        found = track(learned, part.batch, jnp.asarray(part.padded.indices), key)
        tally = tally.with_part(part, free_energies(part, found, system.observations))
    return tally


def _measure(system: SequencesSystem, learned: Tracker, sequences: AbstractSequences, key: Any) -> dict[str, Any]:
    return summarize_sequences(_tally(system, learned, sequences, key), system.observations.likelihood != "gaussian")


def _failure(system: SequencesSystem, trained: Trained) -> str | None:
    """What was not finite, or None."""
    if trained.failure is None or not system.closed_form:
        return None if trained.failure is None else failure_text(trained.failure)
    what = "a number of the model" if bool(trained.failure.gradient) else "the likelihood"
    return f"step {int(trained.failure.step)} of expectation maximisation: {what} became NaN or infinite"


def _close(system: SequencesSystem, context: RunContext, trained: Trained, failed: str | None) -> None:
    if failed is None or not system.closed_form:
        close_on_rows(context, trained, failed)
        return
    context.say(
        f"error: training stopped at {failed}. The model from before is kept (after {trained.step} steps). Expected finite "
        f"numbers: choose fewer --latents, or look for extreme values and entries that depend on one another in the data."
    )
