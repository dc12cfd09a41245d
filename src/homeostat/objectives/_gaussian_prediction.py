"""A predicted observation as a Gaussian with a low-rank signal on top of noise, x ~ N(m, W W^T + R).

Observations of any shape are treated flat. R is diagonal where the emission's noise is (images), dense otherwise.
"""

import abc
import math
from collections.abc import Callable
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular

from ..core import Points
from ..distributions import innermost
from ..results import BadInputError
from ..typing import Array, Distribution, Float, Scalar


class AbstractNoise(eqx.Module):
    """A covariance matrix R."""

    @abc.abstractmethod
    def whiten(self, columns: Float[Array, "n k"]) -> Float[Array, "n k"]:
        """R^-1/2 applied to columns, with any square root."""

    @abc.abstractmethod
    def half_log_determinant(self) -> Scalar:
        """1/2 log |R|."""

    @abc.abstractmethod
    def factor(self) -> Float[Array, "n n"]:
        """A dense square root of R."""

    def whitened_trace(self, other: "AbstractNoise") -> Scalar:
        """trace(R^-1 S) for another covariance S."""
        return jnp.sum(self.whiten(other.factor()) ** 2)


@final
class DiagonalNoise(AbstractNoise):
    """R = diag(variance).

    Attributes:
        variance: one entry for each of the `size` dimensions, or a single one for all: an image with one noise level has
            one logarithm to take, not thousands.
        size: n.
    """

    variance: Float[Array, " entries"]
    size: int = eqx.field(static=True)

    def whiten(self, columns: Float[Array, "n k"]) -> Float[Array, "n k"]:
        return columns / jnp.sqrt(self.variance)[:, None]

    def half_log_determinant(self) -> Scalar:
        return 0.5 * (self.size / self.variance.shape[0]) * jnp.sum(jnp.log(self.variance))

    def factor(self) -> Float[Array, "n n"]:
        return jnp.diag(jnp.broadcast_to(jnp.sqrt(self.variance), (self.size,)))

    def whitened_trace(self, other: AbstractNoise) -> Scalar:
        if isinstance(other, DiagonalNoise):
            ratio = jnp.broadcast_to(other.variance, (self.size,)) / jnp.broadcast_to(self.variance, (self.size,))
            return jnp.sum(ratio)
        return super().whitened_trace(other)


@final
class DenseNoise(AbstractNoise):
    """R as a full matrix."""

    covariance: Float[Array, "n n"]

    def whiten(self, columns: Float[Array, "n k"]) -> Float[Array, "n k"]:
        return solve_triangular(self.factor(), columns, lower=True)

    def half_log_determinant(self) -> Scalar:
        return jnp.sum(jnp.log(jnp.diagonal(self.factor())))

    def factor(self) -> Float[Array, "n n"]:
        return jnp.linalg.cholesky(self.covariance)


@final
class GaussianPrediction(eqx.Module):
    """x ~ N(m, W W^T + R).

    Attributes:
        mean: m, flat, [n].
        signal: W, [n, k]; its columns come from the uncertainty about the state.
        noise: R, averaged over the belief.
        ambiguity: E_q(s)[H[p(x | s)]], in nats.
    """

    mean: Float[Array, " n"]
    signal: Float[Array, "n k"]
    noise: AbstractNoise
    ambiguity: Scalar

    @property
    def information(self) -> Scalar:
        """I(s; x) = 1/2 log |1 + W^T R^-1 W| + (H[N(0, R)] - ambiguity); the bracket is zero for constant noise."""
        return self._half_log_capacitance() + (_noise_entropy(self.noise, self.mean.shape[0]) - self.ambiguity)

    def entropy(self) -> Scalar:
        """H[q(x)]."""
        return self.ambiguity + self.information

    def expected_log_density(self, density: Distribution) -> Scalar | None:
        """E_q(x)[log density(x)] for a Gaussian density, else None."""
        if not has_gaussian_density(density):
            return None
        loc, noise = _moments(density)
        size = self.mean.shape[0]
        return -0.5 * (self._mismatch(loc, noise) + size * math.log(2.0 * math.pi)) - noise.half_log_determinant()

    def divergence(self, density: Distribution) -> Scalar | None:
        """KL(q(x) || density) for a Gaussian density, else None."""
        if not has_gaussian_density(density):
            return None
        loc, noise = _moments(density)
        own = self.noise.half_log_determinant() + self._half_log_capacitance()
        return 0.5 * (self._mismatch(loc, noise) - self.mean.shape[0]) + noise.half_log_determinant() - own

    def _mismatch(self, loc: Float[Array, " n"], noise: AbstractNoise) -> Scalar:
        """E_q(x)[(x - loc)^T S^-1 (x - loc)]."""
        shift = jnp.sum(noise.whiten((self.mean - loc)[:, None]) ** 2)
        return shift + jnp.sum(noise.whiten(self.signal) ** 2) + noise.whitened_trace(self.noise)

    def _half_log_capacitance(self) -> Scalar:
        whitened = self.noise.whiten(self.signal)
        capacitance = jnp.eye(self.signal.shape[1], dtype=whitened.dtype) + whitened.T @ whitened
        return jnp.sum(jnp.log(jnp.diagonal(jnp.linalg.cholesky(capacitance))))


