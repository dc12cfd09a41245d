"""Goals: what an episode asks for.

A goal draws its part of the state, rewards transitions and says when it is reached.
"""

import abc
from typing import final

import equinox as eqx
import jax.numpy as jnp

from ..typing import Array, Bool, Distribution, Key, PyTree, Scalar, State
from ._configurations import AbstractConfigurations, FactorisedConfigurations, UniformConfigurations
from ._world import AbstractSpriteWorld


class AbstractGoal(eqx.Module):
    """What an episode asks for."""

    @abc.abstractmethod
    def draw(self, world: AbstractSpriteWorld, start: Array, *, key: Key) -> PyTree:
        """The goal's part of the state, given the first latents of the episode."""

    @abc.abstractmethod
    def reward(self, world: AbstractSpriteWorld, state: State) -> Scalar:
        """Reward of arriving in `state`."""

    @abc.abstractmethod
    def reached(self, world: AbstractSpriteWorld, state: State) -> Bool[Array, ""]:
        """Whether the episode ends in `state`."""


@final
class Target(AbstractGoal):
    """Reach a configuration, up to the shape's rotational symmetry.

        reward = -(least number of steps left)

    A sprite's shape cannot change, so the target's shape is always the sprite's own. With several sprites all of them
    have to arrive. `state.goal` holds the target's latents.

    Attributes:
        configurations: distribution of the target.
        tolerance: largest difference in class units of each factor (scale, orientation, x, y) that counts as reached.
            On the lattice anything below 1 asks for an exact match.
    """

    configurations: AbstractConfigurations = UniformConfigurations()
    tolerance: float | int = eqx.field(static=True, default=0.5)

    def draw(self, world, start, *, key):
        return world.draw(self.configurations, key=key).at[..., 0].set(start[..., 0])

    def reward(self, world, state):
        return -world.steps_to_goal(state).astype(jnp.float32)

    def reached(self, world, state):
        return jnp.all(world.differences(state) <= self.tolerance)


class AbstractPreferenceGoal(AbstractGoal):
    """A preferred distribution: it needs no part of the state, and its episodes never end."""

    def draw(self, world, start, *, key):
        del world, start, key
        return ()

    def reached(self, world, state):
        return jnp.zeros((), bool)


@final
class LatentPreference(AbstractPreferenceGoal):
    """A preferred distribution over latents: reward = log p(latents) in nats, summed over sprites. Never ends.

    Attributes:
        preference: independent categorical distributions over classes.
    """

    preference: FactorisedConfigurations

    def reward(self, world, state):
        return jnp.sum(self.preference.log_prob(world.latents(state))).astype(jnp.float32)


@final
class ImagePreference(AbstractPreferenceGoal):
    """A preferred distribution over images: reward = log p(picture) in nats, of the picture without noise. Never ends.

    Attributes:
        preference: a distribution whose events have the shape of the world's pictures.
    """

    preference: Distribution

    def reward(self, world, state):
        return self.preference.log_prob(world.picture(state)).astype(jnp.float32)
