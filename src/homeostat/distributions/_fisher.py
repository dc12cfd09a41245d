"""Fisher information of a conditional distribution in its condition, a positive semi-definite curvature."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from ..typing import Array, Bool, Distribution, Float, PyTree


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
    example = _unwrap(conditional(value))
    if isinstance(example, dist.Normal):
        shape = example.batch_shape
        _, mean_jacobian = _value_and_jacobian(lambda z: jnp.broadcast_to(_unwrap(conditional(z)).loc, shape), value)
        scale, scale_jacobian = _value_and_jacobian(
            lambda z: jnp.broadcast_to(_unwrap(conditional(z)).scale, shape), value
        )
        inverse = _counted(1.0 / scale, observed).reshape(-1, 1)
        mean_part = mean_jacobian * inverse
        scale_part = scale_jacobian * inverse
        return mean_part.T @ mean_part + 2.0 * scale_part.T @ scale_part
    if isinstance(example, dist.BernoulliLogits):
        logits, jacobian = _value_and_jacobian(lambda z: _unwrap(conditional(z)).logits, value)
        probability = jax.nn.sigmoid(logits)
        variance = _counted(probability * (1.0 - probability), observed).reshape(-1, 1)
        return jacobian.T @ (variance * jacobian)
    return None


def _counted(weights: Array, observed: Array | None) -> Array:
    return weights if observed is None else jnp.where(observed, weights, 0.0)


def _unwrap(distribution: Distribution) -> Distribution:
    return distribution.base_dist if isinstance(distribution, dist.Independent) else distribution


def _value_and_jacobian(function: Callable, value: Array) -> tuple[Array, Float[Array, "n d"]]:
    """Value and Jacobian by d forward passes."""
    output = function(value)
    jacobian = jax.jacfwd(function)(value)
    return output, jacobian.reshape(-1, value.shape[0])
