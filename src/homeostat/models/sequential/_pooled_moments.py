"""Moments of all observations together, column by column, with entries missing."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ...distributions import known_entries
from ...results import BadInputError
from ...typing import Array, Bool, Float, Int, Observation


class PooledMoments(NamedTuple):
    """Number of seen values, mean and variance of each column."""

    count: Int[Array, " m"]
    mean: Float[Array, " m"]
    variance: Float[Array, " m"]


@eqx.filter_jit
def pooled_moments(observations: Observation) -> PooledMoments:
    """Moments of all observations together; NaN where nothing was seen. The variance of a constant is exactly zero."""
    value, observed = known_values(observations)
    value = value.astype(jnp.result_type(value, float))
    count = jnp.sum(observed, axis=0)
    lowest = jnp.min(jnp.where(observed, value, jnp.inf), axis=0)
    above = jnp.where(observed, value - lowest[None, :], 0.0)
    mean = jnp.sum(above, axis=0) / count
    variance = jnp.sum(jnp.where(observed, (above - mean[None, :]) ** 2, 0.0), axis=0) / count
    return PooledMoments(count, lowest + mean, variance)


def require_moments(moments: PooledMoments, fine: Bool[Array, " m"], verb: str) -> None:
    """Raise unless all columns are fine, where their values are known."""
    if isinstance(fine, Tracer) or np.all(fine):
        return
    column = int(np.argmin(fine))
    raise BadInputError(
        f"Expected every column of the observations to {verb}, got {int(moments.count[column])} values of mean "
        f"{float(moments.mean[column]):.6g} and variance {float(moments.variance[column]):.3g} in column {column}: leave it out, "
        f"or pass a prior for the observation whose centre is certain about nothing."
    )


def known_values(observations: Observation) -> tuple[Array, Bool[Array, "..."]]:
    """Values with zeros for what is missing, and what is not."""
    value, observed = known_entries(observations)
    observed = jnp.ones(value.shape, bool) if observed is None else observed
    return jnp.where(observed, value, jnp.zeros_like(value)), observed
