"""Bayesian linear regression with unknown coefficients and noise, in square-root form.

    y = W w + eps,  eps ~ N(0, Sigma),     W | Sigma ~ MN(M, Sigma, Lambda^-1),   Sigma ~ IW(Psi, nu)

All that the data say is the second moment of the rows v = (w, y). Its lower Cholesky factor

    G = [[G_11, 0], [G_21, G_22]]

holds the posterior without any subtraction: Lambda = G_11 G_11^T, M = G_21 G_11^-1, Psi = G_22 G_22^T. A datum appends the
column v to G, and a triangularisation restores its shape; so updates one by one and in a batch agree to rounding, and single
precision is enough.

References:
    Murphy, "Machine learning: a probabilistic perspective", Sec. 7.6 (conjugate regression) and Sec. 4.6 (inverse Wishart);
    the square-root form is that of information filters: Bierman, "Factorization methods for discrete sequential estimation".
"""

import math
from typing import NamedTuple, final

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist
from cuthbertlib.linalg import tria
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import digamma, gammaln

from ..results import BadInputError
from ..typing import Array, Distribution, Float, Key, Scalar


def positive_tria(square_root: Float[Array, "d n"]) -> Float[Array, "d d"]:
    """Lower-triangular L with positive diagonal and L L^T = S S^T, for a square root S with n >= d columns."""
    return positive_columns(tria(square_root))


