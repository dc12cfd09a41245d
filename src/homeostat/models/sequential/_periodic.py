"""Coordinates on a circle, represented on the universal cover (the real line).

A turn adds to an angle, so on the line it is an exactly linear step, z' = z + B u. On the embedding (cos, sin) the same turn
is a rotation whose matrix depends on the action, that is, bilinear in action and state. The price of the line is that a
measured angle is known only up to whole turns; it is paid where a measurement meets a prediction, by moving the measurement
to the branch nearest to the prediction.
"""

from collections.abc import Sequence
from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ...results import BadInputError
from ...typing import Array, Float


@final
class Periodic(eqx.Module):
    """Which coordinates of a vector are periodic, and with what period.

    Attributes:
        periods: one entry for each coordinate, its period in the coordinate's unit; infinite for an ordinary coordinate.
    """

    periods: Float[Array, " d"]

    def __init__(self, periods: Array | Sequence[float]):
        """`periods` may be any sequence of positive numbers or infinities.

        Raises:
            BadInputError: a period is not positive.
        """
        self.periods = jnp.asarray(periods, jnp.result_type(float))
        if self.periods.ndim != 1:
            raise BadInputError(f"Expected one period for each coordinate, got shape {self.periods.shape}.")
        if not isinstance(self.periods, Tracer) and not np.all(np.asarray(self.periods) > 0.0):
            raise BadInputError(
                f"Expected positive periods, infinite for a coordinate that is not periodic, got "
                f"{np.asarray(self.periods).tolist()}."
            )

    def wrap(self, residual: Float[Array, "... d"]) -> Float[Array, "... d"]:
        """The representative of a difference in [-period / 2, period / 2]; other coordinates stay as they are."""
        if residual.ndim < 1 or residual.shape[-1] != self.periods.shape[0]:
            raise BadInputError(
                f"Expected vectors with {self.periods.shape[0]} coordinates (one for each period), got shape "
                f"{residual.shape}."
            )
        periods = jnp.broadcast_to(self.periods, residual.shape).astype(residual.dtype)
        finite = jnp.isfinite(periods)
        safe = jnp.where(finite, periods, 1.0)
        return residual - jnp.where(finite, safe * jnp.round(residual / safe), 0.0)

    def nearest(self, value: Float[Array, "... d"], reference: Float[Array, "... d"]) -> Float[Array, "... d"]:
        """The branch of `value` nearest to `reference`, coordinate by coordinate."""
        return reference + self.wrap(value - reference)
