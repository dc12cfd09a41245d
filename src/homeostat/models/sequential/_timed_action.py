"""Time that passed between two observations, as part of the action."""

from collections.abc import Sequence
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ...results import BadInputError
from ...typing import Action, Array, Bool, Float, Observation


@final
class TimedAction(eqx.Module):
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
    def between(cls, times: Array | np.ndarray | Sequence[int | float], actions: Action = None) -> "TimedAction":
        """The steps between observations at strictly increasing `times` [time].

        Differences of NumPy arrays and lists are taken in 64 bits, so that late times, such as seconds since 1970, do no harm;
        a JAX array has the precision of its own type.

        Raises:
            BadInputError: times are not finite, out of order, or occur twice.
        """
        if np.ndim(times) != 1 or np.shape(times)[0] < 1:
            raise BadInputError(f"Expected one time for each observation, got shape {np.shape(times)}.")
        if isinstance(times, Tracer):
            return cls(jnp.diff(times), actions)
        exact = np.asarray(times, np.float64)
        steps = np.diff(exact)
        if not np.all(np.isfinite(exact)) or np.any(steps <= 0.0):
            where = int(np.argmin(np.nan_to_num(steps, nan=-np.inf))) if steps.size else 0
            raise BadInputError(
                f"Expected strictly increasing finite times, got {exact[where : where + 2].tolist()} at positions {where} "
                f"and {where + 1}: sort by time, merge observations of one time, and pass late times as a 64-bit NumPy array."
            )
        own = jax.dtypes.canonicalize_dtype(np.asarray(times).dtype)
        return cls(jnp.asarray(steps, jnp.result_type(float, own)), actions)


def duration_and_action(action: Action, default: float) -> tuple[Float[Array, ""] | float, Action]:
    """Both parts of an action, which lasts `default` unless it says otherwise."""
    if isinstance(action, TimedAction):
        return action.duration, action.action
    return default, action


def pad_actions(actions: Action, inside: Bool[Array, "..."]) -> Action:
    """The actions with the shortest of the durations that count wherever `inside` is False; with one if none counts.

    Padding with zeros would make those steps last no time at all: their transition would be singular, and its density, although
    it counts for nothing, would have a gradient that is not a number. Longer steps may leave what an integrator can do.

    Args:
        actions: any actions; only durations are touched.
        inside: of the shape of the durations, True for steps that exist.
    """

    def lasting(action: Action) -> Action:
        if isinstance(action, TimedAction):
            real = inside & (action.duration > 0.0)
            shortest = jnp.min(action.duration, where=real, initial=jnp.inf)
            filler = jax.lax.stop_gradient(jnp.where(jnp.isfinite(shortest), shortest, 1.0))
            return TimedAction(jnp.where(inside, action.duration, filler), action.action)
        return action

    return jax.tree.map(lasting, actions, is_leaf=lambda node: isinstance(node, TimedAction))


def sequence_length(observations: Observation, actions: Action) -> int:
    """T, from leading axes that must agree."""
    lengths = {leaf.shape[0] if jnp.ndim(leaf) else 0 for leaf in jax.tree.leaves(observations)}
    if len(lengths) != 1 or 0 in lengths:
        raise BadInputError(
            f"Expected observations with one common leading time axis of length at least 1, got lengths {sorted(lengths)}."
        )
    (length,) = lengths
    steps = {leaf.shape[0] for leaf in jax.tree.leaves(actions)}
    if steps and steps != {length - 1}:
        raise BadInputError(
            f"Expected one action between every two observations, {length - 1} for {length} observations, got "
            f"{sorted(steps)}: leave out the action after the last observation."
        )
    return length
