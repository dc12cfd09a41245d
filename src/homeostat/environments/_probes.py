"""Probes: tiny worlds whose values are known, each of which only one part of an agent can get wrong.

| probe | what it asks for | soft value of the first state, without entropy |
|---|---|---|
| `constant_probe` | a value at all | 1 |
| `state_probe` | a value that depends on the state | +-1 |
| `delay_probe` | discounting | gamma |
| `action_probe` | a policy | 0 |
| `aim_probe` | a policy that depends on the state | 0 |
| `truncation_probe` | going on after a cut | 1 / (1 - gamma) |

References:
    Jones, "Debugging reinforcement learning systems", 2021, for the first five.
"""

from collections.abc import Callable
from typing import NamedTuple, final

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr

from ..core import AbstractEnvironment, Bounded
from ..results import BadInputError
from ..typing import Array, Float, Int, Scalar
from ._episodes import TimeLimit


class ProbeState(NamedTuple):
    """What is observed, and the steps since the episode began."""

    seen: Scalar
    steps: Int[Array, ""]


RewardOf = Callable[[Scalar, Float[Array, " 1"], Int[Array, ""]], Scalar]
"""(observation, action, steps before it) -> reward."""


@final
class Probe(AbstractEnvironment[ProbeState]):
    """Episodes of a given number of steps in which one number is seen, drawn from a few at the beginning.

    Attributes:
        reward_of: of a step.
        length: steps until the task ends; None for never.
        seeds: numbers that may be seen, equally likely.
        counts: whether the number of steps is added to what is seen.
    """

    reward_of: RewardOf = eqx.field(static=True)
    length: int | None = eqx.field(static=True, default=1)
    seeds: tuple[float, ...] = eqx.field(static=True, default=(0.0,))
    counts: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        if self.length is not None and self.length < 1:
            raise BadInputError(f"Expected episodes of at least one step, got length={self.length}.")

    @property
    def action_spec(self):
        return Bounded((1,), -1.0, 1.0)

    @property
    def observation_spec(self):
        return Bounded((1,))

    def initial(self, *, key):
        return ProbeState(jr.choice(key, jnp.asarray(self.seeds, float)), jnp.zeros((), jnp.int32))

    def transition(self, state, action, *, key):
        return ProbeState(state.seen, state.steps + 1)

    def observation(self, state, *, key):
        return (state.seen + (state.steps if self.counts else 0.0))[None]

    def reward(self, state, action, next_state):
        return self.reward_of(state.seen, self.action_spec.checked(action, "an action"), state.steps)

    def terminal(self, state):
        return jnp.zeros((), bool) if self.length is None else state.steps >= self.length


def constant_probe() -> Probe:
    """One step, reward 1."""
    return Probe(_one)


def state_probe() -> Probe:
    """One step, whose reward is what is seen, -1 or 1."""
    return Probe(_seen, seeds=(-1.0, 1.0))


def delay_probe() -> Probe:
    """Two steps, of which the second has the reward 1."""
    return Probe(_at_second, length=2, counts=True)


def action_probe() -> Probe:
    """One step, best at the action 0.5: reward -(a - 0.5)^2."""
    return Probe(_near_half)


def aim_probe() -> Probe:
    """One step, best at half of what is seen, -1 or 1: reward -(a - s / 2)^2."""
    return Probe(_near_seen, seeds=(-1.0, 1.0))


def truncation_probe(length: int = 1) -> TimeLimit:
    """Reward 1 at every step of a task without end, cut after some."""
    return TimeLimit(Probe(_one, length=None), length)


def _one(seen: Scalar, action: Float[Array, " 1"], steps: Int[Array, ""]) -> Scalar:
    return jnp.ones(())


def _seen(seen: Scalar, action: Float[Array, " 1"], steps: Int[Array, ""]) -> Scalar:
    return seen


def _at_second(seen: Scalar, action: Float[Array, " 1"], steps: Int[Array, ""]) -> Scalar:
    return jnp.where(steps == 1, 1.0, 0.0)


def _near_half(seen: Scalar, action: Float[Array, " 1"], steps: Int[Array, ""]) -> Scalar:
    return -((action[0] - 0.5) ** 2)


def _near_seen(seen: Scalar, action: Float[Array, " 1"], steps: Int[Array, ""]) -> Scalar:
    return -((action[0] - 0.5 * seen) ** 2)
