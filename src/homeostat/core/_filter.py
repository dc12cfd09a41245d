"""A filter keeps a belief about the latent state: predict with a model, then correct with an observation.

belief --predict(action)--> belief --update(observation)--> belief, info
"""

import abc
from typing import NamedTuple

import equinox as eqx

from ..typing import Action, Array, Carry, Float, Key, Observation, Scalar, State
from ._model import AbstractSequentialModel


class Snapshot(NamedTuple):
    """One possible present, from which a model can go on.

    Attributes:
        state: z_t.
        carry: h_t; None where a Markov model needs none.
        observation: x_t, for models that remember it; None for Markov models.
    """

    state: State
    carry: Carry | None = None
    observation: Observation | None = None


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

    def snapshot(self, *, key: Key) -> Snapshot:
        """One state with what a model needs to go on from it; beliefs about models with a memory add their past."""
        return Snapshot(self.sample(key=key))


class FilterInfo(NamedTuple):
    """What one update measured.

    Attributes:
        free_energy_nats: an upper bound on -log p(x_t | x_{1:t-1}) (for exact filters, equal to it).
    """

    free_energy_nats: Scalar


class AbstractFilter(eqx.Module):
    """Recursive inference, one observation at a time and at constant memory."""

    @abc.abstractmethod
    def init(self, model: AbstractSequentialModel, *, key: Key | None = None) -> AbstractBelief:
        """The belief before any observation; filters that start from samples need the key, exact ones do not."""

    @abc.abstractmethod
    def predict(
        self, model: AbstractSequentialModel, belief: AbstractBelief, action: Action, *, key: Key
    ) -> AbstractBelief:
        """The belief after `action` and before the next observation."""

    @abc.abstractmethod
    def update(
        self, model: AbstractSequentialModel, belief: AbstractBelief, observation: Observation, *, key: Key
    ) -> tuple[AbstractBelief, FilterInfo]:
        """The belief after `observation`.

        NaN entries are missing: they are integrated out. Where nothing at all was observed the belief stays what it was and
        the free energy is zero.
        """
