"""Gaussian families, with the natural parameters that natural-gradient engines move.

    q(z) = N(mu, Sigma),   shift b = Sigma^-1 mu,   precision Lambda = Sigma^-1

so that the canonical natural parameters are eta = (b, -Lambda / 2).
"""

import abc
from typing import ClassVar, NamedTuple, final

import equinox as eqx
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions.transforms import LowerCholeskyTransform
from numpyro.distributions.util import cholesky_of_inverse

from ..core import AbstractFamily
from ..results import BadInputError
from ..typing import Array, Coefficient, Distribution, Float, Params, Scalar


class DiagonalGaussianParams(NamedTuple):
    """Mean and log standard deviation of independent Gaussians."""

    loc: Float[Array, " d"]
    log_scale: Float[Array, " d"]


class FullGaussianParams(NamedTuple):
    """Mean and unconstrained Cholesky factor (row by row below the diagonal, then the logarithm of the diagonal)."""

    loc: Float[Array, " d"]
    scale_vector: Float[Array, " k"]


class NaturalParams(NamedTuple):
    """b = Lambda mu and Lambda; the precision is its diagonal or the full matrix, as the family has it."""

    shift: Float[Array, " d"]
    precision: Float[Array, " d"] | Float[Array, "d d"]


class AbstractGaussianFamily(AbstractFamily[Params]):
    """A Gaussian family whose precision has a structure of its own (diagonal or full)."""

    reparameterized: ClassVar[bool] = True
    dim: eqx.AbstractVar[int]

    @abc.abstractmethod
    def natural(self, params: Params) -> NaturalParams:
        """Natural parameters of `params`."""

    @abc.abstractmethod
    def from_natural(self, natural: NaturalParams) -> Params:
        """Inverse of `natural`; the precision must be positive definite."""

    @abc.abstractmethod
    def from_moments(self, mean: Float[Array, " d"], covariance: Float[Array, "d d"]) -> Params:
        """The member with this mean and, as far as the structure allows, this covariance."""

    @abc.abstractmethod
    def structured(self, matrix: Float[Array, "d d"]) -> Array:
        """The part of a symmetric matrix that the structure keeps."""

    @abc.abstractmethod
    def multiply(self, precision: Array, vector: Float[Array, " d"]) -> Float[Array, " d"]:
        """Product of a structured matrix and a vector."""

    @abc.abstractmethod
    def longest_step(self, precision: Array, change: Array, keep: Coefficient) -> Scalar:
        """Largest t in (0, 1] for which precision + t change >= keep * precision as quadratic forms.

        Args:
            keep: share of the precision, in (0, 1), that one step may not remove in any direction.
        """

    def fit(self, samples: Float[Array, "samples d"], weights: Float[Array, " samples"]) -> Params:
        """Weighted mean and covariance, the maximum-likelihood fit."""
        mean = weights @ samples
        centred = samples - mean[None, :]
        return self.from_moments(mean, centred.T @ (weights[:, None] * centred))


@final
class DiagonalGaussian(AbstractGaussianFamily[DiagonalGaussianParams]):
    """Independent Gaussians N(loc, exp(log_scale)^2).

    Attributes:
        dim: number of variables.
        minimum_scale: floor of the standard deviation in `fit` and `from_moments`, in the variable's unit, so that a
            population of equal samples gives a finite distribution.
    """

    dim: int = eqx.field(static=True)
    minimum_scale: float = eqx.field(static=True, default=1e-6)

    def __check_init__(self):
        _check_dimension(self.dim)

    def init(self) -> DiagonalGaussianParams:
        return DiagonalGaussianParams(jnp.zeros(self.dim), jnp.zeros(self.dim))

    def __call__(self, params: DiagonalGaussianParams) -> Distribution:
        # Not validated: non-finite parameters travel to `infer`, which reports them in a sentence.
        return dist.Normal(params.loc, jnp.exp(params.log_scale), validate_args=False).to_event(1)

    def natural(self, params: DiagonalGaussianParams) -> NaturalParams:
        precision = jnp.exp(-2.0 * params.log_scale)
        return NaturalParams(precision * params.loc, precision)

    def from_natural(self, natural: NaturalParams) -> DiagonalGaussianParams:
        return DiagonalGaussianParams(natural.shift / natural.precision, -0.5 * jnp.log(natural.precision))

    def from_moments(self, mean: Float[Array, " d"], covariance: Float[Array, "d d"]) -> DiagonalGaussianParams:
        variance = jnp.maximum(jnp.diagonal(covariance), self.minimum_scale**2)
        return DiagonalGaussianParams(mean, 0.5 * jnp.log(variance))

    def structured(self, matrix: Float[Array, "d d"]) -> Float[Array, " d"]:
        return jnp.diagonal(matrix)

    def multiply(self, precision: Float[Array, " d"], vector: Float[Array, " d"]) -> Float[Array, " d"]:
        return precision * vector

    def longest_step(self, precision: Float[Array, " d"], change: Float[Array, " d"], keep: Coefficient) -> Scalar:
        return _step_to_boundary(jnp.min(change / precision), keep)


