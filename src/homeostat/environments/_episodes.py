"""Episodes: a limit of time, and a new beginning after the end.

The end of the task (`terminal`) and the end of the time (`truncated`) are kept apart: after the first there is no return to come,
after the second there is.

References:
    Pardo et al., "Time limits in reinforcement learning", ICML 2018.
"""

from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ..core import AbstractEnvironment
from ..results import BadInputError
from ..typing import Action, Array, Bool, Int, Key, Observation, PyTree, Scalar, State
from ._wrapper import AbstractWrapper


class TimeStep(NamedTuple):
    """What an environment returns after an action.

    Attributes:
        observation: of the state that the action led to.
        reward: of the transition; zero at the beginning of an episode.
        terminal: whether the task ended there.
        truncated: whether the episode was cut off there, though the task goes on.
    """

    observation: Observation
    reward: Scalar
    terminal: Bool[Array, ""]
    truncated: Bool[Array, ""]


def first_time_step(environment: AbstractEnvironment, state: State, *, key: Key) -> TimeStep:
    """The beginning of an episode in `state`."""
    observation = environment.observation(state, key=key)
    ends = environment.terminal(state), environment.truncated(state)
    return TimeStep(observation, jnp.zeros((), jnp.float32), *ends)


def next_time_step(
    environment: AbstractEnvironment, state: State, action: Action, *, key: Key
) -> tuple[State, TimeStep]:
    """The next state, and what is seen of it."""
    move_key, observe_key = jr.split(key)
    after = environment.transition(state, action, key=move_key)
    step = first_time_step(environment, after, key=observe_key)
    return after, step._replace(reward=jnp.asarray(environment.reward(state, action, after), jnp.float32))


class TimedState(NamedTuple):
    """A state and its age.

    Attributes:
        steps: transitions since the episode began.
    """

    world: PyTree
    steps: Int[Array, ""]


@final
class TimeLimit(AbstractWrapper):
    """Truncates every episode after a number of steps."""

    environment: AbstractEnvironment
    max_steps: int = eqx.field(static=True)

    def __check_init__(self):
        if self.max_steps < 1:
            raise BadInputError(f"Expected a limit of at least one step, got max_steps={self.max_steps}.")

    def inner_state(self, state):
        return state.world

    def initial(self, *, key):
        return TimedState(self.environment.initial(key=key), jnp.zeros((), jnp.int32))

    def transition(self, state, action, *, key):
        return TimedState(self.environment.transition(state.world, action, key=key), state.steps + 1)

    def truncated(self, state):
        return self.environment.truncated(state.world) | (state.steps >= self.max_steps)


@final
class AutoReset(AbstractWrapper):
    """Begins a new episode in the step after the last of an episode; that step ignores its action and has no reward.

    Attributes:
        environment: the world; a `TimeLimit` inside it cuts its episodes.
    """

    environment: AbstractEnvironment

    @property
    def resets(self):
        return True

    def transition(self, state, action, *, key):
        reset_key, move_key = jr.split(key)
        fresh = self.environment.initial(key=reset_key)
        moved = self.environment.transition(state, action, key=move_key)
        over = self._over(state)
        return jax.tree.map(lambda new, old: jnp.where(over, new, old), fresh, moved)

    def reward(self, state, action, next_state):
        reward = self.environment.reward(state, action, next_state)
        return jnp.where(self._over(state), jnp.zeros_like(reward), reward)

    def _over(self, state: PyTree) -> Bool[Array, ""]:
        return self.environment.terminal(state) | self.environment.truncated(state)
