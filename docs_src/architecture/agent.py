"""A new agent: proportional and integral feedback, whose memory is the sum of past errors."""

from typing import NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np

from homeostat.agents import rollout
from homeostat.core import AbstractAgent, Bounded, Decision
from homeostat.environments import Simulated
from homeostat.models.sequential import LinearDynamics, LinearGaussian
from homeostat.testing import check_agent


class Feedback(NamedTuple):
    """The two terms of an action."""

    proportional: jax.Array
    integral: jax.Array


@final
class Homeostat(AbstractAgent[jax.Array]):
    """a = k_p (goal - x) + k_i sum of all such errors.

    Attributes:
        goal: the value to keep.
        proportional: k_p.
        integral: k_i, for one step.
    """

    goal: jax.Array
    proportional: float = 0.5
    integral: float = 0.1

    def init(self, *, key):
        return jnp.zeros_like(self.goal)

    def act(self, state, observation, *, key):
        error = self.goal - observation
        state = state + error
        terms = Feedback(self.proportional * error, self.integral * state)
        return Decision(terms.proportional + terms.integral, terms), state


key, goal = jax.random.key(0), jnp.asarray([2.0])
check_agent(Homeostat(goal), jnp.asarray([0.3]), key=key)

# A leaking store, z' = 0.9 z + 0.5 a: proportional feedback alone would rest where 0.1 z = 0.25 (goal - z).
dynamics = LinearDynamics(0.9 * jnp.eye(1), 0.5 * jnp.eye(1), 1e-3 * jnp.eye(1))
store = LinearGaussian(jnp.zeros(1), jnp.eye(1), dynamics, jnp.eye(1), 1e-3 * jnp.eye(1))
world = Simulated(store, lambda state, action, after: -jnp.sum((after - goal) ** 2), Bounded((1,), -10, 10))
for agent, rest in ((Homeostat(goal), 2.0), (Homeostat(goal, integral=0.0), 2.0 * 0.25 / 0.35)):
    episode = rollout(world, agent, key=key, num_steps=200)
    np.testing.assert_allclose(jnp.mean(episode.trajectory.observation[100:]), rest, atol=0.01)
