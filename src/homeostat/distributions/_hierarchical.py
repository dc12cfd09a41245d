"""A vector of several levels, each with a distribution that depends on the levels above it.

    p(z^{1:L}) = prod_l p(z^l | z^{l+1:L})                                                              (Eq. 2.10)

All levels are one flat vector z = [z^1, ..., z^L], z^1 nearest the data, so that families and engines need not know that
there are levels. What a level knows of those above it is its *context*, a vector that is passed down:

    context_L = [],   z^l ~ level_l.conditional(context_l),   context_{l-1} = level_l.descend(context_l, z^l)
"""

import abc
from collections.abc import Sequence
from typing import NamedTuple, final

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.kl import kl_divergence

from ..results import BadInputError
from ..typing import Array, Distribution, Float, Key, Scalar
from ._closed_forms import is_factorised


class AbstractLevel(eqx.Module):
    """One level of a hierarchy: a diagonal Gaussian given the context, and the context for the level below."""

    dim: eqx.AbstractVar[int]

    @abc.abstractmethod
    def conditional(self, context: Float[Array, " c"]) -> Distribution:
        """p(z^l | context), independent normals over `dim` variables."""

    @abc.abstractmethod
    def descend(self, context: Float[Array, " c"], value: Float[Array, " d"]) -> Float[Array, " below"]:
        """The context of the level below (or of the data), given this level's value."""


class Descent(NamedTuple):
    """One pass from the top to the data.

    Attributes:
        conditionals: p(z^l | z^{l+1:L}) of every level, the lowest first.
        context: what reaches the data.
    """

    conditionals: tuple[Distribution, ...]
    context: Float[Array, " c"]


@final
class Hierarchical(dist.Distribution):
    """prod_l p(z^l | z^{l+1:L}) over the flat vector [z^1, ..., z^L].

    Args:
        levels: the lowest, z^1, first.

    References:
        Marino (thesis), Eq. 2.10.
    """

    pytree_data_fields = ("levels",)

    def __init__(self, levels: Sequence[AbstractLevel], *, validate_args=None):
        if not levels:
            raise BadInputError("Expected at least one level, got none.")
        self.levels = tuple(levels)
        super().__init__(
            batch_shape=(), event_shape=(sum(level.dim for level in self.levels),), validate_args=validate_args
        )

    @property
    def support(self):
        return constraints.real_vector

    @property
    def dims(self) -> tuple[int, ...]:
        """Number of variables of each level, the lowest first."""
        return tuple(level.dim for level in self.levels)

    def split(self, value: Float[Array, " d"]) -> tuple[Array, ...]:
        """The flat vector cut into its levels, the lowest first."""
        return split_levels(value, self.dims)

    def descend(self, value: Float[Array, " d"]) -> Descent:
        """Conditionals of every level at `value`, and the context that reaches the data."""
        context, conditionals = jnp.zeros(0, value.dtype), []
        for level, part in zip(reversed(self.levels), reversed(self.split(value)), strict=True):
            conditionals.append(level.conditional(context))
            context = level.descend(context, part)
        return Descent(tuple(reversed(conditionals)), context)

    def sample(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Float[Array, " d"]:
        """Ancestral sampling, from the top down.

        Raises:
            BadInputError: a sample shape is asked for; map over keys instead.
        """
        if sample_shape:
            raise BadInputError(f"Expected one sample at a time, got shape {sample_shape}: use `jax.vmap` over keys.")
        context, parts = jnp.zeros(0), []
        for level, level_key in zip(reversed(self.levels), jr.split(key, len(self.levels)), strict=True):
            parts.append(level.conditional(context).sample(level_key))
            context = level.descend(context, parts[-1])
        return jnp.concatenate(parts[::-1])

    def log_prob(self, value: Float[Array, " d"]) -> Scalar:
        conditionals = self.descend(value).conditionals
        terms = [c.log_prob(part) for c, part in zip(conditionals, self.split(value), strict=True)]
        return jnp.sum(jnp.stack(terms))


def split_levels(value: Float[Array, " d"], dims: tuple[int, ...]) -> tuple[Array, ...]:
    """A flat vector [z^1, ..., z^L] cut into its levels."""
    parts, start = [], 0
    for dim in dims:
        parts.append(value[start : start + dim])
        start += dim
    return tuple(parts)


def level_divergences(q: Distribution, p: Hierarchical, value: Float[Array, " d"]) -> Float[Array, " levels"] | None:
    """KL(q(z^l | z^{>l}) || p(z^l | z^{>l})) of every level, with the levels above at `value`; nats.

    Averaged over z ~ q this is the divergence of q from p, with less noise than a difference of log densities.

    Returns:
        The divergences, the lowest level first, or None if q has no such conditionals.
    """
    priors = p.descend(value).conditionals
    if isinstance(q, Hierarchical):
        if q.dims != p.dims:
            return None
        posteriors = q.descend(value).conditionals
    elif is_factorised(q) and q.event_shape == p.event_shape:
        base = q.base_dist
        locs = split_levels(jnp.broadcast_to(base.loc, q.event_shape), p.dims)
        scales = split_levels(jnp.broadcast_to(base.scale, q.event_shape), p.dims)
        posteriors = [dist.Normal(m, s, validate_args=False).to_event(1) for m, s in zip(locs, scales, strict=True)]
    else:
        return None
    return jnp.stack([kl_divergence(a, b) for a, b in zip(posteriors, priors, strict=True)])
