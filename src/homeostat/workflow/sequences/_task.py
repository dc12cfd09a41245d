"""The task of fitting sequential models to sequences."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, final

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ...data import (
    AbstractSequences,
    ContinuedSequences,
    FullLength,
    Message,
    Sequences,
    Windows,
    num_batches,
    open_sequences,
    sequence_batches,
    split_ends,
)
from ...inference import ModelWithFilter, SequenceBatch
from ...models.sequential import HiddenMarkov
from ...results import BadInputError
from ...train import AbstractLoader, FullBatch, StreamingLoader
from ...typing import Key
from .._numbers import kind_of_number
from .._tables import require_names
from .._task import AbstractTask, Schedule, Selected, Source, annealing, check_training, require, require_positive
from ._describe import SequencesDescription, describe_sequences, sequence_format
from ._fitted import FittedSequences
from ._inference import score_sequences
from ._maximization import MaximizationState
from ._options import SequencesOptions
from ._states import FIRST_STEPS, NUM_STARTS, start_states, states
from ._system import SequencesSystem, deep, linear

_STATE_LIKELIHOODS = ("gaussian", "bernoulli", "poisson", "categorical")
_VALIDATION_SEQUENCES = 64
_MAXIMIZATION_SEGMENT = 10
_CONVERGED_NATS = 1e-5
"""Expectation maximisation creeps at the end: steps that win less than this, in nats a step, together with those after them until
patience is over, are not worth their time."""
_MOST_BYTES = 1 << 33


@final
@dataclass(frozen=True)
class SequencesTask(AbstractTask[AbstractSequences, SequencesSystem]):
    """Sequential models of sequences, with a filter."""

    name: ClassVar[str] = "sequences"
    unit: ClassVar[str] = "sequence"
    per: ClassVar[str] = "step"
    options: SequencesOptions = SequencesOptions()

    @property
    def size_option(self) -> str:
        return "states" if self.options.model == "hidden-markov" else "latents"

    @property
    def advice(self) -> str:
        """What to do where training met something that is not finite."""
        if self.options.engine == "exact":
            return f"choose fewer --{self.size_option}, or leave out entries that depend on one another"
        return super().advice

    @property
    def least_gain_nats(self) -> float:
        return _CONVERGED_NATS if self.options.engine == "exact" else super().least_gain_nats

    def check(self) -> None:
        options = self.options
        check_training(options)
        for name in ("latents", "states"):
            require(isinstance(getattr(options, name), int), f"a whole number as --{name}", getattr(options, name))
        require_positive(
            options,
            "latents",
            "states",
            "width",
            "memory",
            "depth",
            "iterations",
            "pasts",
            "window",
            "steps_per_beat",
            "bounds",
        )
        require(options.piece >= 2, "--piece of at least 2", options.piece)
        require(options.truncation >= 0, "--truncation of 0 or more", options.truncation)
        if (options.engine == "exact") != (options.model in ("linear-gaussian", "hidden-markov")):
            raise BadInputError(
                f"Expected --engine exact with --model linear-gaussian and hidden-markov, and with no other, got --engine "
                f"{options.engine} with {options.model}."
            )
        if options.model == "hidden-markov" and options.likelihood not in ("auto", *_STATE_LIKELIHOODS):
            raise BadInputError(
                f"Expected one of the likelihoods {', '.join(_STATE_LIKELIHOODS)} for --model hidden-markov, got "
                f"{options.likelihood}."
            )
        if options.model != "hidden-markov" and options.likelihood == "categorical":
            raise BadInputError(
                f"Expected --likelihood categorical of sequences with --model hidden-markov only, got it with {options.model}."
            )
        if options.engine != "amortized" and (options.iterations != 1 or options.encode_data):
            raise BadInputError(
                f"Expected --iterations and --encode-data with --engine amortized only, got them with {options.engine}."
            )

    def open(self, data: Source, *, message: Message | None = None) -> AbstractSequences:
        if isinstance(data, AbstractSequences):
            return data
        if isinstance(data, np.ndarray):
            return Sequences(data)
        sequences = open_sequences(data, sequence_format(self.options), message=message)
        require_names(self.options, sequences)
        return sequences

    def split(self, data: AbstractSequences, seed: int) -> tuple[AbstractSequences, AbstractSequences]:
        """Sequences drawn by the seed; where these are too few to spare one, the ends of all."""
        train, validation = super().split(data, seed)
        if len(validation) or not self.options.validation_fraction:
            return train, validation
        return split_ends(data, self.options.validation_fraction) or (train, validation)

    def describe(self, data: AbstractSequences, train: AbstractSequences) -> SequencesDescription:
        found = describe_sequences(data, train, self.options)
        if self.options.engine == "exact":
            _require_memory(self.options, found, train)
        if self.options.model == "hidden-markov":
            most = train.num_steps
            require(
                int(self.options.states) <= most, f"--states of at most {most}, the training steps", self.options.states
            )
        return found

    def announce(
        self, description: SequencesDescription, train: AbstractSequences, validation: AbstractSequences
    ) -> list[str]:
        shape = " x ".join(map(str, description.shape))
        discrete = self.options.model == "hidden-markov"
        starts = [f"start: the best of {NUM_STARTS}, each after {FIRST_STEPS} steps"] if discrete else []
        uneven = ["steps differ in duration, which is an input of the model"] if description.uneven else []
        left_out = [
            f"{what} left out, because they never vary in the training sequences: {constants}"
            for what, constants in (
                ("entries", description.scaling.constants(description.columns)),
                ("inputs", description.inputs.constants(description.input_names)),
            )
            if constants
        ]
        held_out = f"{len(validation)} to validate on ({validation.num_steps} steps)"
        if isinstance(validation, ContinuedSequences):
            held_out = f"their last {validation.num_steps} steps to validate on, given those before"
        return [
            f"sequences: {len(train)} to train on ({train.num_steps} steps), {held_out}, of {shape} numbers a step",
            *kind_of_number(description.likelihood, self.per, self.options.likelihood != "auto", description.numbers),
            *uneven,
            *left_out,
            *starts,
        ]

    def build(self, description: SequencesDescription, *, key: Key | None) -> SequencesSystem:
        self.check()
        make = {"linear-gaussian": linear, "hidden-markov": states}.get(self.options.model, deep)

        def initial(key: Key) -> ModelWithFilter:
            return make(self.options, description, key=key)

        # Compiled, because initialising eagerly costs seconds of dispatch.
        learned = eqx.filter_eval_shape(initial, jr.key(0)) if key is None else eqx.filter_jit(initial)(key)
        return SequencesSystem(self.options, description, learned, annealing(self.options))

    def begin(self, system: SequencesSystem, train: AbstractSequences, run: Any, *, key: Key) -> SequencesSystem:
        model, method = system.learned.model, system.learned.filter
        if not isinstance(model, HiddenMarkov):
            return system

        def start(key: Key) -> HiddenMarkov:
            return start_states(model, _together(system.description, train, run.seed), key=key)

        return system._replace(learned=ModelWithFilter(run.stage("start", start, key=key, like=model), method))

    def select(self, system: SequencesSystem, state: Any) -> Selected:
        if isinstance(state, MaximizationState):
            return Selected(ModelWithFilter(state.model, system.learned.filter), system.weighting.init())
        return super().select(system, state)

    def at_fault(self, term: str) -> str:
        if self.options.engine == "exact":
            return {"distortion": "likelihood", "gradient": "model"}.get(term, term)
        return term

    def loader(self, system: SequencesSystem, train: AbstractSequences, seed: int) -> AbstractLoader:
        description, size = system.description, self.options.batch_size
        if self.options.engine == "exact":
            return FullBatch(_together(description, train, seed))
        cut = Windows(self.options.piece)

        def batches(epoch: int, start: int) -> Iterator[SequenceBatch]:
            found = sequence_batches(train, cut, size, seed=seed, epoch=epoch, start=start)
            return (description.batch(padded) for padded in found)

        return StreamingLoader(batches, num_batches(train, cut, size))

    def offset_nats(self, system: SequencesSystem, train: AbstractSequences) -> float:
        return system.description.mean_log_unit_nats(train)

    def score(self, system: SequencesSystem, selected: Selected, data: AbstractSequences, *, key: Key) -> float:
        some = data.select(np.arange(min(len(data), _VALIDATION_SEQUENCES)))
        return float(score_sequences(system, selected.learned, some, key=key).per_step().value)

    def fitted(self, system: SequencesSystem, selected: Selected) -> FittedSequences:
        return FittedSequences(self, system, selected)

    def sizes(self, train: AbstractSequences, validation: AbstractSequences) -> dict[str, int]:
        """Of the training sequences also their steps."""
        return {**super().sizes(train, validation), "training_steps": train.num_steps}

    def schedule(self) -> Schedule:
        """Steps of expectation maximisation go far."""
        found = super().schedule()
        exact = self.options.engine == "exact"
        return found._replace(every=_MAXIMIZATION_SEGMENT, validate_every=_MAXIMIZATION_SEGMENT) if exact else found


def _together(description: SequencesDescription, train: AbstractSequences, seed: int) -> SequenceBatch:
    """All training sequences in one batch."""
    longest = FullLength((int(train.lengths.max()),))
    return description.batch(next(iter(sequence_batches(train, longest, len(train), seed=seed))))


def _require_memory(options: SequencesOptions, description: SequencesDescription, train: AbstractSequences) -> None:
    """Expectation maximisation keeps a square matrix of states and numbers for every step."""
    padded, entries = len(train) * int(train.lengths.max()), int(np.prod(description.shape))
    discrete = options.model == "hidden-markov"
    states = int(options.states if discrete else options.latents)
    width = states + entries + 1
    # Of discrete states every one has a covariance of its own.
    count = states * entries**2 + 2 * states**2 if discrete else 2 * width**2
    size = padded * count * jnp.result_type(float).itemsize
    if size > _MOST_BYTES:
        raise BadInputError(
            f"Expected sequences that --engine exact can hold in 8 GiB, got {padded} steps (each sequence padded to the "
            f"longest) of {width - 1} states and numbers in {train.name}, about {size / 2**30:.0f} GiB: choose fewer "
            f"columns, shorter sequences, or a deep model."
        )
