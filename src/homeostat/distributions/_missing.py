"""Observations of which some entries are missing: their density, and draws of what is missing.

    p(x_o | z) = integral of p(x_o, x_m | z) over x_m,      x_m ~ p(x_m | x_o, z)

with x_o what was observed and x_m what was not. Both are exact for entries that are independent given z and for Gaussians;
for other joint densities (a multinomial, say) an observation with a missing entry counts as missing as a whole.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular

from ..results import BadInputError
from ..typing import Array, Bool, Distribution, Float, Key, Observation, PyTree, Scalar
from ._closed_forms import innermost


@final
class Masked(eqx.Module):
    """An observation with a mask of what was observed: for integers, which have no NaN. Sequences have leading axes.

    Attributes:
        value: the observation; where it was not observed any number will do.
        observed: True where it was observed, of the shape of `value`, leaf by leaf.
    """

    value: Observation
    observed: PyTree[Bool[Array, "..."]]

    def __check_init__(self):
        shapes, got = ([jnp.shape(leaf) for leaf in jax.tree.leaves(tree)] for tree in (self.value, self.observed))
        if shapes != got:
            raise BadInputError(
                f"Expected a mask with one entry for every entry of the observation, shapes {shapes}, got {got}."
            )


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
    """log p(x_o), with what is missing integrated out, in nats; zero where nothing was observed.

    Its gradient is finite whatever stands at the missing entries.
    """
    if isinstance(distribution, Joint):
        masks = _masks(value, observed)
        return distribution.total(partial_log_prob, value, masks)
    if observed is None:
        return distribution.log_prob(value)
    base = innermost(distribution)
    if not _is_entrywise(distribution, base, observed):
        everything = jnp.all(jnp.stack([jnp.all(leaf) for leaf in jax.tree.leaves(observed)]))
        safe = _feasible(
            distribution, value, jax.tree.map(lambda leaf: jnp.broadcast_to(everything, leaf.shape), observed)
        )
        return jnp.where(everything, distribution.log_prob(safe), 0.0)
    if isinstance(base, dist.MultivariateNormal):
        centred, factor = _observed_part(base, value, observed)
        whitened = solve_triangular(factor, centred, lower=True)
        constant = 0.5 * jnp.log(2.0 * jnp.pi) * jnp.sum(observed)
        return -0.5 * jnp.sum(whitened**2) - jnp.sum(jnp.log(jnp.diagonal(factor))) - constant
    densities = base.log_prob(_feasible(distribution, value, observed))
    return jnp.sum(jnp.where(observed, densities, 0.0))


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


@final
class Joint(dist.Distribution):
    """p(x) = prod_i p_i(x_i) over the leaves of a tree (a dictionary or a named tuple of distributions).

    Args:
        parts: the tree of distributions; each part with all its dimensions is one head.
    """

    pytree_data_fields = ("parts",)

    def __init__(self, parts: PyTree, *, validate_args: bool | None = None):
        self.parts = parts
        super().__init__(batch_shape=(), event_shape=(), validate_args=validate_args)

    def map(self, function: Callable[..., Any], *trees: PyTree) -> PyTree:
        """`function` of every head, and of what stands in its place in other trees."""
        return jax.tree.map(function, self.parts, *trees, is_leaf=_is_head)

    @property
    def support(self) -> None:
        return None

    @property
    def mean(self) -> PyTree:
        return self.map(lambda part: part.mean)

    def sample(self, key: Key, sample_shape: tuple[int, ...] = ()) -> PyTree:
        return self.map(lambda part, own: part.sample(own, sample_shape), self.split(key))

    def split(self, key: Key) -> PyTree[Key]:
        """A key for every head."""
        heads, structure = jax.tree.flatten(self.parts, is_leaf=_is_head)
        return jax.tree.unflatten(structure, list(jr.split(key, len(heads))))

    def log_prob(self, value: PyTree) -> Scalar:
        return self.total(lambda part, x: part.log_prob(x), value)

    def entropy(self) -> Scalar:
        return self.total(lambda part: part.entropy())

    def total(self, function: Callable[..., Any], *trees: PyTree) -> Scalar:
        """Sum of `function` over the heads."""
        values = self.map(lambda *parts: jnp.sum(function(*parts)), *trees)
        return jnp.sum(jnp.stack(jax.tree.leaves(values)))


def _is_head(node: Any) -> bool:
    return isinstance(node, dist.Distribution)
