"""Closed forms of distributions: moments and divergences of Gaussians, whatever numpyro class carries them, and Fisher information."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular
from numpyro.distributions.kl import kl_divergence as numpyro_kl_divergence

from ..results import BadInputError
from ..typing import Array, Bool, Distribution, Float, PyTree, Scalar


class GaussianMoments(NamedTuple):
    """Mean and lower Cholesky factor of the covariance."""

    loc: Float[Array, " d"]
    scale_tril: Float[Array, "d d"]


def innermost(distribution: Distribution) -> Distribution:
    """What is beneath `Independent`, whose parameters have names."""
    while isinstance(distribution, dist.Independent):
        distribution = distribution.base_dist
    return distribution


def is_factorised(distribution: Distribution) -> bool:
    """Whether `distribution` is independent normals over one vector."""
    return (
        isinstance(distribution, dist.Independent)
        and isinstance(distribution.base_dist, dist.Normal)
        and len(distribution.event_shape) == 1
    )


def is_gaussian(distribution: Distribution) -> bool:
    """Whether `distribution` is a Gaussian over one vector."""
    known = isinstance(distribution, dist.MultivariateNormal) or is_factorised(distribution)
    return known and distribution.batch_shape == ()


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
        log_q, log_p = (jax.nn.log_softmax(innermost(d).logits) for d in (q, p))
        # An alternative that q excludes adds nothing, even where p excludes it too.
        return jnp.sum(jnp.where(log_q > -jnp.inf, jnp.exp(log_q) * (log_q - log_p), 0.0))
    try:
        return numpyro_kl_divergence(q, p)
    except NotImplementedError:
        return None


def _is_categorical(distribution: Distribution) -> bool:
    base = innermost(distribution)
    return isinstance(base, dist.CategoricalLogits | dist.CategoricalProbs) and distribution.batch_shape == ()


def fisher_information(
    conditional: Callable[[Float[Array, " d"]], Distribution],
    value: Float[Array, " d"],
    observed: PyTree[Bool[Array, "..."]] | None = None,
) -> Float[Array, "d d"] | None:
    """I(z) = E_{x ~ p(x|z)}[grad log p(x|z) grad log p(x|z)^T], from the Jacobian of the parameters.

    For a Gaussian, J_m^T J_m / sigma^2 + 2 J_s^T J_s / sigma^2 with m the mean and s the standard deviation (its first
    term is the Gauss-Newton matrix); for a Bernoulli with logits l, J_l^T diag(p (1 - p)) J_l.

    Args:
        conditional: maps z to p(x | z).
        value: z.
        observed: which entries of x count, in the structure of x; all of them by default.

    Returns:
        The matrix, or None for a distribution whose form is not known here.
    """
    example = innermost(conditional(value))
    if isinstance(example, dist.Normal):
        shape = example.batch_shape
        _, mean_jacobian = _value_and_jacobian(lambda z: jnp.broadcast_to(innermost(conditional(z)).loc, shape), value)
        scale, scale_jacobian = _value_and_jacobian(
            lambda z: jnp.broadcast_to(innermost(conditional(z)).scale, shape), value
        )
        inverse = _counted(1.0 / scale, observed).reshape(-1, 1)
        mean_part = mean_jacobian * inverse
        scale_part = scale_jacobian * inverse
        return mean_part.T @ mean_part + 2.0 * scale_part.T @ scale_part
    if isinstance(example, dist.BernoulliLogits):
        logits, jacobian = _value_and_jacobian(lambda z: innermost(conditional(z)).logits, value)
        probability = jax.nn.sigmoid(logits)
        variance = _counted(probability * (1.0 - probability), observed).reshape(-1, 1)
        return jacobian.T @ (variance * jacobian)
    return None


def _counted(weights: Array, observed: Array | None) -> Array:
    return weights if observed is None else jnp.where(observed, weights, 0.0)


def _value_and_jacobian(function: Callable, value: Array) -> tuple[Array, Float[Array, "n d"]]:
    """Value and Jacobian by d forward passes."""
    output = function(value)
    jacobian = jax.jacfwd(function)(value)
    return output, jacobian.reshape(-1, value.shape[0])
