"""A new environment: a room with a heater, in the wrappers and adapters that every environment gets for nothing."""

from typing import NamedTuple, final

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from homeostat.core import AbstractEnvironment, Bounded
from homeostat.environments import TimeLimit
from homeostat.environments.adapters import GymnasiumEnv
from homeostat.testing import check_environment


class RoomState(NamedTuple):
    """Temperature in degrees Celsius."""

    temperature: jax.Array


@final
class Room(AbstractEnvironment[RoomState]):
    """T' = T + (outside - T) / tau + power * a + noise, with a heater a in [0, 1]; the reward is -(T - target)^2.

    Attributes:
        outside: in degrees Celsius.
        target: in degrees Celsius.
        tau: time constant of the walls, in steps.
        power: degrees that the heater adds in a step.
        scale: standard deviation of the noise, in degrees.
    """

    outside: float = 5.0
    target: float = 20.0
    tau: float = 10.0
    power: float = 3.0
    scale: float = 0.1

    @property
    def action_spec(self):
        return Bounded((), 0.0, 1.0)

    @property
    def observation_spec(self):
        return Bounded((), -np.inf, np.inf)

    def initial(self, *, key):
        return RoomState(self.outside + jax.random.normal(key, ()))

    def transition(self, state, action, *, key):
        drift = (self.outside - state.temperature) / self.tau + self.power * jnp.clip(action, 0.0, 1.0)
        return RoomState(state.temperature + drift + self.scale * jax.random.normal(key, ()))

    def observation(self, state, *, key):
        return state.temperature

    def reward(self, state, action, next_state):
        return -((next_state.temperature - self.target) ** 2)

    def terminal(self, state):
        return state.temperature > 60.0


key, room = jax.random.key(0), Room()
check_environment(room, key=key)


# With the heater on, the room settles where losses equal heating: outside + tau * power = 35 degrees.
def step(state, k):
    state = room.transition(state, jnp.ones(()), key=k)
    return state, state.temperature


_, temperatures = jax.lax.scan(step, room.initial(key=key), jax.random.split(key, 2_000))
np.testing.assert_allclose(jnp.mean(temperatures[200:]), 35.0, atol=0.1)
# Any environment is an environment of Gymnasium's, here with a limit of time.
world = GymnasiumEnv(TimeLimit(room, 50))
assert isinstance(world, gymnasium.Env)
world.reset(seed=0)
observation, reward, terminated, truncated, _ = world.step(np.float32(1.0))
np.testing.assert_allclose(reward, -((observation - room.target) ** 2), rtol=1e-4)