Emission = Callable[[Float[Array, " d"]], Distribution]


def linear_prediction(
    emission: Emission, mean: Float[Array, " d"], scale_tril: Float[Array, "d d"]
) -> GaussianPrediction:
    """First-order expansion at the mean of the state: W = J L, R at the mean."""

    def flat_mean(state):
        return _moments(emission(state))[0]

    # d forward passes along the columns of L; the Jacobian itself is never formed.
    signal = jax.vmap(lambda tangent: jax.jvp(flat_mean, (mean,), (tangent,))[1], out_axes=1)(scale_tril.T)
    loc, noise = _moments(emission(mean))
    return GaussianPrediction(loc, signal, noise, _noise_entropy(noise, loc.shape[0]))


def matched_prediction(emission: Emission, points: Points) -> GaussianPrediction:
    """Moments over weighted states: W holds the weighted deviations of the means, R is the mean noise covariance."""

    def at(state):
        loc, noise = _moments(emission(state))
        return loc, noise, _noise_entropy(noise, loc.shape[0])

    means, noises, entropies = jax.vmap(at)(points.values)
    mean = points.weights @ means
    signal = (jnp.sqrt(points.weights)[:, None] * (means - mean[None, :])).T
    noise = jax.tree.map(lambda leaf: jnp.tensordot(points.weights, leaf, axes=1), noises)
    return GaussianPrediction(mean, signal, noise, points.weights @ entropies)


def _noise_entropy(noise: AbstractNoise, size: int) -> Scalar:
    return noise.half_log_determinant() + 0.5 * size * (1.0 + math.log(2.0 * math.pi))


def has_gaussian_density(distribution: Distribution) -> bool:
    """Whether it is a Gaussian over one array."""
    base = innermost(distribution)
    if isinstance(base, dist.MultivariateNormal):
        return base.batch_shape == ()
    return isinstance(base, dist.Normal) and distribution.batch_shape == ()


def _moments(distribution: Distribution) -> tuple[Float[Array, " n"], AbstractNoise]:
    """Flat mean, and covariance, of a Gaussian over one array."""
    if not has_gaussian_density(distribution):
        raise BadInputError(
            f"Expected a Gaussian emission (Normal with all axes as event, or MultivariateNormal), got "
            f"{type(distribution).__name__} with batch shape {distribution.batch_shape}: use `NestedMonteCarlo`."
        )
    if isinstance(distribution, dist.MultivariateNormal):
        return distribution.loc, DenseNoise(distribution.covariance_matrix)  # pyright: ignore[reportReturnType]
    base = innermost(distribution)
    loc = jnp.broadcast_to(base.loc, base.batch_shape).reshape(-1)  # pyright: ignore[reportAttributeAccessIssue]
    single = jnp.size(base.scale) == 1  # pyright: ignore[reportAttributeAccessIssue]
    scale = base.scale if single else jnp.broadcast_to(base.scale, base.batch_shape)  # pyright: ignore[reportAttributeAccessIssue]
    return loc, DiagonalNoise(jnp.asarray(scale).reshape(-1) ** 2, loc.shape[0])
