"""What an action or an observation looks like: shape, range and kind of number. Trees of specs describe trees."""

from collections.abc import Callable
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.core import Tracer

from ..results import BadInputError
from ..typing import Any, Array, Key, PyTree

Bound = float | int | tuple
"""One number for all elements, or nested tuples that broadcast to the shape."""


@final
class Bounded(eqx.Module):
    """An array with bounds.

    Attributes:
        shape: its shape.
        low: smallest value of every element, minus infinity for none.
        high: largest value of every element.
        whole: whether elements are whole numbers; truth values serve where they are 0 or 1.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    low: Bound = eqx.field(static=True, default=-np.inf)
    high: Bound = eqx.field(static=True, default=np.inf)
    whole: bool = eqx.field(static=True, default=False)

    def checked(self, value: Any, what: str) -> Array:
        """Return `value` as an array of this kind, or say what is wrong with it.

        Shape and type are always compared, values only when they are known (not while tracing).

        Args:
            value: an array, or anything that becomes one.
            what: what the value is called in the message, with its article.

        Raises:
            BadInputError: wrong shape, wrong type, not finite, or out of range.
        """
        kind = "whole" if self.whole else "real"
        shape = f"an array of shape {self.shape} of {kind} numbers" if self.shape else f"one {kind} number"
        ends = [f"{end:g}" if isinstance(end, float | int) else str(end) for end in (self.low, self.high)]
        expected = f"Expected {what} as {shape} in [{ends[0]}, {ends[1]}]"
        try:
            array = jnp.asarray(value)
        except (TypeError, ValueError) as error:
            raise BadInputError(f"{expected}, got {value!r}.") from error
        binary = array.dtype == jnp.bool_ and np.all(np.asarray(self.low) == 0) and np.all(np.asarray(self.high) == 1)
        is_whole = jnp.issubdtype(array.dtype, jnp.integer) or binary
        is_real = jnp.issubdtype(array.dtype, jnp.floating)
        if array.shape != self.shape or not (is_whole or (is_real and not self.whole)):
            raise BadInputError(f"{expected}, got shape {array.shape} and type {array.dtype}.")
        if not isinstance(array, Tracer):
            known = np.asarray(array)
            if not np.all((known >= np.asarray(self.low)) & (known <= np.asarray(self.high))):
                raise BadInputError(f"{expected}, got {known.tolist()}.")
        return array

    def sample(self, *, key: Key) -> Array:
        """A uniform draw; standard Gaussian numbers where a bound is infinite."""
        low, high = (np.broadcast_to(np.asarray(end), self.shape) for end in (self.low, self.high))
        if self.whole:
            return jr.randint(key, self.shape, jnp.asarray(low, jnp.int32), jnp.asarray(high, jnp.int32) + 1)
        finite = np.isfinite(low) & np.isfinite(high)
        ends = [jnp.asarray(np.where(finite, end, 0.0), float) for end in (low, high)]
        inside = jr.uniform(key, self.shape, ends[0].dtype, *ends)
        outside = jnp.clip(jr.normal(key, self.shape, ends[0].dtype), jnp.asarray(low, float), jnp.asarray(high, float))
        return jnp.where(finite, inside, outside)


def map_spec(function: Callable[..., Any], spec: PyTree[Bounded], *rest: PyTree) -> PyTree:
    """`function` of every `Bounded` of a tree, and of what stands in its place in other trees."""
    return jax.tree.map(function, spec, *rest, is_leaf=lambda node: isinstance(node, Bounded))
