"""How heavy the tail of importance weights is."""

import jax
import jax.numpy as jnp
import numpy as np

from ..results import BadInputError
from ..typing import Array, Float, Scalar

FEWEST_DRAWS = 25
"""Fewer draws leave fewer than five in the tail, too few for a fit."""


def tail_length(num_draws: int) -> int:
    """How many of the largest weights make the tail, min(S / 5, 3 sqrt(S)) of S draws, rounded up.

    References:
        Vehtari et al., "Pareto smoothed importance sampling", JMLR 25 (2024), Sec. 2.
    """
    return int(np.ceil(min(0.2 * num_draws, 3.0 * np.sqrt(num_draws))))


def pareto_shape(log_weights: Float[Array, " draws"]) -> Scalar:
    """k of a generalised Pareto distribution fitted to the largest importance weights.

    Below 0.5 the weights have a finite variance; from 0.7 on, averages over them are unreliable, and the distribution that
    was drawn from is a poor stand-in for the one that was weighed towards.

    Args:
        log_weights: log p(x, z) - log q(z) of draws from q, up to a constant.

    References:
        Vehtari et al., "Pareto smoothed importance sampling", JMLR 25 (2024); the estimator of Zhang and Stephens, "A new and
        efficient estimation method for the generalized Pareto distribution", Technometrics 51 (2009), with the weak prior of
        the former (ten draws at 1/2).
    """
    num = log_weights.shape[0]
    if num < FEWEST_DRAWS:
        raise BadInputError(f"Expected at least {FEWEST_DRAWS} draws to fit a tail, got {num}.")
    return shape_of_tail(jnp.sort(log_weights)[-tail_length(num) - 1 :])


def shape_of_tail(largest: Float[Array, " tail_plus_one"]) -> Scalar:
    """`pareto_shape` from the largest log weights alone.

    Args:
        largest: the tail in rising order, after the largest log weight that does not belong to it any more.
    """
    tail = largest.shape[0] - 1
    weights = jnp.exp(largest - largest[-1])
    excess = weights[1:] - weights[0]
    # Weights that are equal but for rounding have no tail. Without a floor at what rounding can tell apart, the fit would be
    # one of the rounding, or a division by zero.
    kind = jnp.finfo(excess.dtype)
    resolution = 10.0 * kind.eps * jnp.maximum(jnp.abs(largest[-1]), 1.0) * weights[0]
    excess = jnp.maximum(excess, jnp.maximum(resolution, kind.tiny * 1e8))
    num_grid = 30 + int(np.sqrt(tail))
    grid = 1.0 - jnp.sqrt(num_grid / (jnp.arange(1, num_grid + 1) - 0.5))
    quartile = excess[int(np.floor(tail / 4 + 0.5)) - 1]
    inverse_scale = grid / (3.0 * quartile) + 1.0 / excess[-1]
    shapes = jnp.mean(jnp.log1p(-inverse_scale[:, None] * excess[None, :]), axis=1)
    profile = tail * (jnp.log(-inverse_scale / shapes) - shapes - 1.0)
    best = jax.nn.softmax(profile) @ inverse_scale
    shape = jnp.mean(jnp.log1p(-best * excess))
    return (tail * shape + 10.0 * 0.5) / (tail + 10.0)
