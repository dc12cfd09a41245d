"""A filter keeps a belief about the latent state: predict with a model, then correct with an observation.

belief --predict(action)--> belief --update(observation)--> belief, info
"""

import abc
from typing import NamedTuple

import equinox as eqx

from ..typing import Action, Array, Float, Key, Observation, Scalar
from ._model import AbstractModel


class AbstractBelief(eqx.Module):
    """What is known about the current latent state."""

    @property
    @abc.abstractmethod
    def mean(self) -> Float[Array, " d"]:
        """Expected state."""

    @property
    @abc.abstractmethod
    def covariance(self) -> Float[Array, "d d"]:
        """Covariance of the state."""

    @abc.abstractmethod
    def sample(self, *, key: Key) -> Float[Array, " d"]:
        """One state drawn from the belief."""


class FilterInfo(NamedTuple):
    """What one update measured.

    Attributes:
        free_energy_nats: an upper bound on -log p(x_t | x_{1:t-1}) (for exact filters, equal to it).
    """

    free_energy_nats: Scalar


class AbstractFilter(eqx.Module):
    """Recursive inference, one observation at a time and at constant memory."""

    @abc.abstractmethod
    def init(self, model: AbstractModel, *, key: Key | None = None) -> AbstractBelief:
        """The belief before any observation; filters that start from samples need the key, exact ones do not."""

    @abc.abstractmethod
    def predict(self, model: AbstractModel, belief: AbstractBelief, action: Action, *, key: Key) -> AbstractBelief:
        """The belief after `action` and before the next observation."""

    @abc.abstractmethod
    def update(
        self, model: AbstractModel, belief: AbstractBelief, observation: Observation, *, key: Key
    ) -> tuple[AbstractBelief, FilterInfo]:
        """The belief after `observation`."""
