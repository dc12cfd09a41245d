"""Environments around another one: whatever a wrapper does not change is the inner environment's."""

import equinox as eqx

from ..core import AbstractEnvironment
from ..typing import PyTree
from ._world import AbstractSpriteWorld


class AbstractWrapper(AbstractEnvironment[PyTree]):
    """An environment around another; a member defines what it changes."""

    environment: eqx.AbstractVar[AbstractEnvironment]

    def inner_state(self, state: PyTree) -> PyTree:
        """The inner environment's state; by default the wrapper has no other."""
        return state

    @property
    def action_spec(self):
        return self.environment.action_spec

    @property
    def observation_spec(self):
        return self.environment.observation_spec

    @property
    def resets(self):
        return self.environment.resets

    def initial(self, *, key):
        return self.environment.initial(key=key)

    def transition(self, state, action, *, key):
        return self.environment.transition(state, action, key=key)

    def observation(self, state, *, key):
        return self.environment.observation(self.inner_state(state), key=key)

    def reward(self, state, action, next_state):
        return self.environment.reward(self.inner_state(state), action, self.inner_state(next_state))

    def terminal(self, state):
        return self.environment.terminal(self.inner_state(state))

    def truncated(self, state):
        return self.environment.truncated(self.inner_state(state))


class AbstractSpriteWrapper(AbstractWrapper, AbstractSpriteWorld):
    """A world of sprites around another."""

    environment: eqx.AbstractVar[AbstractSpriteWorld]

    @property
    def grid(self):
        return self.environment.grid

    def initial_at(self, latents, goal=None, *, key):
        return self.environment.initial_at(latents, goal, key=key)

    def latents(self, state):
        return self.environment.latents(self.inner_state(state))

    def goal_of(self, state):
        return self.environment.goal_of(self.inner_state(state))

    def draw(self, configurations, *, key):
        return self.environment.draw(configurations, key=key)

    def picture(self, state):
        return self.environment.picture(self.inner_state(state))

    def differences(self, state):
        return self.environment.differences(self.inner_state(state))

    def steps_to_goal(self, state):
        return self.environment.steps_to_goal(self.inner_state(state))
