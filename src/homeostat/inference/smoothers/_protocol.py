"""What `smooth` asks of a smoother that makes its own passes."""

import abc

import equinox as eqx

from ...core import AbstractSequentialModel
from ...typing import Action, Key, Observation, PyTree


class AbstractSmoother(eqx.Module):
    """Beliefs about every state given the whole sequence."""

    @abc.abstractmethod
    def smooth(
        self,
        model: AbstractSequentialModel,
        observations: Observation,
        actions: Action = None,
        *,
        key: Key,
        throw: bool = True,
    ) -> PyTree:
        """What was found, a named record of the smoother's own; arguments as for the verb `smooth`."""
