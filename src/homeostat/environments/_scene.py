"""A scene of several coloured sprites that hide one another.

Sprites are drawn from back to front; a nearer sprite covers those behind it:

    canvas <- (1 - mask_i) canvas + mask_i colour_i,    i from the farthest to the nearest

Colours and depths are drawn at the start of an episode and stay; every sprite has its own action.
"""

from dataclasses import KW_ONLY
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ..core import Bounded
from ..results import BadInputError
from ..typing import Any, Array, Float, Int, Key, PyTree
from ._configurations import AbstractConfigurations, UniformConfigurations
from ._dsprites import AbstractSprites
from ._goals import AbstractGoal, Target
from ._grid import SpriteGrid
from ._motion import AbstractMotion, GridMotion
from ._renderers import AbstractRenderer, PixelExact

RAINBOW = ((1.0, 0.2, 0.2), (0.2, 0.8, 0.3), (0.3, 0.5, 1.0), (1.0, 0.8, 0.2), (0.8, 0.4, 1.0), (1.0, 1.0, 1.0))
"""Default colours, red, green and blue in [0, 1]."""


class SceneState(NamedTuple):
    """State of a scene of n sprites.

    Attributes:
        latents: as in `SpriteState`, shape (n, 5).
        velocity: class units per step, shape (n, memory).
        colours: red, green and blue in [0, 1], shape (n, 3).
        order: indices of the sprites from the farthest to the nearest.
        goal: the goal's part.
    """

    latents: Array
    velocity: Float[Array, "n memory"]
    colours: Float[Array, "n 3"]
    order: Int[Array, " n"]
    goal: PyTree


def _checked_palette(palette: Any) -> Float[Array, "colours 3"]:
    colours = np.asarray(palette, np.float32)
    if colours.ndim != 2 or colours.shape[1] != 3 or not np.all((colours >= 0) & (colours <= 1)):
        raise BadInputError(
            f"Expected a palette of rows (red, green, blue) in [0, 1], got shape {colours.shape}: {palette!r}."
        )
    return jnp.asarray(colours)


@final
class SpriteScene(AbstractSprites[SceneState]):
    """Several coloured sprites on a black canvas.

    Attributes:
        objects: number of sprites.
        palette: colours to draw from, one row each; sprites get different ones as far as there are enough.
        start: where each starts, independently.
    """

    objects: int = eqx.field(static=True, default=2)
    palette: Float[Array, "colours 3"] = eqx.field(converter=_checked_palette, default=RAINBOW)
    _: KW_ONLY
    grid: SpriteGrid = SpriteGrid()
    motion: AbstractMotion = GridMotion()
    renderer: AbstractRenderer = PixelExact()
    start: AbstractConfigurations = UniformConfigurations()
    goal: AbstractGoal = Target()

    def __check_init__(self):
        if isinstance(self.objects, bool) or not isinstance(self.objects, int) or self.objects < 1:
            raise BadInputError(f"Expected a positive whole number of objects, got {self.objects!r}.")

    @property
    def action_spec(self):
        single = self.motion.action_spec
        return Bounded((self.objects, *single.shape), single.low, single.high, single.whole)

    @property
    def observation_spec(self):
        return Bounded((self.renderer.size, self.renderer.size, 3), 0, 1)

    @property
    def _latents_shape(self):
        return (self.objects, 5)

    def transition(self, state, action, *, key):
        action = self.action_spec.checked(action, "an action")

        def move(latents, velocity, action, key):
            return self.motion.move(latents, velocity, action, self.grid, key=key)

        moved = jax.vmap(move)(state.latents, state.velocity, action, jr.split(key, self.objects))
        return SceneState(*moved, state.colours, state.order, state.goal)

    def draw(self, configurations, *, key):
        def one(key):
            return configurations.draw(self.grid, on_lattice=self.motion.on_lattice, key=key)

        return self.motion.cast(jax.vmap(one)(jr.split(key, self.objects)))

    def picture(self, state):
        masks = self.masks(state)
        canvas = jnp.zeros((self.renderer.size, self.renderer.size, 3), jnp.float32)
        for depth in range(self.objects):
            sprite = state.order[depth]
            mask = masks[sprite][:, :, None]
            canvas = (1 - mask) * canvas + mask * state.colours[sprite][None, None, :]
        return canvas

    def masks(self, state: SceneState) -> Float[Array, "n size size"]:
        """Silhouette of every sprite as if it were alone, float32 in [0, 1]."""
        return jax.vmap(lambda latents: self.renderer.render(latents, self.grid))(state.latents).astype(jnp.float32)

    def differences(self, state):
        return jax.vmap(self.grid.differences)(state.latents, state.goal)

    def steps_to_goal(self, state):
        """Sprites move at the same time, so it is the largest of their distances."""
        return jnp.max(jax.vmap(self.motion.steps)(self.differences(state)))

    def _begin(self, latents: Array, *, key: Key) -> SceneState:
        colour_key, order_key, goal_key = jr.split(key, 3)
        shades = self.palette.shape[0]
        # Permutations side by side: no colour repeats before all have been used.
        rounds = jr.split(colour_key, -(-self.objects // shades))
        chosen = jnp.concatenate([jr.permutation(k, shades) for k in rounds])[: self.objects]
        return SceneState(
            latents=latents,
            velocity=jnp.zeros((self.objects, self.motion.memory), jnp.result_type(float)),
            colours=self.palette[chosen],
            order=jr.permutation(order_key, self.objects).astype(jnp.int32),
            goal=self.goal.draw(self, latents, key=goal_key),
        )
