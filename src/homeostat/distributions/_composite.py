"""Observations with a mask, and distributions of observations that are trees."""

from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist

from ..results import BadInputError
from ..typing import Array, Bool, Key, Observation, PyTree, Scalar


@final
class Masked(eqx.Module):
    """An observation with a mask of what was observed: for integers, which have no NaN. Sequences have leading axes.

    Attributes:
        value: the observation; where it was not observed any number will do.
        observed: True where it was observed, of the shape of `value`, leaf by leaf.
    """

    value: Observation
    observed: PyTree[Bool[Array | np.ndarray, "..."]]

    def __check_init__(self):
        shapes, got = ([jnp.shape(leaf) for leaf in jax.tree.leaves(tree)] for tree in (self.value, self.observed))
        if shapes != got:
            raise BadInputError(
                f"Expected a mask with one entry for every entry of the observation, shapes {shapes}, got {got}."
            )


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
