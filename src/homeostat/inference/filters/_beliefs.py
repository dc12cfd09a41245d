"""Beliefs that filters keep about the current state."""

from typing import ClassVar, final

import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist

from ...core import AbstractGaussianBelief, AbstractVectorBelief, Points, Snapshot
from ...distributions import Cubature
from ...typing import Array, Distribution, Float, Int, Key, PyTree, Scalar
from ._history import History


@final
class GaussianBelief(AbstractGaussianBelief):
    """N(loc, L L^T). The verbs return beliefs with a leading time axis, for which `mean` and `covariance` have it too.

    Attributes:
        loc: mean, [d].
        scale_tril: L, lower triangular with a positive diagonal, [d, d].
        memory: what a filter with a recurrence of its own remembers; None for every other.
    """

    finite: ClassVar[bool] = False
    loc: Float[Array, "... d"]
    scale_tril: Float[Array, "... d d"]
    memory: PyTree = None

    @property
    def distribution(self) -> Distribution:
        """The belief as a distribution."""
        return dist.MultivariateNormal(self.loc, scale_tril=self.scale_tril)

    def sample(self, *, key: Key) -> Float[Array, " d"]:
        return self.loc + self.scale_tril @ jr.normal(key, self.loc.shape, self.loc.dtype)

    def points(self, *, key: Key) -> Points:
        """The 2 d cubature points."""
        return Cubature().points(self.distribution, key=key)

    def entropy(self) -> Scalar:
        return self.distribution.entropy()


@final
class ParticleBelief(AbstractVectorBelief):
    """sum_i w_i delta(z - z_i).

    Attributes:
        particles: z_i, [n, d]; of a discrete state its number, [n], of which mean and covariance are then those.
        log_weights: log w_i, normalised, [n].
        past: what each particle's model remembers besides its state; None for a Markov model.
        ancestors: which particle of the step before each one comes from, [n].
    """

    finite: ClassVar[bool] = True
    particles: Float[Array, "n ..."] | Int[Array, "n ..."]
    log_weights: Float[Array, " n"]
    past: History | None = None
    ancestors: Int[Array, " n"] | None = None

    @property
    def mean(self) -> Float[Array, "..."]:
        return jnp.exp(self.log_weights) @ self.particles

    @property
    def covariance(self) -> Float[Array, "..."]:
        centred = self.particles - self.mean[None]
        weights = jnp.exp(self.log_weights).reshape(-1, *(1,) * (centred.ndim - 1))
        return centred.T @ (weights * centred)

    @property
    def effective_size(self) -> Scalar:
        """1 / sum_i w_i^2, the number of equally weighted particles worth as much."""
        return jnp.exp(-jax.nn.logsumexp(2.0 * self.log_weights))

    def sample(self, *, key: Key) -> Float[Array, "..."] | Int[Array, "..."]:
        return self.particles[jr.categorical(key, self.log_weights)]

    def points(self, *, key: Key) -> Points:
        """The particles with their weights; a state that occurs twice counts as two."""
        return Points(self.particles, jax.nn.softmax(self.log_weights))

    def entropy(self) -> Scalar:
        return _entropy(jax.nn.softmax(self.log_weights))

    def snapshot(self, *, key: Key) -> Snapshot:
        """One particle with its past."""
        index = jr.categorical(key, self.log_weights)
        if self.past is None:
            return Snapshot(self.particles[index])
        return Snapshot(self.particles[index], *jax.tree.map(lambda leaf: leaf[index], tuple(self.past)))


def _entropy(probabilities: Float[Array, " k"]) -> Scalar:
    """-sum p log p."""
    return -jnp.sum(jax.scipy.special.xlogy(probabilities, probabilities))