def positive_columns(factor: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """The same lower-triangular square root with the signs of its columns chosen so that the diagonal is positive."""
    signs = jnp.where(jnp.diagonal(factor) < 0.0, -1.0, 1.0).astype(factor.dtype)
    return factor * signs[None, :]


class RegressionSample(NamedTuple):
    """Coefficients W [d, k] and noise factor [d, d] of one regression."""

    coefficients: Float[Array, "d k"]
    scale_tril: Float[Array, "d d"]


@final
class MatrixNormalInverseWishart(eqx.Module):
    """Distribution over the coefficients W and the noise covariance Sigma of a linear regression (see the module).

    Attributes:
        factor: G, [k + d, k + d].
        degrees: nu, degrees of freedom of the inverse Wishart; above d - 1 for a proper distribution, above d + 1 for
            E[Sigma] to exist.
        num_regressors: k.
    """

    factor: Float[Array, "n n"]
    degrees: Float[Array, ""]
    num_regressors: int = eqx.field(static=True)

    @classmethod
    def prior(
        cls, mean: Array, *, precision_tril: Array, scale_tril: Array, degrees: float | int | int
    ) -> "MatrixNormalInverseWishart":
        """From the usual parameters.

        Args:
            mean: M, [d, k].
            precision_tril: lower Cholesky factor of Lambda, [k, k].
            scale_tril: lower Cholesky factor of Psi, [d, d].
            degrees: nu > d - 1.

        Raises:
            BadInputError: shapes do not agree or `degrees` is too small.
        """
        mean, precision_tril, scale_tril = jnp.asarray(mean), jnp.asarray(precision_tril), jnp.asarray(scale_tril)
        if mean.ndim != 2:
            raise BadInputError(f"Expected a matrix of coefficients (d, k), got shape {mean.shape}.")
        dim, num = mean.shape
        if precision_tril.shape != (num, num) or scale_tril.shape != (dim, dim):
            raise BadInputError(
                f"Expected a precision_tril of shape {(num, num)} and a scale_tril of shape {(dim, dim)} for coefficients "
                f"of shape {mean.shape}, got {precision_tril.shape} and {scale_tril.shape}."
            )
        if isinstance(degrees, float | int) and not degrees > dim - 1:
            raise BadInputError(f"Expected more than d - 1 = {dim - 1} degrees of freedom, got {degrees}.")
        zeros = jnp.zeros((num, dim), mean.dtype)
        factor = jnp.block([[precision_tril, zeros], [mean @ precision_tril, scale_tril]])
        return cls(factor, jnp.asarray(degrees, factor.dtype), num)

    @property
    def dim(self) -> int:
        """Number of targets, d."""
        return self.factor.shape[-1] - self.num_regressors

    @property
    def precision_tril(self) -> Float[Array, "k k"]:
        """Lower Cholesky factor of Lambda, the precision of W's rows in units of Sigma's inverse."""
        return self.factor[: self.num_regressors, : self.num_regressors]

    @property
    def scale_tril(self) -> Float[Array, "d d"]:
        """Lower Cholesky factor of Psi."""
        return self.factor[self.num_regressors :, self.num_regressors :]

    @property
    def mean(self) -> Float[Array, "d k"]:
        """E[W] = M."""
        lower_left = self.factor[self.num_regressors :, : self.num_regressors]
        return solve_triangular(self.precision_tril, lower_left.T, lower=True, trans=1).T

    @property
    def noise_tril(self) -> Float[Array, "d d"]:
        """Lower Cholesky factor of E[Sigma] = Psi / (nu - d - 1); NaN where it does not exist."""
        excess = self.degrees - self.dim - 1.0
        return self.scale_tril / jnp.sqrt(jnp.where(excess > 0.0, excess, jnp.nan))

    # ------------------------------------------------------------------------------------------------------ learning

    def update(
        self, regressors: Float[Array, " k"], target: Float[Array, " d"], *, forgetting: Scalar | float = 1.0
    ) -> "MatrixNormalInverseWishart":
        """Posterior after one datum.

        Args:
            regressors: w, [k].
            target: y, [d].
            forgetting: weight of all that came before, in (0, 1]; the memory is 1 / (1 - forgetting) data long.
        """
        return self.update_moments(jnp.concatenate([regressors, target])[:, None], 1.0, forgetting=forgetting)

    def update_batch(
        self, regressors: Float[Array, "n k"], targets: Float[Array, "n d"]
    ) -> "MatrixNormalInverseWishart":
        """Posterior after n data, the same as after n single updates."""
        return self.update_moments(jnp.concatenate([regressors, targets], axis=1).T, regressors.shape[0])

    def update_moments(
        self, square_root: Float[Array, "kd n"], count: Scalar | float | int, *, forgetting: Scalar | float = 1.0
    ) -> "MatrixNormalInverseWishart":
        """Posterior after data of which only (expected) second moments are known.

        Args:
            square_root: any S with S S^T = sum E[v v^T] over the data, v = (w, y).
            count: number of data behind it.
            forgetting: weight of all that came before, in (0, 1].

        Raises:
            BadInputError: `forgetting` is outside (0, 1].
        """
        if isinstance(forgetting, float | int) and not 0.0 < forgetting <= 1.0:
            raise BadInputError(f"Expected a forgetting factor in (0, 1] (1 forgets nothing), got {forgetting}.")
        factor = positive_tria(jnp.concatenate([jnp.sqrt(forgetting) * self.factor, square_root], axis=1))
        degrees = jnp.asarray(forgetting * self.degrees + count, self.degrees.dtype)
        return MatrixNormalInverseWishart(factor, degrees, self.num_regressors)

    # ---------------------------------------------------------------------------------------------------- prediction

    def uncertainty(self, regressors: Float[Array, " k"]) -> Scalar:
        """w^T Lambda^-1 w: variance of W w in units of Sigma."""
        return jnp.sum(solve_triangular(self.precision_tril, regressors, lower=True) ** 2)

    def predictive(self, regressors: Float[Array, " k"]) -> Distribution:
        """p(y | w, data) = t_{nu - d + 1}(M w, Psi (1 + w^T Lambda^-1 w) / (nu - d + 1)), a multivariate Student-t."""
        freedom = self.degrees - self.dim + 1.0
        scale = self.scale_tril * jnp.sqrt((1.0 + self.uncertainty(regressors)) / freedom)
        return dist.MultivariateStudentT(freedom, self.mean @ regressors, scale)

    def information_gain(self, regressors: Float[Array, " k"]) -> Scalar:
        """I[(W, Sigma); y | w] = H[p(y | w)] - E[H[N(y; W w, Sigma)]], what one observation is expected to teach.

        Of the two parts, the one about W grows with w^T Lambda^-1 w and the one about Sigma is the same for every w.

        Returns:
            Mutual information in nats, never negative.
        """
        return self._predictive_entropy(regressors) - self._expected_noise_entropy()

    def sample(self, *, key: Key) -> RegressionSample:
        """One regression (W, noise factor) from the distribution, by Bartlett's decomposition."""
        chi_key, normal_key, coefficient_key = jr.split(key, 3)
        dim, dtype = self.dim, self.factor.dtype
        index = jnp.arange(dim)
        chi = jnp.sqrt(2.0 * jr.gamma(chi_key, 0.5 * (self.degrees - index.astype(dtype)), dtype=dtype))
        lower = jnp.tril(jr.normal(normal_key, (dim, dim), dtype), -1) + jnp.diag(chi)
        # Sigma^-1 = Psi^-T/2 (T T^T) Psi^-1/2 with T lower triangular, hence Sigma = S S^T with S = Psi^1/2 T^-T.
        noise_tril = positive_tria(solve_triangular(lower, self.scale_tril.T, lower=True).T)
        noise = jr.normal(coefficient_key, (dim, self.num_regressors), dtype)
        spread = solve_triangular(self.precision_tril, noise.T, lower=True, trans=1).T
        return RegressionSample(self.mean + noise_tril @ spread, noise_tril)

    def _expected_log_determinant(self) -> Scalar:
        """E[log |Sigma|]."""
        terms = digamma(0.5 * (self.degrees - jnp.arange(self.dim).astype(self.degrees.dtype)))
        log_scale = 2.0 * jnp.sum(jnp.log(jnp.diagonal(self.scale_tril)))
        return log_scale - jnp.sum(terms) - self.dim * math.log(2.0)

    def _expected_noise_entropy(self) -> Scalar:
        return 0.5 * (self.dim * (1.0 + math.log(2.0 * math.pi)) + self._expected_log_determinant())

    def _predictive_entropy(self, regressors: Float[Array, " k"]) -> Scalar:
        """Entropy of the multivariate Student-t (Kotz and Nadarajah 2004, Sec. 1.8)."""
        dim = self.dim
        freedom = self.degrees - dim + 1.0
        half, half_total = 0.5 * freedom, 0.5 * (freedom + dim)
        log_scale = jnp.sum(jnp.log(jnp.diagonal(self.scale_tril)))
        log_scale = log_scale + 0.5 * dim * (jnp.log1p(self.uncertainty(regressors)) - jnp.log(freedom))
        shape = half_total * (digamma(half_total) - digamma(half)) + gammaln(half) - gammaln(half_total)
        return shape + 0.5 * dim * jnp.log(freedom * math.pi) + log_scale
