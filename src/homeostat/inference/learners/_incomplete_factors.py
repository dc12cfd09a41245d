"""Maximum likelihood of the linear-Gaussian models from rows with missing entries, by exact EM.

Every row n has a pattern o_n of known entries, and its E-step uses those alone. With O_n = diag(o_n) and
M_n = I + W^T O_n Psi^-1 W,

    E[z_n] = M_n^-1 W^T O_n Psi^-1 (x_n - b),   Cov[z_n] = M_n^-1.

The M-step is a regression of each entry i on u_n = (z_n, 1), over the rows that know it, with expected moments. For the residual
r_ni = x_ni - w_i^T z_n - b_i under the old model,

    A_i = sum_n o_ni E[u_n u_n^T],   c_i = sum_n o_ni E[r_ni u_n],
    (w_i, b_i) <- (w_i, b_i) + A_i^-1 c_i,   Psi_ii <- (sum_n o_ni E[r_ni^2] - c_i^T A_i^-1 c_i) / sum_n o_ni.

What is missing is integrated out and never filled in, so no step lowers the evidence of what was seen. Near the maximum c_i
vanishes, so no small variance is left over from a subtraction of large ones. Rows pass through in blocks: beside the rows, memory
holds the moments of one block's latents, and of those of each entry.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve

from ..._scan import scan
from ...models.static import AbstractLinearFactors, FactorAnalysis, ProbabilisticPCA
from ...results import BadInputError
from ...typing import Array, Bool, Float, Scalar
from ._evidence_ascent import Improved, Learned, ascend_evidence
from ._factor_analysis import MINIMUM_SCALE, check_rows, moments_of, principal, root_mean_square, scale_of

_BLOCK_NUMBERS = 1 << 22
"""Numbers of the second moments of a block of rows: 32 MiB in 64 bits."""

_Build = Callable[[Array, Array, Array, Array], Any]
"""Makes a model of W, b, and sum and number of the squared residuals of each entry."""


class _Rows(NamedTuple):
    """Standardised rows with zeros for what is missing, and their loc and scale."""

    values: Float[Array, "rows m"]
    observed: Bool[Array, "rows m"]
    loc: Float[Array, " m"]
    scale: Float[Array, " m"]

    @property
    def log_unit_nats(self) -> Scalar:
        """log |dx / dx'| of the known entries of a row, on average."""
        return jnp.sum(jnp.mean(self.observed.astype(self.scale.dtype), axis=0) * jnp.log(self.scale))


class _Sums(NamedTuple):
    """Over the rows that know each entry: of Cov[z], E[u] E[u]^T, r E[u] and r^2, r at E[z]; and log p(x_o) of all rows."""

    spread: Float[Array, "m d d"]
    outer: Float[Array, "m k k"]
    cross: Float[Array, "m k"]
    square: Float[Array, " m"]
    log_evidence_nats: Scalar


@eqx.filter_jit
def fit_incomplete_factor_analysis(
    observations: Float[Array, "rows m"],
    observed: Bool[Array, "rows m"],
    dim: int,
    *,
    num_steps: int = 200,
    minimum_scale: float = MINIMUM_SCALE,
    throw: bool = True,
) -> Learned[FactorAnalysis]:
    """Maximise log p(what was seen) by EM: `fit_factor_analysis` for rows with missing entries.

    With nothing missing every step is that of `fit_factor_analysis`, which needs the moments of the rows only. The unit of an
    entry changes nothing here either.

    Args:
        observations: one row each; where an entry is missing any number will do, and NaN.
        observed: which entries are known. A row without any counts, and says nothing; an entry that no row knows gets loadings
            of zero.
        dim: d, number of factors, less than m.
        num_steps: number of EM steps; the more is missing, the more are needed.
        minimum_scale: floor of the noise's standard deviations, in standard deviations of the known numbers of their entries.
        throw: raise if the evidence ends non-finite.

    Returns:
        The learned model and the evidence of the known entries along the way, in nats for each row.

    References:
        Ghahramani and Jordan, "Supervised learning from incomplete data via an EM approach", NeurIPS 1993: sums over known
        entries in the E-step.
    """
    loc, scale = _units(observations, observed, dim, num_steps)
    rows = _standardised(observations, observed, loc, scale)

    def build(loadings: Array, offset: Array, square: Array, count: Array) -> FactorAnalysis:
        # The likelihood falls on both sides of its maximum in a variance, so clipping it keeps EM from going down.
        return FactorAnalysis(loadings, offset, 0.5 * jnp.log(jnp.maximum(square / count, minimum_scale**2)))

    found = _ascend(rows, build, dim, minimum_scale, num_steps, throw)
    learned = found.model
    loadings, offset = rows.scale[:, None] * learned.loadings, rows.loc + rows.scale * learned.offset
    moved = FactorAnalysis(loadings, offset, jnp.log(rows.scale) + learned.log_scale)
    return Learned(moved, found.log_evidence_nats - rows.log_unit_nats)


