"""Expectations under a distribution as weighted points: E_q[f] ~ sum_i w_i f(z_i).

`MonteCarlo` works for any distribution that can be sampled; `Cubature` needs a Gaussian and is deterministic;
`Enumeration` needs a small finite support and is exact.
"""

import abc
import math
from collections.abc import Callable
from typing import ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from cuthbertlib.quadrature import gauss_hermite

from ..core import Points
from ..results import BadInputError
from ..typing import Array, Distribution, Float, Key, PyTree, Scalar
from ._closed_forms import gaussian_moments, innermost


def at_points(function: Callable[..., PyTree], values: PyTree) -> PyTree:
    """A function at each of several points along the leading axis.

    A single point is not mapped: within a batch, an axis of length one costs a transposition at every layer of a network.
    """
    if jax.tree.leaves(values)[0].shape[0] > 1:
        return jax.vmap(function)(values)
    return jax.tree.map(lambda leaf: leaf[None], function(jax.tree.map(lambda leaf: leaf[0], values)))


class AbstractExpectation(eqx.Module):
    """A rule that turns a distribution into weighted points, differentiable in the distribution where it can be.

    Attributes:
        pathwise: whether derivatives run through where the points lie; else the weights carry them.
    """

    pathwise: ClassVar[bool] = True

    @abc.abstractmethod
    def points(self, distribution: Distribution, *, key: Key) -> Points:
        """The points and their weights."""

    def average(self, points: Points, values: Float[Array, " n"]) -> Scalar:
        """Sum of w_i f_i, an estimate of E_q[f] whose gradient is one of the gradient of E_q[f]."""
        return points.weights @ values


@final
class MeanPoint(AbstractExpectation):
    """E_q[f] ~ f(mean) of a Gaussian: exact for linear functions; natural gradient with it finds the Laplace approximation."""

    def points(self, distribution: Distribution, *, key: Key) -> Points:
        loc = gaussian_moments(distribution).loc
        return Points(loc[None, :], jnp.ones(1, loc.dtype))


@final
class MonteCarlo(AbstractExpectation):
    """Independent samples with equal weights; pathwise differentiable where the distribution is.

    Samples of a discrete distribution carry no gradient: what differentiates them refuses this rule. Use `Enumeration`,
    `ScoreFunction` or a sampling engine.

    Attributes:
        num_samples: number of samples.
    """

    num_samples: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        if self.num_samples < 1:
            raise BadInputError(f"Expected at least one sample, got num_samples={self.num_samples}.")

    def points(self, distribution: Distribution, *, key: Key) -> Points:
        weights = jnp.full(self.num_samples, 1.0 / self.num_samples)
        # Mapped, not `sample(key, (n,))`: numpyro would promote ranks silently there.
        return Points(at_points(distribution.sample, jr.split(key, self.num_samples)), weights)


@final
class Antithetic(AbstractExpectation):
    """Pairs mu +- L eps of a Gaussian: exact for linear functions, and less noisy than independent samples.

    Attributes:
        num_pairs: number of pairs; twice as many points.
    """

    num_pairs: int = eqx.field(static=True, default=1)

    def points(self, distribution: Distribution, *, key: Key) -> Points:
        moments = gaussian_moments(distribution)
        noise = jr.normal(key, (self.num_pairs, moments.loc.shape[0]), moments.loc.dtype)
        offsets = noise @ moments.scale_tril.T
        values = moments.loc[None, :] + jnp.concatenate([offsets, -offsets])
        return Points(values, jnp.full(2 * self.num_pairs, 0.5 / self.num_pairs))


@final
class Cubature(AbstractExpectation):
    """The 2d points mu +- sqrt(d) L e_i of a Gaussian, with equal weights: exact for cubic polynomials.

    References:
        Arasaratnam and Haykin, "Cubature Kalman filters", IEEE Transactions on Automatic Control 54 (2009).
    """

    def points(self, distribution: Distribution, *, key: Key) -> Points:
        moments = gaussian_moments(distribution)
        dim = moments.loc.shape[0]
        offsets = jnp.sqrt(float(dim)) * moments.scale_tril.T
        values = moments.loc[None, :] + jnp.concatenate([offsets, -offsets])
        return Points(values, jnp.full(2 * dim, 0.5 / dim))


