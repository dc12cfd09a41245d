"""Entropies of emissions and a table of log likelihoods, for many states and observations at once."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from ..core import AbstractModel
from ..distributions import innermost
from ..typing import Array, Distribution, Float


class _NormalTable(NamedTuple):
    """Diagonal Gaussian emissions of all states, flat; a single scale stands for all dimensions where there is only one."""

    loc: Float[Array, "points n"]
    scale: Float[Array, "points entries"]


def _normal_table(emissions: Distribution) -> _NormalTable | None:
    """The emissions (with a leading axis over states) if they are diagonal Gaussians, else None."""
    base = innermost(emissions)
    if not isinstance(base, dist.Normal):
        return None
    number = base.loc.shape[0]  # pyright: ignore[reportAttributeAccessIssue]
    loc = base.loc.reshape(number, -1)  # pyright: ignore[reportAttributeAccessIssue]
    scale = jnp.asarray(base.scale).reshape(number, -1)
    return _NormalTable(loc, scale if scale.shape[1] == 1 else jnp.broadcast_to(scale, loc.shape))


def _log_scale(table: _NormalTable) -> Float[Array, " points"]:
    """log of the product of a state's standard deviations."""
    return (table.loc.shape[1] // table.scale.shape[1]) * jnp.sum(jnp.log(table.scale), axis=1)


def emission_entropies(model: AbstractModel, states: Array) -> Float[Array, " points"]:
    """H[p(x | s)] of every state."""
    table = _normal_table(jax.vmap(model.emission)(states))
    if table is None:
        return jax.vmap(lambda state: jnp.sum(model.emission(state).entropy()))(states)
    return _log_scale(table) + 0.5 * table.loc.shape[1] * (1.0 + math.log(2.0 * math.pi))


def log_likelihood_table(model: AbstractModel, states: Array, outcomes: Array) -> Float[Array, "outcomes points"]:
    """log p(x_k | s_j): matrix products where the emission is a diagonal Gaussian, else one by one."""
    table = _normal_table(jax.vmap(model.emission)(states))
    if table is None:
        return jax.vmap(lambda x: jax.vmap(lambda s: jnp.sum(model.emission(s).log_prob(x)))(states))(outcomes)
    flat = outcomes.reshape(outcomes.shape[0], -1)
    # Squares are expanded about a common centre, which keeps the cancellation between the products small.
    centre = jnp.mean(table.loc, axis=0)
    flat, loc, precision = flat - centre[None, :], table.loc - centre[None, :], table.scale**-2
    if precision.shape[1] == 1:
        squares = jnp.sum(flat**2, axis=1)[:, None] - 2.0 * flat @ loc.T + jnp.sum(loc**2, axis=1)[None, :]
        quadratic = squares * precision.T
    else:
        quadratic = (flat**2) @ precision.T - 2.0 * flat @ (precision * loc).T
        quadratic = quadratic + jnp.sum(precision * loc**2, axis=1)[None, :]
    constant = _log_scale(table) + 0.5 * flat.shape[1] * math.log(2.0 * math.pi)
    return -0.5 * quadratic - constant[None, :]
