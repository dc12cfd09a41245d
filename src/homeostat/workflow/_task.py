"""The protocol of a task: what differs between fits to rows and fits to sequences; and what their options share."""

import abc
import math
import os
from collections.abc import Callable
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
import optax

from ..data import AbstractRows, AbstractSequences, ArrowStream, Message, split_rows
from ..objectives import AbstractWeighting, Annealing, Unweighted
from ..results import BadInputError
from ..train import AbstractLoader
from ..typing import Key, PyTree
from ._options import AbstractOptions

Data = TypeVar("Data", bound=AbstractRows | AbstractSequences)
System = TypeVar("System")
Source = str | os.PathLike[str] | np.ndarray | ArrowStream | AbstractRows | AbstractSequences
"""A path, an array, a data frame (of pandas, polars or pyarrow), or opened data."""


class Selected(NamedTuple):
    """Learned numbers, selected by validation.

    Attributes:
        learned: the model with its engine or its filter.
        weighting: state of the weighting they were trained under.
    """

    learned: PyTree
    weighting: PyTree


class Schedule(NamedTuple):
    """Number of updates, updates in a compiled segment, and updates between two validations."""

    num_steps: int
    every: int
    validate_every: int


class AbstractTask(abc.ABC, Generic[Data, System]):
    """A kind of data with all that a fit to it needs.

    Attributes:
        name: in `config.json`.
        unit: one of what is averaged over, in words.
        per: what training divides by, in words.
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    per: ClassVar[str]
    options: Any

    @property
    def size_option(self) -> str:
        """The option that may be a range of sizes, of which validation chooses."""
        return "latents"

    @property
    def advice(self) -> str:
        """What to do where training met something that is not finite."""
        return "lower --learning-rate, set --clip-norm"

    @property
    def least_gain_nats(self) -> float:
        """What a validation must win to count as an improvement."""
        return 0.0

    @abc.abstractmethod
    def check(self) -> None:
        """Refuse options that contradict each other, before anything is read.

        Raises:
            BadInputError: they do.
        """

    @abc.abstractmethod
    def open(self, data: Source, *, message: Message | None = None) -> Data:
        """Data to fit to.

        Raises:
            BadInputError: they cannot be read.
        """

    def split(self, data: Data, seed: int) -> tuple[Data, Data]:
        """Training and validation data, views drawn by the seed."""
        indices = split_rows(len(data), validation=self.options.validation_fraction, test=0.0, seed=seed)
        return data.select(indices.train), data.select(indices.validation)  # pyright: ignore[reportReturnType]

    @abc.abstractmethod
    def describe(self, data: Data, train: Data) -> Any:
        """Shapes, likelihood and units of the data, in a plain record with their `fingerprint`.

        Raises:
            BadInputError: the options do not suit the data.
        """

    @abc.abstractmethod
    def announce(self, description: Any, train: Data, validation: Data) -> list[str]:
        """Sentences about the data and the likelihood."""

    @abc.abstractmethod
    def build(self, description: Any, *, key: Key | None) -> System:
        """Objects from names, with a `learner`; without a key, shapes in place of arrays.

        Raises:
            BadInputError: options contradict each other or the data.
        """

    @abc.abstractmethod
    def loader(self, system: System, train: Data, seed: int) -> AbstractLoader:
        """Batches of the training data, in an order given by the seed."""

    @abc.abstractmethod
    def offset_nats(self, system: System, train: Data) -> float:
        """What turns a mean free energy in the model's unit into one in that of the data."""

    @abc.abstractmethod
    def score(self, system: System, selected: Selected, data: Data, *, key: Key) -> float:
        """Mean free energy of validation data, in nats of the data in their own unit."""

    @abc.abstractmethod
    def fitted(self, system: System, selected: Selected) -> Any:
        """The fitted model, to be used."""

    def begin(self, system: System, train: Data, run: Any, *, key: Key) -> System:
        """The system with a start that depends on the training data, where it has one, as a `stage` of the run."""
        return system

    def start(self, system: Any) -> Selected:
        """Where learning starts."""
        return Selected(system.learned, system.weighting.init())

    def select(self, system: System, state: Any) -> Selected:
        """What of a learner's state is worth keeping."""
        return Selected(state.learned, state.weighting)

    @property
    def refines(self) -> bool:
        """Whether `refine` follows training."""
        return False

    def refine(self, system: System, state: Any, train: Data, score: Callable[[Any], float] | None) -> Any:
        """A learner's state after training, improved by what is no step of the learner.

        Args:
            score: free energy of the validation data under a state; None without such data.
        """
        return state

    def at_fault(self, term: str) -> str:
        """A term of a learner's record of failure, in words."""
        return term

    def sizes(self, train: Data, validation: Data) -> dict[str, int]:
        """How much training and validation data there are, by name."""
        return {"training_rows": len(train), "validation_rows": len(validation)}

    def schedule(self) -> Schedule:
        """When training reports, validates and ends."""
        return Schedule(self.options.steps, self.options.report_every, self.options.validate_every)

    def num_updates(self, system: System) -> int:
        """Updates of training at most, or steps of a solution."""
        return self.schedule().num_steps

    @property
    def solves(self) -> bool:
        """Whether `solve` replaces training."""
        return False

    def solve(self, system: System, train: Data, record: Callable[..., None], *, key: Key) -> Selected:
        """The maximum of the likelihood; `record(step=..., free_energy_nats=...)` takes what passes on the way."""
        raise NotImplementedError


def make_optimizer(options: AbstractOptions) -> optax.GradientTransformation:
    """Adam, with gradients shortened where the options say so."""
    adam = optax.adam(options.learning_rate)
    return adam if options.clip_norm == 0.0 else optax.chain(optax.clip_by_global_norm(options.clip_norm), adam)


def annealing(options: AbstractOptions) -> AbstractWeighting:
    """The rate with a weight that rises to 1 over the updates that `--anneal` names."""
    anneal = options.anneal
    return Unweighted() if anneal is None else Annealing(optax.linear_schedule(0.0, 1.0, anneal))


def require(holds: bool, expected: str, got: object) -> None:
    """Refuse a value, in a sentence.

    Raises:
        BadInputError: it does not hold.
    """
    if not holds:
        raise BadInputError(f"Expected {expected}, got {got}.")


def require_positive(options: AbstractOptions, *names: str) -> None:
    """Refuse sizes below one, by the names of their options."""
    for name in names:
        size = getattr(options, name)
        require(1 <= size < math.inf, f"--{name.replace('_', '-')} of at least 1", size)


def check_training(options: AbstractOptions) -> None:
    """Refuse numbers of training that mean nothing.

    Raises:
        BadInputError: one is out of its range.
    """
    require_positive(options, "steps", "batch_size", "validate_every", "report_every")
    require(options.patience >= 0, "--patience of 0 or more", options.patience)
    require(0.0 <= options.clip_norm < math.inf, "--clip-norm of 0 or more", options.clip_norm)
    require(0.0 < options.learning_rate < math.inf, "a positive --learning-rate", options.learning_rate)
    require(0.0 <= options.validation_fraction < 1.0, "a --validation-fraction in [0, 1)", options.validation_fraction)
    require(options.anneal is None or options.anneal >= 1, "--anneal of 1 or more", options.anneal)
