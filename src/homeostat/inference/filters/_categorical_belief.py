"""Beliefs about a discrete state, and about a discrete regime with a continuous state."""

from typing import ClassVar, final

import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist

from ...core import AbstractBelief, AbstractVectorBelief, Points
from ...models.sequential import RegimeMixture
from ...typing import Array, Distribution, Float, Int, Key, Scalar
from ._beliefs import GaussianBelief, _entropy


@final
class CategoricalBelief(AbstractBelief):
    """p(z = k).

    Attributes:
        log_probabilities: normalised, -inf where a state is ruled out, [K]; the verbs return a leading time axis.
    """

    finite: ClassVar[bool] = True
    log_probabilities: Float[Array, "... k"]

    @property
    def probabilities(self) -> Float[Array, "... k"]:
        """p(z = k)."""
        return jnp.exp(self.log_probabilities)

    @property
    def distribution(self) -> Distribution:
        """The belief as a distribution over whole numbers."""
        return dist.CategoricalLogits(self.log_probabilities)

    def sample(self, *, key: Key) -> Int[Array, ""]:
        return jr.categorical(key, self.log_probabilities)

    def points(self, *, key: Key) -> Points:
        """Every state with its probability."""
        return Points(jnp.arange(self.log_probabilities.shape[-1]), self.probabilities)

    def entropy(self) -> Scalar:
        return _entropy(self.probabilities)


@final
class RegimeBelief(AbstractVectorBelief):
    """p(s) N(z; m_s, L_s L_s^T) over vectors (s, z) whose first entry is the regime.

    Attributes:
        log_probabilities: normalised log p(s), [K].
        locs: m, [K, d].
        scale_trils: L, [K, d, d].
    """

    finite: ClassVar[bool] = False
    log_probabilities: Float[Array, "... k"]
    locs: Float[Array, "... k d"]
    scale_trils: Float[Array, "... k d d"]

    @property
    def probabilities(self) -> Float[Array, "... k"]:
        """p(s)."""
        return jnp.exp(self.log_probabilities)

    @property
    def mean(self) -> Float[Array, "... n"]:
        """Of (s, z)."""
        return jnp.einsum("...k,...kn->...n", self.probabilities, self._with_regime())

    @property
    def covariance(self) -> Float[Array, "... n n"]:
        """Of (s, z)."""
        centred = self._with_regime() - self.mean[..., None, :]
        between = jnp.einsum("...k,...ki,...kj->...ij", self.probabilities, centred, centred)
        within = jnp.einsum("...k,...kil,...kjl->...ij", self.probabilities, self.scale_trils, self.scale_trils)
        sides = [(0, 0)] * (within.ndim - 2) + [(1, 0), (1, 0)]
        return between + jnp.pad(within, sides)

    @property
    def distribution(self) -> Distribution:
        """The belief as a distribution over vectors (s, z)."""
        return RegimeMixture(self.log_probabilities, self.locs, self.scale_trils)

    def sample(self, *, key: Key) -> Float[Array, " n"]:
        return self.distribution.sample(key)

    def points(self, *, key: Key) -> Points:
        """Cubature points of every regime."""
        points = jax.vmap(lambda loc, root: GaussianBelief(loc, root).points(key=key))(self.locs, self.scale_trils)
        regimes = jnp.broadcast_to(jnp.arange(self.locs.shape[0])[:, None, None], (*points.weights.shape, 1))
        values = jnp.concatenate([regimes.astype(self.locs.dtype), points.values], axis=-1)
        return Points(values.reshape(-1, values.shape[-1]), (self.probabilities[:, None] * points.weights).reshape(-1))

    def entropy(self) -> Scalar:
        """H[p(s)] + sum_s p(s) H[p(z | s)], exact."""
        p = self.probabilities
        return _entropy(p) + p @ jax.vmap(lambda loc, root: GaussianBelief(loc, root).entropy())(
            self.locs, self.scale_trils
        )

    def _with_regime(self) -> Float[Array, "... k n"]:
        """The mean of (s, z) in every regime."""
        regimes = jnp.arange(self.locs.shape[-2], dtype=self.locs.dtype)[:, None]
        regimes = jnp.broadcast_to(regimes, (*self.locs.shape[:-1], 1))
        return jnp.concatenate([regimes, self.locs], axis=-1)


def normalised(log_weights: Float[Array, " k"]) -> tuple[Float[Array, " k"], Float[Array, ""]]:
    """Log weights that sum to one, and the log of what they summed to."""
    total = jax.nn.logsumexp(log_weights)
    return log_weights - total, total