@eqx.filter_jit
def fit_incomplete_probabilistic_pca(
    observations: Float[Array, "rows m"],
    observed: Bool[Array, "rows m"],
    dim: int,
    *,
    num_steps: int = 200,
    minimum_scale: float = MINIMUM_SCALE,
    throw: bool = True,
) -> Learned[ProbabilisticPCA]:
    """Maximise log p(what was seen) by EM: `fit_probabilistic_pca` has its formula only where nothing is missing.

    The columns of W are orthogonal, the longest first. Arguments and results are those of `fit_incomplete_factor_analysis`, but
    for one.

    Args:
        minimum_scale: floor of sigma, in root mean square deviations of the entries.

    References:
        Ilin and Raiko, "Practical approaches to principal component analysis in the presence of missing values", Journal of
        Machine Learning Research 11 (2010).
    """
    loc, scale = _units(observations, observed, dim, num_steps)
    common = root_mean_square(scale)
    rows = _standardised(observations, observed, loc, jnp.full_like(loc, common))

    def build(loadings: Array, offset: Array, square: Array, count: Array) -> ProbabilisticPCA:
        variance = jnp.maximum(jnp.sum(square) / jnp.sum(count), minimum_scale**2)
        return ProbabilisticPCA(loadings, offset, 0.5 * jnp.log(variance))

    found = _ascend(rows, build, dim, minimum_scale, num_steps, throw)
    learned = found.model
    # EM ends at some basis of the subspace; a rotation of z changes no density.
    directions, lengths, _ = jnp.linalg.svd(learned.loadings, full_matrices=False)
    loadings, offset = common * directions * lengths[None, :], rows.loc + common * learned.offset
    moved = ProbabilisticPCA(loadings, offset, jnp.log(common) + learned.log_sigma)
    return Learned(moved, found.log_evidence_nats - rows.log_unit_nats)


def _ascend(rows: _Rows, build: _Build, dim: int, minimum_scale: float, num_steps: int, throw: bool) -> Learned:
    """EM from the principal components of rows with means in place of what is missing."""
    start = principal(moments_of(rows.values), dim, minimum_scale)
    model = build(start.loadings, start.offset, start.noise_scale**2, jnp.ones_like(rows.loc))
    num_rows, size = rows.values.shape
    block = min(num_rows, max(1, _BLOCK_NUMBERS // max((dim + 1) ** 2, size)))
    # Padded with rows of which nothing is known.
    padding = ((0, -num_rows % block), (0, 0))
    blocks = tuple(jnp.pad(part, padding).reshape(-1, block, size) for part in (rows.values, rows.observed))
    return ascend_evidence(eqx.Partial(_improve, blocks, num_rows, build), model, num_steps, throw)


def _improve(blocks: tuple[Array, Array], num_rows: int, build: _Build, model: AbstractLinearFactors) -> Improved:
    """One step of EM, and log p(x_o) on average over rows before it."""
    first = jax.tree.map(lambda part: part[0], blocks)
    empty = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(_sums, model, *first))
    sums, _ = scan(lambda sums, block: (jax.tree.map(jnp.add, sums, _sums(model, *block)), None), empty, blocks)

    count = sums.outer[:, -1, -1]
    known = count > 0.0
    second = sums.outer + jnp.pad(sums.spread, ((0, 0), (0, 1), (0, 1)))
    second = jnp.where(known[:, None, None], second, jnp.eye(second.shape[-1], dtype=second.dtype))
    doubt = jnp.einsum("ikl,il->ik", sums.spread, model.loadings)
    cross = sums.cross - jnp.pad(doubt, ((0, 0), (0, 1)))
    change = jax.vmap(lambda lower, right: cho_solve((lower, True), right))(jnp.linalg.cholesky(second), cross)
    square = sums.square + jnp.sum(doubt * model.loadings, axis=1) - jnp.sum(cross * change, axis=1)

    loadings = jnp.where(known[:, None], model.loadings + change[:, :-1], 0.0)
    better = build(loadings, model.offset + change[:, -1], square, jnp.where(known, count, 1.0))
    return Improved(better, sums.log_evidence_nats / num_rows)


def _sums(model: AbstractLinearFactors, values: Float[Array, "rows m"], observed: Bool[Array, "rows m"]) -> _Sums:
    """What one block of rows adds, in expectation under the model."""

    def one(row: Array, seen: Array) -> tuple[Array, Array, Scalar]:
        posterior = model.posterior(row, seen)
        factor = jnp.asarray(posterior.scale_tril)
        return jnp.asarray(posterior.loc), factor @ factor.T, model.log_evidence(row, seen)

    codes, spread, evidence = jax.vmap(one)(values, observed)
    known, mean = observed.astype(values.dtype), jnp.concatenate([codes, jnp.ones_like(values[:, :1])], axis=1)
    residual = known * (values - model.offset[None, :] - codes @ model.loadings.T)
    return _Sums(
        jnp.einsum("ni,nkl->ikl", known, spread),
        jnp.einsum("ni,nk,nl->ikl", known, mean, mean),
        residual.T @ mean,
        jnp.sum(residual**2, axis=0),
        jnp.sum(evidence),
    )


def _units(observations: Array, observed: Array, dim: int, num_steps: int) -> tuple[Array, Array]:
    """Mean and scale of the known numbers of each entry, of arguments that were checked."""
    check_rows(observations, dim, num_steps)
    if observed.shape != observations.shape:
        raise BadInputError(
            f"Expected a mask with one entry for every entry of the rows, {observations.shape}, got {observed.shape}."
        )
    count = jnp.maximum(jnp.sum(observed, axis=0), 1).astype(observations.dtype)
    loc = jnp.sum(jnp.where(observed, observations, 0.0), axis=0) / count
    centred = jnp.where(observed, observations - loc[None, :], 0.0)
    return loc, scale_of(jnp.sqrt(jnp.sum(centred**2, axis=0) / count))


def _standardised(observations: Array, observed: Array, loc: Array, scale: Array) -> _Rows:
    values = jnp.where(observed, (observations - loc[None, :]) / scale[None, :], 0.0)
    return _Rows(values, observed, loc, scale)
