"""A smoother keeps beliefs about every state of a sequence, given all of it."""

import abc

import equinox as eqx

from ..typing import Action, Key, Observation, PyTree
from ._check import check_fields
from ._model import AbstractSequentialModel


class AbstractSmoother(eqx.Module):
    """Beliefs about every state given the whole sequence.

    Attributes:
        stochastic: whether it may draw samples, so that the verb `smooth` asks for a key.
    """

    stochastic: eqx.AbstractClassVar[bool]

    def __check_init__(self):
        check_fields(self)

    @abc.abstractmethod
    def smooth(
        self,
        model: AbstractSequentialModel,
        observations: Observation,
        actions: Action = None,
        *,
        key: Key | None = None,
        throw: bool = True,
    ) -> PyTree:
        """What was found, a named record of the smoother's own; arguments as for the verb `smooth`."""
