"""Observations of which some entries are missing: their density, and draws of what is missing.

    p(x_o | z) = integral of p(x_o, x_m | z) over x_m,      x_m ~ p(x_m | x_o, z)

with x_o what was observed and x_m what was not. Both are exact for entries that are independent given z and for Gaussians;
for other joint densities (a multinomial, say) an observation with a missing entry counts as missing as a whole.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular

from ..typing import Array, Bool, Distribution, Float, Key, Observation, PyTree, Scalar
from ._closed_forms import innermost
from ._composite import Joint, Masked
from ._support import require_support, support_of


class Known(NamedTuple):
    """An observation and which of its entries are known; None if all must be, because their type has no NaN."""

    value: Observation
    observed: PyTree | None


def known_entries(observation: Observation) -> Known:
    """The observation with its mask: that of `Masked`, or where floating-point entries are not NaN."""
    if isinstance(observation, Masked):
        return Known(observation.value, observation.observed)
    leaves = jax.tree.leaves(observation)
    if not any(jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) for leaf in leaves):
        return Known(observation, None)
    return Known(observation, jax.tree.map(lambda leaf: ~jnp.isnan(leaf), observation))


def any_observed(observed: PyTree | None) -> Bool[Array, ""]:
    """Whether anything was observed at all."""
    if observed is None:
        return jnp.ones((), bool)
    return jnp.any(jnp.stack([jnp.any(leaf) for leaf in jax.tree.leaves(observed)]))


def partial_log_prob(distribution: Distribution, value: Observation, observed: PyTree | None) -> Scalar:
    """log p(x_o), with what is missing integrated out, in nats; zero where nothing was observed, -inf for impossible symbols.

    Its gradient is finite whatever stands at the missing entries.

    Raises:
        BadInputError: an entry whose value is known lies outside of the support.
    """
    if isinstance(distribution, Joint):
        masks = _masks(value, observed)
        return distribution.total(partial_log_prob, value, masks)
    require_support(support_of(distribution), value, observed)
    if observed is None:
        return _log_prob(distribution, value)
    base = innermost(distribution)
    if not _is_entrywise(distribution, base, observed):
        everything = jnp.all(jnp.stack([jnp.all(leaf) for leaf in jax.tree.leaves(observed)]))
        safe = _feasible(
            distribution, value, jax.tree.map(lambda leaf: jnp.broadcast_to(everything, leaf.shape), observed)
        )
        return jnp.where(everything, _log_prob(distribution, safe), 0.0)
    if isinstance(base, dist.MultivariateNormal):
        centred, factor = _observed_part(base, value, observed)
        whitened = solve_triangular(factor, centred, lower=True)
        constant = 0.5 * jnp.log(2.0 * jnp.pi) * jnp.sum(observed)
        return -0.5 * jnp.sum(whitened**2) - jnp.sum(jnp.log(jnp.diagonal(factor))) - constant
    densities = _log_prob(base, _feasible(distribution, value, observed))
    return jnp.sum(jnp.where(observed, densities, 0.0))


def _log_prob(distribution: Distribution, value: Observation) -> Array:
    """Log densities; an index outside of an array of probabilities would give a number, the last one's for -1."""
    support, densities = distribution.support, distribution.log_prob(value)
    if support is None or not support.is_discrete:
        return densities
    return jnp.where(support(value), densities, -jnp.inf)


def complete(distribution: Distribution, value: Observation, observed: PyTree | None, *, key: Key) -> Observation:
    """The observation with its missing entries drawn given the observed ones; no gradient flows through the draw."""
    if isinstance(distribution, Joint):
        masks = _masks(value, observed)
        return distribution.map(
            lambda part, own, known, k: complete(part, own, known, key=k), value, masks, distribution.split(key)
        )
    if observed is None:
        return value
    sample = jax.lax.stop_gradient(distribution.sample(key))
    base = innermost(distribution)
    if not _is_entrywise(distribution, base, observed):
        everything = jnp.all(jnp.stack([jnp.all(leaf) for leaf in jax.tree.leaves(observed)]))
        return jax.tree.map(lambda own, drawn: jnp.where(everything, own, _typed(drawn, own)), value, sample)
    if isinstance(base, dist.MultivariateNormal):
        # Matheron's rule: a joint draw, moved by the gain on what it got wrong of the observed part.
        given = dist.MultivariateNormal(sample, scale_tril=base.scale_tril, validate_args=False)
        residual, factor = _observed_part(given, value, observed)
        root = jnp.asarray(base.scale_tril)
        rows = jnp.where(observed[:, None], root, 0.0)
        solved = solve_triangular(factor, solve_triangular(factor, residual, lower=True), lower=True, trans=1)
        sample = jax.lax.stop_gradient(sample + root @ (rows.T @ solved))
    return jnp.where(observed, value, _typed(sample, value))


def _masks(value: Observation, observed: PyTree | None) -> PyTree:
    """One mask for every head."""
    return jax.tree.map(lambda leaf: jnp.ones(jnp.shape(leaf), bool), value) if observed is None else observed


def _is_entrywise(distribution: Distribution, base: Distribution, observed: PyTree) -> bool:
    """Whether entries can be left out one by one."""
    if not eqx.is_array(observed):
        return False
    if isinstance(base, dist.MultivariateNormal):
        return base is distribution and base.batch_shape == ()
    return base.event_shape == () and distribution.batch_shape == ()


def _observed_part(
    base: dist.MultivariateNormal, value: Float[Array, " m"], observed: Bool[Array, " m"]
) -> tuple[Float[Array, " m"], Float[Array, "m m"]]:
    """Residual and Cholesky factor of the observed block, with zeros and ones in place of what is missing."""
    rows = jnp.where(observed[:, None], base.scale_tril, 0.0)
    factor = jnp.linalg.cholesky(rows @ rows.T + jnp.diag(jnp.where(observed, 0.0, 1.0).astype(rows.dtype)))
    return jnp.where(observed, value - base.loc, 0.0), factor


def _feasible(distribution: Distribution, value: Observation, observed: PyTree) -> Observation:
    """The observation with some point of the support at what is missing, so that derivatives there are finite."""
    support = distribution.support
    filler = value if support is None else support.feasible_like(value)
    return jax.tree.map(
        lambda mask, own, other: jnp.where(
            mask, own, jnp.where(jnp.isnan(other), 0, other).astype(jnp.result_type(own))
        ),
        observed,
        value,
        filler,
    )


def _typed(leaf: Array, like: Array) -> Array:
    return jnp.asarray(leaf).astype(jnp.result_type(like))
