"""Time that passed between two observations, as part of the action."""

from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ...results import BadInputError
from ...typing import Action, Array, Float


@final
class Elapsed(eqx.Module):
    """A step of its own duration, with what was done during it.

    Models in continuous time take it as their action; sequences have a leading axis on every leaf, like all actions.

    Attributes:
        duration: time that passes, in the model's unit of time, not negative; a scalar, or [time - 1].
        action: what was done, held constant during the step; None where nothing can be done.
    """

    duration: Float[Array, "..."]
    action: Action

    def __init__(self, duration: Array | float, action: Action = None):
        """Numbers become arrays.

        Raises:
            BadInputError: a duration is negative or not finite.
        """
        self.duration = jnp.asarray(duration, jnp.result_type(float, jnp.result_type(duration)))
        self.action = action
        if not isinstance(self.duration, Tracer):
            durations = np.asarray(self.duration)
            if not np.all(np.isfinite(durations)) or np.any(durations < 0.0):
                raise BadInputError(
                    f"Expected durations that are finite and not negative, got {durations.tolist()}: sort the observations "
                    f"by time."
                )

    @classmethod
    def between(cls, times: Array, actions: Action = None) -> "Elapsed":
        """The steps between observations at strictly increasing `times` [time].

        Raises:
            BadInputError: times are not finite, out of order, or occur twice.
        """
        times = jnp.asarray(times)
        if times.ndim != 1 or times.shape[0] < 1:
            raise BadInputError(f"Expected one time for each observation, got shape {times.shape}.")
        if not isinstance(times, Tracer):
            steps = np.diff(np.asarray(times))
            if not np.all(np.isfinite(np.asarray(times))) or np.any(steps <= 0.0):
                where = int(np.argmin(np.nan_to_num(steps, nan=-np.inf))) if steps.size else 0
                raise BadInputError(
                    f"Expected strictly increasing finite times, got {np.asarray(times)[where : where + 2].tolist()} at "
                    f"positions {where} and {where + 1}: sort by time and merge observations of one time."
                )
        return cls(jnp.diff(times), actions)


def duration_and_action(action: Action, default: float) -> tuple[Float[Array, ""] | float, Action]:
    """Both parts of an action, which lasts `default` unless it says otherwise."""
    if isinstance(action, Elapsed):
        return action.duration, action.action
    return default, action
