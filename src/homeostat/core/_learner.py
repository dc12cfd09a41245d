"""A learner turns batches into better parameters."""

import abc
from typing import Generic, TypeVar

import equinox as eqx

from ..typing import Key, PyTree
from ._check import check_fields

LearnerState = TypeVar("LearnerState")
Metrics = TypeVar("Metrics")


class AbstractLearner(eqx.Module, Generic[LearnerState, Metrics]):
    """One update rule with its state; `train.fit` drives it."""

    def __check_init__(self):
        check_fields(self)

    @abc.abstractmethod
    def init(self, *, key: Key) -> LearnerState:
        """State before the first update: parameters, optimiser state, counters."""

    @abc.abstractmethod
    def update(self, state: LearnerState, batch: PyTree, *, key: Key) -> tuple[LearnerState, Metrics]:
        """One update from one batch; `Metrics` is a `NamedTuple` of scalars with units in their names."""
