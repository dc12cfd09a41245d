"""A fit to a user's own sequences, as a run."""

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np

from ..data import (
    AbstractCut,
    AbstractSequences,
    Whole,
    Windows,
    num_batches,
    open_sequences,
    sequence_batches,
    split_sequences as split_at_random,
)
from ..experiments import Experiment, Minutes
from ..inference import SequenceBatch, expectation_maximization
from ..presets import (
    SequenceFitConfig,
    SequenceKept,
    SequenceObservations,
    SequenceSystem,
    Tracker,
    build_sequence_system,
    check_sequence_config,
    describe_sequences,
    failure_text,
    outline_sequence_system,
    sequence_fingerprint,
    sequence_format,
)
from ..results import BadInputError
from ..viz import plot_one_step, plot_whiteness
from ._context import RunContext
from ._fit import _close
from ._fit_figures import show_training
from ._sequence_fitted import foresee, free_energies, parts, summarize_sequences, track
from ._sequences import SEQUENCE_FIT
from ._training import AbstractFeed, Trained, train_on_rows

_MAXIMIZATION_STEPS = 200
_LOOKED_AT = 64
_SHOWN_STEPS, _SHOWN_ENTRIES, _DRAWS = 200, 3, 64


@final
@dataclass(frozen=True)
class SequenceFitRequest:
    """What a fit was asked for.

    Attributes:
        data: the sequences: a file, an array in an archive, or a folder.
        options: everything else.
    """

    data: str
    options: SequenceFitConfig

    def plain(self) -> dict[str, Any]:
        """One level of names, as a run keeps it."""
        return {"data": self.data, **dataclasses.asdict(self.options)}


class _Parts(NamedTuple):
    """Sequences of a fit. There are no test sequences: those come with `homeostat evaluate`."""

    everything: AbstractSequences
    train: AbstractSequences
    validation: AbstractSequences


@final
class SequenceFeed(AbstractFeed):
    """Pieces of sequences, read on the host a segment at a time; the same for the same seed, wherever a run goes on."""

    def __init__(
        self,
        sequences: AbstractSequences,
        cut: AbstractCut,
        observations: SequenceObservations,
        batch_size: int,
        seed: int,
    ):
        self._sequences, self._cut, self._observations = sequences, cut, observations
        self._batch_size, self._seed = batch_size, seed
        self._per_epoch = num_batches(sequences, cut, batch_size)
        self._next, self._batches = -1, iter(())

    def fixed(self) -> None:
        return None

    def segment(self, start: int, count: int) -> SequenceBatch:
        found = [self._at(step) for step in range(start, start + count)]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)

    def _at(self, step: int) -> SequenceBatch:
        epoch, number = divmod(step, self._per_epoch)
        if step != self._next or number == 0:
            self._batches = sequence_batches(
                self._sequences, self._cut, self._batch_size, seed=self._seed, epoch=epoch, start=number
            )
        self._next = step + 1
        return self._observations.batch(next(self._batches))

    @staticmethod
    def batch(fixed: None, one: SequenceBatch) -> SequenceBatch:
        return one


def sequence_fit_experiment(request: SequenceFitRequest) -> Experiment:
    """The fit in the clothes of an experiment."""
    summary = f"{request.options.model} with {request.options.engine} filtering on {request.data}"
    return Experiment(SEQUENCE_FIT, summary, "", Minutes(0, 0, 0), (), SequenceFitConfig, _run)


