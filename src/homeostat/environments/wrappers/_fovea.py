"""A fovea: only a small window of the image is seen, and two more actions move it."""

import math
from typing import NamedTuple, final

import equinox as eqx
import jax.numpy as jnp
from jax import lax

from ...core import Bounded
from ...results import BadInputError
from ...typing import Array, Float, PyTree
from .._grid import CANVAS
from .._world import AbstractSpriteWorld
from .._wrapper import AbstractSpriteWrapper


class FoveaState(NamedTuple):
    """State of a world and of the window it is seen through.

    Attributes:
        corner: first column and first row of the window, in image pixels; the crop is at the nearest whole pixel.
    """

    world: PyTree
    corner: Float[Array, "2"]


class FoveaObservation(NamedTuple):
    """What is seen.

    Attributes:
        window: the crop, (window, window) or (window, window, 3).
        centre: x and y of the window's centre, in pixels of the 64 x 64 canvas.
    """

    window: Float[Array, "..."]
    centre: Float[Array, "2"]


@final
class Fovea(AbstractSpriteWrapper):
    """Hides everything outside a square window.

    An action is the inner world's, flattened, followed by the move of the window along x and y in -1..1, in units of
    `stride`. Episodes begin with the window in the middle of the image.

    Attributes:
        window: side of the window in image pixels.
        stride: image pixels per unit of action.
    """

    environment: AbstractSpriteWorld
    window: int = eqx.field(static=True, default=16)
    stride: float | int = eqx.field(static=True, default=4)

    def __check_init__(self):
        image, action = self.environment.observation_spec, self.environment.action_spec
        if not isinstance(image, Bounded):
            raise BadInputError(
                f"Expected a world that shows one image behind a fovea, got {type(self.environment).__name__}."
            )
        if not 1 <= self.window <= image.shape[0]:
            raise BadInputError(f"Expected a window between 1 and {image.shape[0]} pixels wide, got {self.window!r}.")
        if not 0 < self.stride <= image.shape[0]:
            raise BadInputError(f"Expected a stride between 0 and {image.shape[0]} pixels, got {self.stride!r}.")
        if (action.low, action.high) != (-1, 1):
            raise BadInputError(
                "Expected a world whose actions lie in [-1, 1] behind a fovea, since its own are appended to them; got "
                f"actions in [{action.low:g}, {action.high:g}]: use `GridMotion` instead of `OneFactorMotion`."
            )

    @property
    def action_spec(self):
        inner = self.environment.action_spec
        return Bounded((self._inner_actions + 2,), -1, 1, inner.whole)

    @property
    def observation_spec(self):
        inner = self.environment.observation_spec
        shape = (self.window, self.window, *inner.shape[2:])
        return FoveaObservation(Bounded(shape, inner.low, inner.high), Bounded((2,), 0, CANVAS))

    def inner_state(self, state):
        return state.world

    def initial(self, *, key):
        return self._look_at_middle(self.environment.initial(key=key))

    def initial_at(self, latents, goal=None, *, key):
        return self._look_at_middle(self.environment.initial_at(latents, goal, key=key))

    def transition(self, state, action, *, key):
        action = self.action_spec.checked(action, "an action")
        corner = state.corner + self.stride * jnp.clip(action[self._inner_actions :], -1, 1).astype(jnp.float32)
        world = self.environment.transition(state.world, self._inner(action), key=key)
        return FoveaState(world, jnp.clip(corner, 0, self._size - self.window))

    def observation(self, state, *, key):
        image = self.environment.observation(state.world, key=key)
        column, row = jnp.rint(state.corner).astype(jnp.int32)
        start = (row, column) + (jnp.zeros((), jnp.int32),) * (image.ndim - 2)
        crop = lax.dynamic_slice(image, start, (self.window, self.window, *image.shape[2:]))
        centre = (jnp.rint(state.corner) + self.window / 2) * (CANVAS / self._size)
        return FoveaObservation(crop, centre.astype(jnp.float32))

    def mask(self, state: FoveaState) -> Float[Array, "size size"]:
        """One where the image is seen, zero where it is hidden."""
        pixels = jnp.arange(self._size)
        column, row = jnp.rint(state.corner).astype(jnp.int32)
        rows = (pixels >= row) & (pixels < row + self.window)
        columns = (pixels >= column) & (pixels < column + self.window)
        return (rows[:, None] & columns[None, :]).astype(jnp.float32)

    def reward(self, state, action, next_state):
        return self.environment.reward(state.world, self._inner(jnp.asarray(action)), next_state.world)

    @property
    def _size(self) -> int:
        return self.environment.observation_spec.shape[0]

    @property
    def _inner_actions(self) -> int:
        return math.prod(self.environment.action_spec.shape)

    def _inner(self, action: Array) -> Array:
        return action[: self._inner_actions].reshape(self.environment.action_spec.shape)

    def _look_at_middle(self, world: PyTree) -> FoveaState:
        return FoveaState(world, jnp.full(2, (self._size - self.window) // 2, jnp.float32))
