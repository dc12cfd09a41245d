"""Linear-Gaussian models of one observation, whose posterior and evidence are known in closed form.

    z ~ N(0, I),   x ~ N(W z + b, Psi)

Factor analysis has a diagonal Psi; probabilistic principal component analysis is its isotropic case, Psi = sigma^2 I. With
M = I + W^T Psi^-1 W, a matrix of the size of z,

    p(z | x) = N(M^-1 W^T Psi^-1 (x - b), M^-1),   log |W W^T + Psi| = log |M| + log |Psi|,

so nothing of the size of x squared is ever formed (Woodbury). An entry that is missing has precision zero: its rows of W, Psi
and x - b are left out of every sum. These are the members of the latent Gaussian family against
which every engine and every bound can be held.
"""

import abc
import math
from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions.util import cholesky_of_inverse

from ...core import AbstractModel
from ...results import BadInputError
from ...typing import Array, Bool, Distribution, Float, Scalar


class AbstractLinearFactors(AbstractModel):
    """x ~ N(W z + b, Psi) with z ~ N(0, I) and a diagonal Psi.

    Attributes:
        loadings: W, one row for every entry of x and one column for every factor.
        offset: b.
    """

    loadings: eqx.AbstractVar[Float[Array, "m d"]]
    offset: eqx.AbstractVar[Float[Array, " m"]]

    @property
    @abc.abstractmethod
    def noise_scale(self) -> Float[Array, " m"]:
        """Standard deviations, the square root of the diagonal of Psi, in the unit of x."""

    @property
    def dim(self) -> int:
        """Number of factors."""
        return self.loadings.shape[1]

    def initial(self) -> Distribution:
        zeros = jnp.zeros(self.dim, self.loadings.dtype)
        return dist.Normal(zeros, jnp.ones_like(zeros), validate_args=False).to_event(1)

    def emission(self, state: Float[Array, " d"]) -> Distribution:
        return dist.Normal(self.loadings @ state + self.offset, self.noise_scale, validate_args=False).to_event(1)

    def posterior(
        self, observation: Float[Array, " m"], observed: Bool[Array, " m"] | None = None
    ) -> dist.MultivariateNormal:
        """p(z | x), exactly; the prior where nothing was observed.

        Args:
            observation: x; where an entry is missing any number will do, and NaN.
            observed: which entries are known; None if all are.

        References:
            Tipping and Bishop (1999), Eq. 4, for the isotropic case.
        """
        scaled = _known(self.loadings / self.noise_scale[:, None], observed)
        factor = cholesky_of_inverse(jnp.eye(self.dim, dtype=scaled.dtype) + scaled.T @ scaled)
        residual = _known(observation, observed) - self.offset
        projected = scaled.T @ _known(residual / self.noise_scale, observed)
        return dist.MultivariateNormal(factor @ (factor.T @ projected), scale_tril=factor, validate_args=False)

    def log_evidence(self, observation: Float[Array, " m"], observed: Bool[Array, " m"] | None = None) -> Scalar:
        """log p(x) in nats, of the known entries; zero where nothing was observed. Arguments as for `posterior`.

        The quadratic form is |Psi^-1/2 (x - b - W m)|^2 + |m|^2 with m the posterior mean, a sum of two squares where the usual
        formula subtracts.
        """
        posterior = self.posterior(observation, observed)
        residual = _known(observation, observed) - self.offset - self.loadings @ posterior.loc
        square = jnp.sum(_known(residual / self.noise_scale, observed) ** 2) + jnp.sum(posterior.loc**2)
        log_volume = jnp.sum(_known(jnp.log(self.noise_scale), observed))
        log_volume -= jnp.sum(jnp.log(jnp.diagonal(posterior.scale_tril)))
        count = observation.shape[0] if observed is None else jnp.sum(observed)
        return -0.5 * square - log_volume - 0.5 * math.log(2.0 * math.pi) * count

    def covariance(self) -> Float[Array, "m m"]:
        """W W^T + Psi, the covariance of x."""
        return self.loadings @ self.loadings.T + jnp.diag(self.noise_scale**2)

    def __check_init__(self):
        if self.loadings.ndim != 2 or 0 in self.loadings.shape or self.offset.shape != self.loadings.shape[:1]:
            raise BadInputError(
                f"Expected loadings [m, d] with at least one entry and one factor, and an offset [m], got loadings of shape "
                f"{self.loadings.shape} and an offset of shape {self.offset.shape}."
            )


@final
class FactorAnalysis(AbstractLinearFactors):
    """x ~ N(W z + b, diag(exp(2 log_scale))) with z ~ N(0, I): every entry of x has a noise of its own.

    Attributes:
        loadings: W.
        offset: b.
        log_scale: logarithm of the noise's standard deviations, in the unit of x.

    References:
        Rubin and Thayer, "EM algorithms for ML factor analysis", Psychometrika 47 (1982).
    """

    loadings: Float[Array, "m d"]
    offset: Float[Array, " m"]
    log_scale: Float[Array, " scales"]

    def __check_init__(self):
        if self.log_scale.shape != self.offset.shape:
            raise BadInputError(
                f"Expected one log scale for each of the {self.offset.shape[0]} entries, got shape {self.log_scale.shape}."
            )

    @property
    def noise_scale(self) -> Float[Array, " m"]:
        return jnp.exp(self.log_scale)


@final
class ProbabilisticPCA(AbstractLinearFactors):
    """x ~ N(W z + b, sigma^2 I) with z ~ N(0, I): the columns of W span the principal subspace where likelihood is highest.

    Attributes:
        loadings: W.
        offset: b.
        log_sigma: logarithm of the noise's standard deviation, in the unit of x.

    References:
        Tipping and Bishop, "Probabilistic principal component analysis", Journal of the Royal Statistical Society B 61
        (1999).
    """

    loadings: Float[Array, "m d"]
    offset: Float[Array, " m"]
    log_sigma: Float[Array, ""]

    @property
    def noise_scale(self) -> Float[Array, " m"]:
        return jnp.broadcast_to(jnp.exp(self.log_sigma), self.offset.shape)


def _known(values: Float[Array, "m ..."], observed: Bool[Array, " m"] | None) -> Float[Array, "m ..."]:
    """Zeros for entries that are missing: of a NaN before anything is computed, or it would come back in derivatives."""
    return values if observed is None else jnp.where(observed.reshape(-1, *[1] * (values.ndim - 1)), values, 0.0)