def _run(request: SequenceFitRequest, context: RunContext, *, key: Any) -> None:
    config = request.options
    check_sequence_config(config)
    everything = open_sequences(request.data, sequence_format(config), message=context.say)
    splits = split_at_random(everything, validation=config.validation_fraction, test=0.0, seed=context.seed)
    data = _Parts(everything, splits.train, splits.validation)

    def describe(key: Any) -> SequenceObservations:
        found = describe_sequences(everything, data.train, config)
        outline_sequence_system(config, found)
        return found

    observations: SequenceObservations = context.stage("describe", describe, key=key)
    if sequence_fingerprint(everything) != observations.fingerprint:
        raise BadInputError(
            f"Expected the sequences that this run was started with in {request.data}, got others: the file has changed. Put "
            f"it back, or start a new run."
        )
    _announce(context, observations, data, config)
    build_key, train_key, measure_key, figure_key = jax.random.split(key, 4)
    system = build_sequence_system(config, observations, key=build_key)
    trained = (_maximize if system.closed_form else _train)(system, data, context, train_key)
    context.checkpoint("model", trained.kept)
    chosen = data.validation if len(data.validation) else data.train
    chosen = chosen.select(np.arange(min(len(chosen), _LOOKED_AT)))
    summary = context.stage("measure", lambda key: _measure(system, trained.kept.learned, chosen, key), key=measure_key)
    failed = None if trained.failure is None else failure_text(trained.failure)
    context.conclude(
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
    show_training(context)
    if trained.failure is None or trained.validation_nats is not None:
        _show(system, trained.kept.learned, chosen, context, figure_key)
    _close(context, trained, failed)


def _announce(context: RunContext, observations: SequenceObservations, data: _Parts, config: SequenceFitConfig) -> None:
    shape = " x ".join(map(str, observations.shape))
    context.say(
        f"  sequences: {len(data.train)} to train on ({data.train.num_steps} steps), {len(data.validation)} to validate on "
        f"({data.validation.num_steps} steps), of {shape} numbers a step"
    )
    chosen = "chosen from the data" if config.likelihood == "auto" else "as asked"
    uneven = "; steps differ in duration, which is an input of the model" if observations.uneven else ""
    context.say(f"  likelihood: {observations.likelihood}, {chosen} (--likelihood names another){uneven}")


def _train(system: SequenceSystem, data: _Parts, context: RunContext, key: Any) -> Trained:
    config, observations = system.config, system.observations
    feed = SequenceFeed(data.train, Windows(config.piece), observations, config.batch_size, context.seed)
    validation = data.validation.select(np.arange(min(len(data.validation), _LOOKED_AT)))
    look_key, train_key = jax.random.split(key)

    def validate(kept: SequenceKept) -> float:
        found = _measure(system, kept.learned, validation, look_key)
        return found["free_energy_per_step_nats"]

    def on_validation(step: int, nats: float) -> None:
        context.metrics(step=step, validation_free_energy_nats=nats)

    with context.keeper("train", config.steps) as keeper:
        return train_on_rows(
            system.learner(),
            feed,
            keep=system.keep,
            validate=validate if len(validation) else None,
            on_validation=on_validation,
            num_steps=config.steps,
            every=config.report_every,
            validate_every=config.validate_every,
            patience=config.patience,
            key=train_key,
            keeper=keeper,
        )


def _maximize(system: SequenceSystem, data: _Parts, context: RunContext, key: Any) -> Trained:
    """Expectation maximisation on whole sequences, which are all held on the device."""
    config, steps = system.config, min(system.config.steps, _MAXIMIZATION_STEPS)
    longest = Whole((int(data.train.lengths.max()),))
    padded = next(iter(sequence_batches(data.train, longest, len(data.train), seed=context.seed)))
    batch = system.observations.batch(padded)

    def learn(key: Any) -> SequenceKept:
        # What is missing is NaN for exact filters; beyond the end `lengths` says so.
        seen = jnp.where(batch.mask, batch.observations, jnp.nan)
        found = expectation_maximization(
            system.learned.model, seen, batch.actions, lengths=batch.lengths, num_steps=steps, throw=False
        )
        total = max(data.train.num_steps, 1)
        for step, nats in enumerate(np.asarray(found.log_evidence_nats)):
            if step % max(1, steps // 100) == 0 or step == steps:
                context.metrics(step=step, free_energy_nats=-float(nats) / total)
        return SequenceKept(Tracker(found.model, system.learned.filter), system.weighting.init())

    kept = context.stage("train", learn, key=key, like=system.start())
    if config.steps > _MAXIMIZATION_STEPS:
        context.say(f"  expectation maximisation ended after {_MAXIMIZATION_STEPS} steps, the most it takes")
    return Trained(kept, steps, steps, None, None, False)


def _measure(system: SequenceSystem, learned: Tracker, sequences: AbstractSequences, key: Any) -> dict[str, Any]:
    energies: list[np.ndarray] = []
    steps = 0
    for part in parts(sequences, system.observations, system.config.bounds):
        found = track(learned, part.batch, jnp.asarray(part.padded.indices), key)
        energies += list(free_energies(part, found, system.observations))
        mask = np.asarray(part.batch.mask)[: part.count]
        steps += int(mask.reshape(*mask.shape[:2], -1).any(axis=2).sum())
    discrete = system.observations.likelihood != "gaussian"
    return summarize_sequences(energies, steps, discrete, int(np.prod(system.observations.shape)))


def _show(
    system: SequenceSystem, learned: Tracker, sequences: AbstractSequences, context: RunContext, key: Any
) -> None:
    """What was predicted one step ahead beside what came, and whether the errors still hold a pattern."""
    observations = system.observations
    length = min(_SHOWN_STEPS, int(sequences.lengths[0]))
    padded = next(iter(sequence_batches(sequences.select([0]), Whole((int(sequences.lengths[0]),)), 1, seed=0)))
    batch = observations.batch(padded)
    mean, deviation = foresee(learned, batch, jnp.zeros(1, jnp.int32), key, _DRAWS)
    mask = np.asarray(batch.mask)[0, 1:length].reshape(length - 1, -1)
    seen = np.asarray(batch.observations)[0, 1:length].reshape(length - 1, -1)
    predicted, spread = (np.asarray(array)[0, : length - 1].reshape(length - 1, -1) for array in (mean, deviation))
    # The entries that vary most say most about what can be predicted.
    entries = np.sort(np.argsort(-seen.var(axis=0), kind="stable")[:_SHOWN_ENTRIES])
    scale = np.broadcast_to(observations.scale, observations.shape).reshape(-1)
    low = np.broadcast_to(observations.mean, observations.shape).reshape(-1)

    def restored(array: np.ndarray) -> np.ndarray:
        return array[:, entries] * scale[entries][None, :] + low[entries][None, :]

    names = [f"entry {entry}" for entry in entries]
    shown = np.where(mask[:, entries], restored(seen), np.nan)
    figure = plot_one_step(shown, restored(predicted), spread[:, entries] * scale[entries][None, :], names=names)
    context.figure(
        "one-step",
        figure,
        caption=f"What was seen and what was predicted one step ahead in sequence {sequences.labels[0]!r}, with bands of two "
        f"standard deviations; the entries that vary most.",
    )
    errors = np.where(mask, (seen - predicted) / np.maximum(spread, 1e-6), np.nan)[:, entries]
    context.figure(
        "whiteness",
        plot_whiteness(errors, names=names),
        caption="Autocorrelation of the standardised one-step errors. Inside the dotted lines it cannot be told from that of "
        "white noise (95 %): then nothing is left that a linear predictor could use.",
    )
