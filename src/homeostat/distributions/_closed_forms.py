"""Closed forms of Gaussian distributions, whatever numpyro class carries them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular
from numpyro.distributions.kl import kl_divergence as numpyro_kl_divergence

from ..results import BadInputError
from ..typing import Array, Distribution, Float, Scalar


class GaussianMoments(NamedTuple):
    """Mean and lower Cholesky factor of the covariance."""

    loc: Float[Array, " d"]
    scale_tril: Float[Array, "d d"]


def is_gaussian(distribution: Distribution) -> bool:
    """Whether `distribution` is a Gaussian over one vector."""
    if isinstance(distribution, dist.MultivariateNormal):
        return distribution.batch_shape == ()
    return (
        isinstance(distribution, dist.Independent)
        and isinstance(distribution.base_dist, dist.Normal)
        and distribution.batch_shape == ()
        and len(distribution.event_shape) == 1
    )


def gaussian_moments(distribution: Distribution) -> GaussianMoments:
    """Mean and Cholesky factor of a Gaussian over one vector.

    Raises:
        BadInputError: `distribution` is not such a Gaussian.
    """
    if not is_gaussian(distribution):
        raise BadInputError(
            f"Expected a Gaussian over one vector, got {type(distribution).__name__} with event shape "
            f"{distribution.event_shape}: use a Gaussian family, or an expectation by `MonteCarlo`."
        )
    if isinstance(distribution, dist.MultivariateNormal):
        return GaussianMoments(distribution.loc, distribution.scale_tril)
    base = distribution.base_dist
    loc = jnp.broadcast_to(base.loc, distribution.event_shape)
    return GaussianMoments(loc, jnp.diag(jnp.broadcast_to(base.scale, distribution.event_shape)))


def gaussian_divergence(q: GaussianMoments, p: GaussianMoments) -> Scalar:
    """KL(N(q) || N(p)) = (|A|_F^2 + |b|^2 - d) / 2 + log |L_p| - log |L_q|, A = L_p^-1 L_q, b = L_p^-1 (m_q - m_p).

    Returns:
        The divergence in nats.
    """
    dim = q.loc.shape[0]
    whitened = solve_triangular(p.scale_tril, q.scale_tril, lower=True)
    shift = solve_triangular(p.scale_tril, q.loc - p.loc, lower=True)
    log_ratio = jnp.sum(jnp.log(jnp.diagonal(p.scale_tril)) - jnp.log(jnp.diagonal(q.scale_tril)))
    return 0.5 * (jnp.sum(whitened**2) + jnp.sum(shift**2) - dim) + log_ratio


def closed_form_divergence(q: Distribution, p: Distribution) -> Scalar | None:
    """KL(q || p) in nats where a closed form is known, else None."""
    if is_gaussian(q) and is_gaussian(p):
        if isinstance(q, dist.Independent) and isinstance(p, dist.Independent):
            return numpyro_kl_divergence(q, p)
        return gaussian_divergence(gaussian_moments(q), gaussian_moments(p))
    if _is_categorical(q) and _is_categorical(p) and q.event_shape == p.event_shape:
        log_q, log_p = (jax.nn.log_softmax(_unwrap(d).logits) for d in (q, p))
        # An alternative that q excludes adds nothing, even where p excludes it too.
        return jnp.sum(jnp.where(log_q > -jnp.inf, jnp.exp(log_q) * (log_q - log_p), 0.0))
    try:
        return numpyro_kl_divergence(q, p)
    except NotImplementedError:
        return None


def _unwrap(distribution: Distribution) -> Distribution:
    return distribution.base_dist if isinstance(distribution, dist.Independent) else distribution


def _is_categorical(distribution: Distribution) -> bool:
    base = _unwrap(distribution)
    return isinstance(base, dist.CategoricalLogits | dist.CategoricalProbs) and distribution.batch_shape == ()
