"""What an action or an observation looks like: shape, range and kind of number."""

from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ..results import BadInputError
from ..typing import Any, Array


@final
class Bounded(eqx.Module):
    """An array with bounds.

    Attributes:
        shape: its shape.
        low: smallest value of every element.
        high: largest value of every element.
        whole: whether elements are whole numbers.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    low: float | int = eqx.field(static=True)
    high: float | int = eqx.field(static=True)
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
        expected = f"Expected {what} as {shape} in [{self.low:g}, {self.high:g}]"
        try:
            array = jnp.asarray(value)
        except (TypeError, ValueError) as error:
            raise BadInputError(f"{expected}, got {value!r}.") from error
        is_whole = jnp.issubdtype(array.dtype, jnp.integer)
        is_real = jnp.issubdtype(array.dtype, jnp.floating)
        if array.shape != self.shape or not (is_whole or (is_real and not self.whole)):
            raise BadInputError(f"{expected}, got shape {array.shape} and type {array.dtype}.")
        if not isinstance(array, Tracer):
            known = np.asarray(array)
            if not np.all((known >= self.low) & (known <= self.high)):
                raise BadInputError(f"{expected}, got {known.tolist()}.")
        return array
