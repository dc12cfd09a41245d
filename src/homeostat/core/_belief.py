"""A belief about the current latent state: it can be drawn from and summed over."""

import abc
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp

from ..typing import Array, Carry, Float, Key, Observation, Scalar, State


class Points(NamedTuple):
    """Weighted points of a distribution; the weights sum to one."""

    values: State
    weights: Float[Array, " n"]


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
    """q(z) about the current latent state. The verbs return beliefs with a leading time axis: map methods over it.

    Attributes:
        finite: whether `points` are all states that the belief allows, with their probabilities.
    """

    finite: eqx.AbstractClassVar[bool]

    @abc.abstractmethod
    def sample(self, *, key: Key) -> State:
        """One state drawn from the belief."""

    @abc.abstractmethod
    def points(self, *, key: Key) -> Points:
        """Weighted states with the first two moments of the belief."""

    @abc.abstractmethod
    def entropy(self) -> Scalar:
        """H[q] in nats, of the density where states are vectors, or an upper bound on it where it has no closed form.

        For points with weights it is -sum_i w_i log w_i.
        """

    def snapshot(self, *, key: Key) -> Snapshot:
        """One state with what a model needs to go on from it; beliefs about models with a memory add their past."""
        return Snapshot(self.sample(key=key))


class AbstractVectorBelief(AbstractBelief):
    """A belief about a vector, with a mean and a covariance; of a sequence, they have its leading time axis."""

    @property
    @abc.abstractmethod
    def mean(self) -> Float[Array, "... d"]:
        """E[z]."""

    @property
    @abc.abstractmethod
    def covariance(self) -> Float[Array, "... d d"]:
        """Cov[z]."""


class AbstractGaussianBelief(AbstractVectorBelief):
    """N(loc, L L^T).

    Attributes:
        loc: mean, [d].
        scale_tril: L, lower triangular with a positive diagonal, [d, d].
    """

    loc: eqx.AbstractVar[Float[Array, "... d"]]
    scale_tril: eqx.AbstractVar[Float[Array, "... d d"]]

    @property
    def mean(self) -> Float[Array, "... d"]:
        return self.loc

    @property
    def covariance(self) -> Float[Array, "... d d"]:
        return self.scale_tril @ jnp.swapaxes(self.scale_tril, -1, -2)
