"""The task of fitting sequential models to sequences."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, final

import equinox as eqx
import jax
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
from ...results import BadInputError
from ...train import AbstractLoader, FullBatch, StreamingLoader
from ...typing import Key
from .._numbers import kind_of_number
from .._tables import require_names
from .._task import AbstractTask, Schedule, Selected, Source, annealing, check_training, require, require_positive
from ._describe import describe_sequences, sequence_format
from ._description import SequencesDescription
from ._fitted import FittedSequences
from ._inference import score_sequences
from ._options import SequencesOptions
from .models import MOST_STEPS, SequencesSystem, named_model

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
        return named_model(self.options).size_option

    @property
    def advice(self) -> str:
        """What to do where training met something that is not finite."""
        if named_model(self.options).together:
            return f"choose fewer --{self.size_option}, or leave out entries that depend on one another"
        return super().advice

    @property
    def least_gain_nats(self) -> float:
        return _CONVERGED_NATS if named_model(self.options).together else super().least_gain_nats

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
        for name in ("trend", "season", "harmonics", "autoregression"):
            if getattr(options, name) and options.model != "structural":
                raise BadInputError(f"Expected --{name} with --model structural only, got it with {options.model}.")
        require(options.truncation >= 0, "--truncation of 0 or more", options.truncation)
        named_model(options).check(options)
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
        _require_memory(self.options, found, train)
        if self.size_option == "states":
            most = train.num_steps
            require(
                int(self.options.states) <= most, f"--states of at most {most}, the training steps", self.options.states
            )
        return found

    def announce(
        self, description: SequencesDescription, train: AbstractSequences, validation: AbstractSequences
    ) -> list[str]:
        shape = " x ".join(map(str, description.shape))
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
            *named_model(self.options).announce(self.options),
        ]

    def build(self, description: SequencesDescription, *, key: Key | None) -> SequencesSystem:
        self.check()
        model = named_model(self.options)

        def initial(key: Key) -> ModelWithFilter:
            return model.build(self.options, description, key=key)

        # Compiled, because initialising eagerly costs seconds of dispatch.
        learned = eqx.filter_eval_shape(initial, jr.key(0)) if key is None else eqx.filter_jit(initial)(key)
        return SequencesSystem(model, self.options, description, learned, annealing(self.options))

    def begin(self, system: SequencesSystem, train: AbstractSequences, run: Any, *, key: Key) -> SequencesSystem:
        return system.model.begin(system, lambda: _together(system.description, train, run.seed), run, key=key)

    @property
    def refines(self) -> bool:
        return named_model(self.options).refines

    def refine(
        self, system: SequencesSystem, state: Any, train: AbstractSequences, score: Callable[[Any], float] | None
    ) -> Any:
        return system.model.refine(system, state, _together(system.description, train, 0), score)

    def select(self, system: SequencesSystem, state: Any) -> Selected:
        return system.model.select(system, state)

    def at_fault(self, term: str) -> str:
        return named_model(self.options).at_fault(term)

    def loader(self, system: SequencesSystem, train: AbstractSequences, seed: int) -> AbstractLoader:
        description, size = system.description, self.options.batch_size
        if system.model.together:
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

    @property
    def solves(self) -> bool:
        return named_model(self.options).solves

    def solve(
        self, system: SequencesSystem, train: AbstractSequences, record: Callable[..., None], *, key: Key
    ) -> Selected:
        batch, offset = _together(system.description, train, 0), self.offset_nats(system, train)
        assert batch.mask is not None
        count = int(batch.mask.reshape(*batch.mask.shape[:2], -1).any(axis=2).sum())

        def in_data_units(step: int, log_evidence_nats: float) -> None:
            record(step=step, free_energy_nats=offset - log_evidence_nats / count)

        model = system.model.solve(system, batch, in_data_units, key=key)
        kind = jnp.result_type(float)
        model = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), kind), model)
        return Selected(ModelWithFilter(model, system.learned.filter), system.weighting.init())

    def schedule(self) -> Schedule:
        """Steps of expectation maximisation go far."""
        found = super().schedule()
        if self.solves:
            return found._replace(num_steps=min(found.num_steps, MOST_STEPS))
        if not named_model(self.options).together:
            return found
        return found._replace(every=_MAXIMIZATION_SEGMENT, validate_every=_MAXIMIZATION_SEGMENT)


def _together(description: SequencesDescription, train: AbstractSequences, seed: int) -> SequenceBatch:
    """All training sequences in one batch."""
    longest = FullLength((int(train.lengths.max()),))
    return description.batch(next(iter(sequence_batches(train, longest, len(train), seed=seed))))


def _require_memory(options: SequencesOptions, description: SequencesDescription, train: AbstractSequences) -> None:
    """Refuse sequences that learning cannot hold in memory at once."""
    padded = len(train) * int(train.lengths.max())
    size = named_model(options).numbers_held(options, description, padded) * jnp.result_type(float).itemsize
    if size > _MOST_BYTES:
        sizes = (
            f"{options.states} states" if named_model(options).size_option == "states" else f"{options.latents} latents"
        )
        raise BadInputError(
            f"Expected sequences that --model {options.model} can hold in 8 GiB, got {padded} steps (each sequence padded to the "
            f"longest) of {math.prod(description.shape)} numbers with {sizes} in {train.name}, about {size / 2**30:.0f} GiB: choose "
            f"fewer columns, shorter sequences, or a deep model."
        )
