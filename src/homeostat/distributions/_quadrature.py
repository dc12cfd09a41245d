"""Rules of fixed points for Gaussian expectations, beside `Cubature`: all weights are positive."""

import math
from typing import final

import equinox as eqx
import jax.numpy as jnp
from cuthbertlib.quadrature import gauss_hermite

from ..core import Points
from ..results import BadInputError
from ..typing import Distribution, Key
from ._closed_forms import gaussian_moments
from ._expectation import AbstractExpectation


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