@final
class Enumeration(AbstractExpectation):
    """Every point of a finite support, weighted by its probability: exact, and differentiable in the probabilities.

    Attributes:
        maximum_size: largest support that is enumerated; a larger one is refused rather than left to fill the memory.
    """

    pathwise: ClassVar[bool] = False
    maximum_size: int = eqx.field(static=True, default=65536)

    def points(self, distribution: Distribution, *, key: Key) -> Points:
        base = innermost(distribution)
        if not base.has_enumerate_support:
            raise BadInputError(
                f"Expected a distribution with a finite support, got {type(base).__name__}: use `MonteCarlo`."
            )
        # One row for each alternative of an entry; entries of one distribution share their alternatives.
        choices = base.enumerate_support(expand=False).ravel()
        entries = math.prod(distribution.event_shape)
        if choices.size**entries > self.maximum_size:
            raise BadInputError(
                f"Expected at most {self.maximum_size} points of support, got {choices.size}^{entries}: use a sampling "
                f"engine, or fewer entries."
            )
        grids = jnp.meshgrid(*[choices] * entries, indexing="ij")
        values = jnp.stack([grid.ravel() for grid in grids], axis=-1)
        values = values.reshape(-1, *distribution.event_shape)
        return Points(values, jnp.exp(jax.vmap(distribution.log_prob)(values)))


@final
class SigmaPoints(AbstractExpectation):
    """The mean with weight kappa / (d + kappa), and the 2 d points mu +- sqrt(d + kappa) L e_i with equal weights.

    Exact for cubic polynomials; with kappa = 3 - d also for the fourth power of one coordinate. The scaled variant of the unscented
    transform (alpha, beta) is left out: its weights can be negative, and then a covariance has no square root.

    Attributes:
        kappa: weight of the centre, not negative; by default max(3 - d, 0), which for d >= 3 is `Cubature`.

    References:
        Julier and Uhlmann, "Unscented filtering and nonlinear estimation", Proceedings of the IEEE 92 (2004), Eq. 12.
    """

    kappa: float | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        if self.kappa is not None and self.kappa < 0.0:
            raise BadInputError(f"Expected kappa >= 0, got {self.kappa}: a negative weight has no square root.")

    def points(self, distribution: Distribution, *, key: Key) -> Points:
        moments = gaussian_moments(distribution)
        dim = moments.loc.shape[0]
        kappa = max(3.0 - dim, 0.0) if self.kappa is None else self.kappa
        offsets = math.sqrt(dim + kappa) * moments.scale_tril.T
        zero = jnp.zeros_like(offsets[:1])
        values = moments.loc[None, :] + jnp.concatenate([zero, offsets, -offsets])
        weights = [kappa / (dim + kappa)] + [0.5 / (dim + kappa)] * (2 * dim)
        return Points(values, jnp.asarray(weights, moments.loc.dtype))


@final
class GaussHermite(AbstractExpectation):
    """A grid of order^d points: exact for polynomials of degree 2 order - 1 in every coordinate.

    Attributes:
        order: points for each coordinate.
        maximum_size: largest grid; a larger one is refused rather than left to fill the memory.
    """

    order: int = eqx.field(static=True, default=3)
    maximum_size: int = eqx.field(static=True, default=65536)

    def __check_init__(self):
        if self.order < 1:
            raise BadInputError(f"Expected an order of at least 1, got {self.order}.")

    def points(self, distribution: Distribution, *, key: Key) -> Points:
        moments = gaussian_moments(distribution)
        dim = moments.loc.shape[0]
        if self.order**dim > self.maximum_size:
            raise BadInputError(
                f"Expected at most {self.maximum_size} points, got {self.order}^{dim}: use `SigmaPoints` or `Cubature`."
            )
        grid = gauss_hermite.weights(dim, self.order).get_sigma_points(moments.loc, moments.scale_tril)
        dtype = moments.loc.dtype
        return Points(grid.points.astype(dtype), jnp.asarray(grid.wm, dtype))
