"""One world as a `gymnasium.Env`."""

import inspect
from typing import Any, ClassVar, final

import gymnasium
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ...results import BadInputError
from .._world import AbstractSpriteWorld
from ._options import build_world
from ._spaces import decode_action, facts_to_numpy, space_of, to_numpy, to_rgb
from ._stepping import advance_one, begin_one, picture_of

RENDER_FPS = 15


@final
class SpritesEnv(gymnasium.Env):
    """The interactive dSprites world behind Gymnasium's interface.

    Observations are float32 images in [0, 1]; see `build_world` for the options. `reset(options=...)` takes `latents`
    ([shape, scale, orientation, x, y], class indices) and `goal`; `info` tells `latents`, and with a target also
    `goal` and `steps_to_goal`.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": RENDER_FPS}

    def __init__(self, render_mode: str | None = None, world: AbstractSpriteWorld | None = None, **options: Any):
        """Make an environment.

        Args:
            render_mode: `None` or "rgb_array".
            world: a world of your own making, in place of options.
            **options: see `build_world`.

        Raises:
            BadInputError: options that are unknown or do not fit together.
        """
        self.render_mode = checked_render_mode(render_mode)
        self.world = world_from(world, options)
        self.action_space = space_of(self.world.action_spec)
        self.observation_space = space_of(self.world.observation_spec)
        self._carry = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Begin an episode; `options` may set `latents` and `goal`."""
        super().reset(seed=seed)
        latents, goal = placed(self.world, options, ())
        self._carry, outcome = begin_one(self.world, draw_key(self.np_random), latents, goal)
        return to_numpy(outcome.observation), facts_to_numpy(outcome.facts)

    def step(self, action: Any):
        """Take an action of the action space."""
        if self._carry is None:
            raise BadInputError("Expected reset() before the first step(), got step().")
        decoded = decode_action(action, self.action_space, self.world.action_spec)
        self._carry, outcome = advance_one(self.world, self._carry, jnp.asarray(decoded), jnp.zeros((), jnp.int32))
        return (
            to_numpy(outcome.observation),
            float(outcome.reward),
            bool(outcome.terminated),
            False,
            facts_to_numpy(outcome.facts),
        )

    def render(self) -> np.ndarray | None:
        """The whole scene as 8-bit colours, (size, size, 3), without noise, occluders or fovea."""
        if self.render_mode is None:
            return None
        if self._carry is None:
            raise BadInputError("Expected reset() before render(), got render().")
        return to_rgb(picture_of(self.world, self._carry.state))


def checked_render_mode(render_mode: str | None) -> str | None:
    """Return `render_mode`, or say which there are."""
    if render_mode not in (None, "rgb_array"):
        raise BadInputError(f"Expected render_mode None or 'rgb_array', got {render_mode!r}.")
    return render_mode


def world_from(world: AbstractSpriteWorld | None, options: dict[str, Any]) -> AbstractSpriteWorld:
    """The world given, or one made from options."""
    if world is None:
        known = inspect.signature(build_world).parameters
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise BadInputError(f"Expected options among {sorted(known)}, got {unknown}.")
        return build_world(**options)
    if options:
        raise BadInputError(f"Expected either a world or options, got a world and {sorted(options)}.")
    if not isinstance(world, AbstractSpriteWorld):
        raise BadInputError(f"Expected a world such as `DSprites()`, got {type(world).__name__}.")
    return world


def placed(
    world: AbstractSpriteWorld, options: dict[str, Any] | None, batch: tuple[int, ...]
) -> list[jax.Array | None]:
    """Checked `latents` and `goal` of reset options, with a leading axis for a batch.

    Raises:
        BadInputError: unknown option, or not configurations of the world.
    """
    unknown = sorted(set(options or {}) - {"latents", "goal"})
    if unknown:
        raise BadInputError(f"Expected reset options among ['goal', 'latents'], got {unknown}.")
    values = []
    for name in ("latents", "goal"):
        value = (options or {}).get(name)
        if value is not None:
            value = world.grid.checked(value)
            single = single_shape(world)
            if value.shape not in (single, batch + single):
                shapes = " or ".join(str(shape) for shape in dict.fromkeys((single, batch + single)))
                raise BadInputError(f"Expected the option '{name}' of shape {shapes}, got shape {value.shape}.")
            value = jnp.broadcast_to(
                value.reshape((1,) * (len(batch) + len(single) - value.ndim) + value.shape), batch + single
            )
        values.append(value)
    return values


def single_shape(world: AbstractSpriteWorld) -> tuple[int, ...]:
    """Shape of the latents of one episode."""
    return jax.eval_shape(lambda key: world.latents(world.initial(key=key)), jr.key(0)).shape


def draw_key(generator: np.random.Generator) -> jax.Array:
    """A random key from Gymnasium's generator, so that its seeds reproduce episodes."""
    return jr.key(int(generator.integers(2**31 - 1)))
