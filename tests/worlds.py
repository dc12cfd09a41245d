"""Small worlds whose best behaviour is known."""

from typing import final

import jax
import jax.numpy as jnp
import jax.random as jr

from homeostat.core import AbstractEnvironment, Bounded
from homeostat.models.sequential import LinearDynamics, LinearGaussian


def plane(noise=0.01):
    """Two coordinates moved directly by two actions, seen with a little noise."""
    dynamics = LinearDynamics(jnp.eye(2), jnp.eye(2), noise * jnp.eye(2))
    return LinearGaussian(jnp.zeros(2), jnp.eye(2), dynamics, jnp.eye(2), 0.05 * jnp.eye(2))


@final
class Plane(AbstractEnvironment):
    """The world that `plane` models, without process noise."""

    goal: jax.Array

    @property
    def action_spec(self):
        return Bounded((2,), -1, 1)

    @property
    def observation_spec(self):
        return Bounded((2,))

    def initial(self, *, key):
        return jnp.zeros(2)

    def transition(self, state, action, *, key):
        return state + action

    def observation(self, state, *, key):
        return state + 0.05 * jr.normal(key, (2,))

    def reward(self, state, action, next_state):
        return -jnp.sum((next_state - self.goal) ** 2)

    def terminal(self, state):
        return jnp.sum((state - self.goal) ** 2) < 0.25


GOAL = jnp.array([3.0, -5.0])
