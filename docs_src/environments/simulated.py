"""A model as a world: a point in the plane, and an agent that believes in the same model."""

import itertools

import jax
import jax.numpy as jnp

from homeostat.agents import BeliefAgent, rollout
from homeostat.control import ActionSequences, TargetState, active_inference
from homeostat.core import Bounded
from homeostat.environments import Simulated
from homeostat.inference.filters import Kalman
from homeostat.models.sequential import LinearDynamics, LinearGaussian

dynamics = LinearDynamics(jnp.eye(2), jnp.eye(2), 0.1 * jnp.eye(2))
model = LinearGaussian(jnp.zeros(2), jnp.eye(2), dynamics, jnp.eye(2), 0.2 * jnp.eye(2))
goal = jnp.array([4.0, -3.0])
world = Simulated(model, lambda state, action, after: -jnp.sum((after - goal) ** 2), Bounded((2,), -1, 1))

moves = jnp.asarray(list(itertools.product((-1, 0, 1), repeat=2)))
agent = BeliefAgent(model, Kalman(), active_inference(TargetState(goal, 0.5), ActionSequences(moves)))
episode = rollout(world, agent, key=jax.random.key(0), num_steps=10)
print(episode.trajectory.reward)
# The agent comes as near as its moves of whole units and the noise allow.
assert episode.trajectory.reward[-1] > -2.0