@final
class FullGaussian(AbstractGaussianFamily[FullGaussianParams]):
    """Gaussian with full covariance Sigma = L L^T, stored as the lower Cholesky factor L.

    Attributes:
        dim: number of variables.
        minimum_scale: standard deviation added (in quadrature) to the covariance in `fit` and `from_moments`.
    """

    dim: int = eqx.field(static=True)
    minimum_scale: float = eqx.field(static=True, default=1e-6)

    def __check_init__(self):
        _check_dimension(self.dim)

    def init(self) -> FullGaussianParams:
        return FullGaussianParams(jnp.zeros(self.dim), jnp.zeros(self.dim * (self.dim + 1) // 2))

    def __call__(self, params: FullGaussianParams) -> Distribution:
        return dist.MultivariateNormal(params.loc, scale_tril=self.scale_tril(params), validate_args=False)

    def scale_tril(self, params: FullGaussianParams) -> Float[Array, "d d"]:
        """Lower Cholesky factor of the covariance."""
        return jnp.asarray(LowerCholeskyTransform()(params.scale_vector))

    def from_scale_tril(self, loc: Float[Array, " d"], scale_tril: Float[Array, "d d"]) -> FullGaussianParams:
        """Parameters of N(loc, L L^T)."""
        return FullGaussianParams(loc, LowerCholeskyTransform().inv(scale_tril))

    def natural(self, params: FullGaussianParams) -> NaturalParams:
        inverse = jnp.linalg.inv(self.scale_tril(params))
        precision = inverse.T @ inverse
        return NaturalParams(precision @ params.loc, precision)

    def from_natural(self, natural: NaturalParams) -> FullGaussianParams:
        scale_tril = cholesky_of_inverse(natural.precision)
        return self.from_scale_tril(scale_tril @ (scale_tril.T @ natural.shift), scale_tril)

    def from_moments(self, mean: Float[Array, " d"], covariance: Float[Array, "d d"]) -> FullGaussianParams:
        floor = self.minimum_scale**2 * jnp.eye(self.dim)
        return self.from_scale_tril(mean, jnp.linalg.cholesky(covariance + floor))

    def structured(self, matrix: Float[Array, "d d"]) -> Float[Array, "d d"]:
        return 0.5 * (matrix + matrix.T)

    def multiply(self, precision: Float[Array, "d d"], vector: Float[Array, " d"]) -> Float[Array, " d"]:
        return precision @ vector

    def longest_step(self, precision: Float[Array, "d d"], change: Float[Array, "d d"], keep: Coefficient) -> Scalar:
        factor = jnp.linalg.inv(jnp.linalg.cholesky(precision))
        return _step_to_boundary(jnp.linalg.eigvalsh(factor @ change @ factor.T)[0], keep)


def _check_dimension(dim: int) -> None:
    if dim < 1:
        raise BadInputError(f"Expected a family over at least one variable, got dim={dim}: pass dim >= 1.")


def _step_to_boundary(smallest_ratio: Scalar, keep: Coefficient) -> Scalar:
    """Largest t <= 1 with 1 + t * smallest_ratio >= keep."""
    shrink = jnp.maximum(-smallest_ratio, 1.0 - keep)
    return (1.0 - keep) / shrink
