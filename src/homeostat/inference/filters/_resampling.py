"""Resampling and weighting of particles, such that nothing becomes NaN."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
from cuthbertlib.resampling import Resampling

from ...core import FilterInfo
from ...results import RESULTS
from ...typing import Array, Float, Int, Key, PyTree, Scalar


def _systematic(
    key: Key, logits: Float[Array, " m"], positions: PyTree, n: int
) -> tuple[Int[Array, " n"], Float[Array, " n"], PyTree]:
    """Systematic resampling: particle i has floor(n w_i) or ceil(n w_i) copies, decided by one uniform number.

    A scheme for `Particle.resampling` with the signature of those of `cuthbertlib.resampling`. Those call back to the processor of
    the host for the inverse of the cumulative weights; this one counts, in the compiled program: particle i is drawn by the points
    (u + j) / n below its cumulative weight and above that of i - 1.

    Args:
        key: for u.
        logits: log weights, up to a constant.
        positions: arrays with a leading axis m.
        n: number of copies.

    Returns:
        Which particle each copy is of, their log weights (all equal), and the copies.

    References:
        Carpenter, Clifford and Fearnhead, "Improved particle filter for nonlinear problems", 1999.
    """
    cumulative = jnp.cumsum(jnp.exp(jax.lax.stop_gradient(logits) - jax.nn.logsumexp(jax.lax.stop_gradient(logits))))
    # Rounding must not leave a point above the last cumulative weight.
    below = jnp.ceil(n * cumulative / cumulative[-1] - jr.uniform(key, (), cumulative.dtype))
    ends = jnp.clip(below, 0, n).astype(jnp.int32).at[-1].set(n)
    marks = jnp.zeros(n + 1, jnp.int32).at[ends[:-1]].add(1)
    ancestors = jnp.cumsum(marks)[:n].astype(int)
    return ancestors, jnp.zeros(n, cumulative.dtype), jax.tree.map(lambda leaf: leaf[ancestors], positions)


# Key first and by position, as cuthbert's protocol of a resampling scheme has it.
systematic: Resampling = jax.jit(_systematic, static_argnames=("n",))
"""Systematic resampling in the compiled program, with the signature of the schemes of `cuthbertlib.resampling`."""


class Weighed(NamedTuple):
    """Normalised weights.

    Attributes:
        log_weights: log w_i with sum one.
        log_total: log of the sum before normalisation; minus infinity if no particle can explain the observation.
    """

    log_weights: Float[Array, " n"]
    log_total: Scalar


def weigh(log_weights: Float[Array, " n"]) -> Weighed:
    """Normalise. A weight that is NaN counts as zero; if all are zero they become equal, and the total tells."""
    log_weights = jnp.where(jnp.isnan(log_weights), -jnp.inf, log_weights)
    alive = jnp.any(log_weights > -jnp.inf)
    # Where there is nothing to normalise, finite numbers stand in, so that derivatives are finite too.
    usable = jnp.where(alive, log_weights, 0.0)
    total = jax.nn.logsumexp(usable)
    return Weighed(usable - total, jnp.where(alive, total, -jnp.inf))


def weight_info(free_energy_nats: Scalar) -> FilterInfo:
    """What an update of weights measured: an infinite free energy means that no particle is left."""
    result = RESULTS.where(free_energy_nats == jnp.inf, RESULTS.degenerate_weights, RESULTS.successful)
    return FilterInfo(free_energy_nats, result)
