"""The interactive dSprites world: one sprite, moved by actions along scale, orientation, position x and position y.

    latents' = move(latents, action)       image = render(latents)

Shape is fixed within an episode. Parts are objects: the lattice, a motion, a renderer, a start and a goal; wrappers add
partial observation. See `_grid` for the meaning of latents.
"""

import abc
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ..core import Bounded
from ..results import BadInputError
from ..typing import Any, Array, Float, Key, PyTree
from ._configurations import AbstractConfigurations, UniformConfigurations
from ._goals import AbstractGoal, Target
from ._grid import SpriteGrid
from ._motion import AbstractMotion, GridMotion, SecondOrderMotion
from ._renderers import AbstractRenderer, PixelExact
from ._world import AbstractSpriteWorld, WorldState


class SpriteState(NamedTuple):
    """State of the world.

    Attributes:
        latents: [shape, scale, orientation, x, y] in class units; int32 on the lattice, else real.
        velocity: class units per step of (scale, orientation, x, y); empty for motions without velocity.
        goal: the goal's part; the target's latents for `Target`, empty for preferences.
    """

    latents: Array
    velocity: Float[Array, " memory"]
    goal: PyTree


class AbstractSprites(AbstractSpriteWorld[WorldState]):
    """Sprites made of parts: what worlds of one sprite and of several share.

    Attributes:
        motion: how actions move a sprite.
        renderer: how it is drawn.
        start: where episodes start.
        goal: what they ask for.
    """

    motion: eqx.AbstractVar[AbstractMotion]
    renderer: eqx.AbstractVar[AbstractRenderer]
    start: eqx.AbstractVar[AbstractConfigurations]
    goal: eqx.AbstractVar[AbstractGoal]

    @abc.abstractmethod
    def _begin(self, latents: Array, *, key: Key) -> Any:
        """First state of an episode that starts at `latents`."""

    @property
    @abc.abstractmethod
    def _latents_shape(self) -> tuple[int, ...]:
        """Shape of the latents of all sprites."""

    def initial(self, *, key):
        start_key, rest_key = jr.split(key)
        return self._begin(self.draw(self.start, key=start_key), key=rest_key)

    def initial_at(self, latents, goal=None, *, key):
        state = self._begin(self._placed(latents), key=key)
        if goal is None:
            return state
        if isinstance(state.goal, tuple) and not state.goal:
            raise BadInputError(
                "Expected a world whose goal is a `Target` in order to set one, got a preference distribution."
            )
        return state._replace(goal=self._placed(goal).at[..., 0].set(state.latents[..., 0]))

    def observation(self, state, *, key):
        del key
        return self.picture(state)

    def reward(self, state, action, next_state):
        del state, action
        return self.goal.reward(self, next_state)

    def terminal(self, state):
        return self.goal.reached(self, state)

    def latents(self, state: Any):
        return state.latents

    def goal_of(self, state: Any):
        return state.goal

    def _placed(self, latents: Any) -> Array:
        checked = self.grid.checked(latents)
        expected = self._latents_shape
        if checked.shape != expected:
            number = "one sprite" if expected == (5,) else f"{expected[0]} sprites"
            raise BadInputError(f"Expected the latents of {number}, shape {expected}, got shape {checked.shape}.")
        return self.motion.cast(jnp.vectorize(self.grid.contain, signature="(k)->(k)")(checked))


@final
class DSprites(AbstractSprites[SpriteState]):
    """One white sprite on a black canvas; `SpriteGrid(39)` has the original data set's angles."""

    grid: SpriteGrid = SpriteGrid()
    motion: AbstractMotion = GridMotion()
    renderer: AbstractRenderer = PixelExact()
    start: AbstractConfigurations = UniformConfigurations()
    goal: AbstractGoal = Target()

    @property
    def action_spec(self):
        return self.motion.action_spec

    @property
    def observation_spec(self):
        return Bounded((self.renderer.size, self.renderer.size), 0, 1)

    @property
    def _latents_shape(self):
        return (5,)

    def transition(self, state, action, *, key):
        action = self.action_spec.checked(action, "an action")
        latents, velocity = self.motion.move(state.latents, state.velocity, action, self.grid, key=key)
        return SpriteState(latents, velocity, state.goal)

    def draw(self, configurations, *, key):
        return self.motion.cast(configurations.draw(self.grid, on_lattice=self.motion.on_lattice, key=key))

    def picture(self, state):
        return self.render(state.latents)

    def render(self, latents: Array) -> Float[Array, "size size"]:
        """Picture of a configuration in class units, shape (5,), as float32 in [0, 1]."""
        return self.renderer.render(latents, self.grid).astype(jnp.float32)

    def differences(self, state):
        return self.grid.differences(state.latents, state.goal)

    def steps_to_goal(self, state):
        """Length of the shortest path from `state` to its target, without noise.

        All factors move at once in `GridMotion`, so it is the largest difference over factors, with orientation counted
        around the ring and up to the shape's symmetry; moving one factor at a time, it is their sum.
        """
        return self.motion.steps(self.differences(state))

    def _begin(self, latents: Array, *, key: Key) -> SpriteState:
        velocity = jnp.zeros(self.motion.memory, jnp.result_type(float))
        return SpriteState(latents, velocity, self.goal.draw(self, latents, key=key))


def moving_sprites(num_sequences: int, num_frames: int, *, key: Key) -> np.ndarray:
    """Sprites that begin anywhere, at rest, and are pushed at random; bytes [sequences, frames, 64, 64], ink 255."""
    world = DSprites(motion=SecondOrderMotion(gain=np.diag([0.1, 0.7, 0.7, 0.7])))

    def step(state: SpriteState, step_key: Key) -> tuple[SpriteState, Float[Array, "5"]]:
        push_key, move_key = jr.split(step_key)
        push = jr.uniform(push_key, (4,), minval=-1.0, maxval=1.0)
        return world.transition(state, push, key=move_key), world.latents(state)

    def one(one_key: Key) -> Array:
        begin_key, walk_key = jr.split(one_key)
        _, latents = jax.lax.scan(step, world.initial(key=begin_key), jr.split(walk_key, num_frames))
        return jax.lax.map(lambda z: jnp.round(255.0 * world.render(z)).astype(jnp.uint8), latents)

    return np.asarray(eqx.filter_jit(lambda keys: jax.lax.map(one, keys))(jr.split(key, num_sequences)))
