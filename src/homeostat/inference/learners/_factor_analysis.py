"""Maximum likelihood of the linear-Gaussian models: in closed form where there is one, by exact EM otherwise.

Both need of the data only its mean and a square root R of its covariance, S = R^T R, so a step of EM costs the same for any
number of rows, and no small variance is left over from a subtraction of large ones. With T = R beta^T and
beta = M^-1 W^T Psi^-1 (see `models.static.AbstractLinearFactors`), the E-step is E[z | x] = beta (x - b) and the M-step

    W <- R^T T (M^-1 + T^T T)^-1,   Psi_ii <- |R_i - T w_i|^2 + w_i^T M^-1 w_i.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve

from ...models.static import FactorAnalysis, ProbabilisticPCA
from ...results import BadInputError
from ...typing import Array, Float, Scalar
from ._evidence_ascent import Improved, Learned, ascend_evidence

MINIMUM_SCALE = 1e-3
"""Default floor of a noise's standard deviation, in standard deviations of its entry (of all entries for an isotropic noise): as
many factors as an entry asks for could otherwise leave it without noise, and the likelihood without a maximum."""


class FactorMoments(NamedTuple):
    """Mean, and R with R^T R the covariance."""

    mean: Float[Array, " m"]
    root: Float[Array, "k m"]

    @property
    def scale(self) -> Float[Array, " m"]:
        """Standard deviations, as `scale_of` has them."""
        return scale_of(jnp.linalg.norm(self.root, axis=0))


@eqx.filter_jit
def fit_probabilistic_pca(
    observations: Float[Array, "rows m"], dim: int, *, minimum_scale: float = MINIMUM_SCALE
) -> ProbabilisticPCA:
    """The model of highest likelihood: b the mean, sigma^2 = (1 / (m - d)) sum_{i > d} l_i, W = U_d (L_d - sigma^2)^1/2.

    Args:
        observations: one row each, finite; `fit_incomplete_probabilistic_pca` takes rows with missing entries.
        dim: d, number of components, less than m.
        minimum_scale: floor of sigma, in root mean square deviations of the entries.

    References:
        Tipping and Bishop (1999), Eqs. 7 and 8, with the rotation R = I.
    """
    check_rows(observations, dim)
    moments = moments_of(observations)
    return principal(moments, dim, minimum_scale * root_mean_square(moments.scale))


@eqx.filter_jit
def fit_factor_analysis(
    observations: Float[Array, "rows m"],
    dim: int,
    *,
    num_steps: int = 200,
    minimum_scale: float = MINIMUM_SCALE,
    throw: bool = True,
) -> Learned[FactorAnalysis]:
    """Maximise log p(observations) by EM, from the probabilistic principal components of x in standard deviations.

    No step lowers it. Nothing depends on the unit of an entry: in another one, c x_i + a, the loadings and the noise of entry i are
    c times as large, and log p differs by -log c.

    Args:
        observations: one row each, finite; in 32 bits, centre entries that vary little around a large number. With missing
            entries use `fit_incomplete_factor_analysis`.
        dim: d, number of factors, less than m.
        num_steps: number of EM steps; the last digits come slowly where a noise goes to its floor.
        minimum_scale: floor of the noise's standard deviations, in standard deviations of their entries.
        throw: raise if the evidence ends non-finite.

    Returns:
        The learned model and the evidence along the way, in nats for each row.
    """
    check_rows(observations, dim, num_steps)
    moments = moments_of(observations)
    scale = moments.scale
    standard = FactorMoments(jnp.zeros_like(moments.mean), moments.root / scale[None, :])
    start = principal(standard, dim, minimum_scale)
    model = FactorAnalysis(start.loadings, start.offset, jnp.log(start.noise_scale))
    found = ascend_evidence(eqx.Partial(_improve, standard, minimum_scale), model, num_steps, throw)
    loadings, log_scale = scale[:, None] * found.model.loadings, jnp.log(scale) + found.model.log_scale
    evidence = found.log_evidence_nats - jnp.sum(jnp.log(scale))
    return Learned(FactorAnalysis(loadings, moments.mean, log_scale), evidence)


def _improve(moments: FactorMoments, minimum_scale: float, model: FactorAnalysis) -> Improved:
    """One step of EM, and log p(x) on average over rows before it."""
    root, scale = moments.root, model.noise_scale
    scaled = model.loadings / scale[:, None]
    identity = jnp.eye(model.dim, dtype=scale.dtype)
    factor = jnp.linalg.cholesky(identity + scaled.T @ scaled)
    codes = root @ cho_solve((factor, True), scaled.T / scale[None, :]).T

    # tr(S (W W^T + Psi)^-1) = |Psi^-1/2 (x - b - W m)|^2 + |m|^2 on average, m the posterior mean.
    misfit = jnp.sum((root - codes @ model.loadings.T) ** 2, axis=0)
    square = jnp.sum(misfit / scale**2) + jnp.sum(codes**2)
    log_volume = jnp.sum(jnp.log(scale)) + jnp.sum(jnp.log(jnp.diagonal(factor)))
    evidence = -0.5 * square - log_volume - 0.5 * scale.shape[0] * math.log(2.0 * math.pi)

    uncertainty = cho_solve((factor, True), identity)
    second = jnp.linalg.cholesky(uncertainty + codes.T @ codes)
    loadings = cho_solve((second, True), codes.T @ root).T
    misfit = jnp.sum((root - codes @ loadings.T) ** 2, axis=0)
    variance = misfit + jnp.sum((loadings @ uncertainty) * loadings, axis=1)
    # The likelihood falls on both sides of its maximum in a variance, so clipping it keeps EM from going down.
    log_scale = 0.5 * jnp.log(jnp.maximum(variance, minimum_scale**2))
    return Improved(FactorAnalysis(loadings, model.offset, log_scale), evidence)


def principal(moments: FactorMoments, dim: int, minimum_scale: Scalar | float) -> ProbabilisticPCA:
    """The closed form of `fit_probabilistic_pca`, from moments."""
    _, lengths, directions = jnp.linalg.svd(moments.root, full_matrices=False)
    values, observed = lengths**2, moments.root.shape[1]
    # Fewer rows than entries leave the last variances at zero.
    variance = jnp.maximum(jnp.sum(values[dim:]) / (observed - dim), minimum_scale**2)
    excess = jnp.maximum(values[:dim] - variance, 0.0)
    loadings = directions[:dim].T * jnp.sqrt(excess)[None, :]
    # Fewer rows than components: the others load on nothing.
    loadings = jnp.pad(loadings, ((0, 0), (0, dim - loadings.shape[1])))
    return ProbabilisticPCA(loadings, moments.mean, 0.5 * jnp.log(variance))


def moments_of(observations: Float[Array, "rows m"]) -> FactorMoments:
    """Mean and square root of the covariance (divided by the number of rows, as maximum likelihood has it)."""
    mean = jnp.mean(observations, axis=0)
    centred = (observations - mean[None, :]) / math.sqrt(observations.shape[0])
    return FactorMoments(mean, jnp.linalg.qr(centred, mode="r"))


def scale_of(deviations: Float[Array, " m"]) -> Float[Array, " m"]:
    """Standard deviations; those of entries that never vary stand for a unit, which they do not have."""
    vary = deviations > 0.0
    return jnp.where(vary, deviations, jnp.where(jnp.any(vary), root_mean_square(deviations), 1.0))


def root_mean_square(values: Float[Array, " m"]) -> Scalar:
    """The root of the mean of the squares."""
    return jnp.sqrt(jnp.mean(values**2))


def check_rows(observations: Array, dim: int, num_steps: int = 0) -> None:
    """Raise `BadInputError` if there are too few rows, or as many latent variables as entries."""
    largest = observations.shape[1] - 1
    if not 1 <= dim <= largest:
        raise BadInputError(
            f"Expected from 1 to {largest} latent variables for rows of {observations.shape[1]} numbers, got dim={dim}."
        )
    if observations.shape[0] < 2:
        raise BadInputError(f"Expected at least two rows, got {observations.shape[0]}.")
    if num_steps < 0:
        raise BadInputError(f"Expected a number of steps, got num_steps={num_steps}.")
