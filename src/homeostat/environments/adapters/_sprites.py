"""The interactive dSprites world behind Gymnasium's interfaces, made from the plain keywords of `gymnasium.make`."""

import inspect
from typing import Any, ClassVar, final

import gymnasium
import jax
import jax.numpy as jnp
import jax.random as jr

from ...core import AbstractEnvironment
from ...results import BadInputError
from ...typing import Array, Key, PyTree
from .._world import AbstractSpriteWorld
from ._gymnasium import AbstractExtras, GymnasiumEnv, GymnasiumFuncEnv, GymnasiumVectorEnv
from ._options import build_world

ENV_ID = "homeostat/DSprites-v0"

MAX_EPISODE_STEPS = 200
"""More than twice the longest shortest path when factors move one at a time (5 + 20 + 31 + 31 = 87 steps)."""


@final
class SpriteExtras(AbstractExtras):
    """Options `latents` ([shape, scale, orientation, x, y], class indices) and `goal`; their values in `info`; the scene."""

    render_modes: ClassVar[tuple[str, ...]] = ("rgb_array",)

    def options(self, environment: AbstractEnvironment, options: dict[str, Any], batch: tuple[int, ...]) -> PyTree:
        world = _require_world(environment)
        unknown = sorted(set(options) - {"latents", "goal"})
        if unknown:
            raise BadInputError(f"Expected reset options among ['goal', 'latents'], got {unknown}.")
        return tuple(_placed(world, name, options.get(name), batch) for name in ("latents", "goal"))

    def initial(self, environment: AbstractEnvironment, options: PyTree, *, key: Key) -> PyTree:
        world, (latents, goal) = _require_world(environment), options
        if latents is None and goal is None:
            return world.initial(key=key)
        latents = world.latents(world.initial(key=key)) if latents is None else latents
        return world.initial_at(latents, goal, key=key)

    def info(self, environment: AbstractEnvironment, state: PyTree) -> dict[str, Array]:
        """Latents, and for a target its latents and the number of steps to it."""
        world = _require_world(environment)
        known, goal = {"latents": world.latents(state)}, world.goal_of(state)
        if isinstance(goal, jax.Array):
            known |= {"goal": goal, "steps_to_goal": world.steps_to_goal(state)}
        return known

    def picture(self, environment: AbstractEnvironment, state: PyTree) -> Array:
        return _require_world(environment).picture(state)


def register() -> None:
    """Make the environment known to `gymnasium.make` and `gymnasium.make_vec`; calling it again changes nothing."""
    if ENV_ID not in gymnasium.registry:
        gymnasium.register(
            id=ENV_ID,
            entry_point="homeostat.environments.adapters:sprites_env",
            vector_entry_point="homeostat.environments.adapters:sprites_vector_env",
            max_episode_steps=MAX_EPISODE_STEPS,
        )


def sprites_env(
    render_mode: str | None = None, world: AbstractSpriteWorld | None = None, **options: Any
) -> GymnasiumEnv:
    """The interactive dSprites world as a `gymnasium.Env`; observations are float32 images in [0, 1].

    Args:
        render_mode: None or "rgb_array".
        world: a world of your own making, in place of options.
        **options: see `build_world`.

    Raises:
        BadInputError: options that are unknown or do not fit together.
    """
    return GymnasiumEnv(_world_from(world, options), SpriteExtras(), render_mode)


def sprites_vector_env(
    num_envs: int = 1,
    render_mode: str | None = None,
    max_episode_steps: int | None = None,
    world: AbstractSpriteWorld | None = None,
    **options: Any,
) -> GymnasiumVectorEnv:
    """A batch of interactive dSprites worlds; arguments as for `sprites_env` and `GymnasiumVectorEnv`."""
    return GymnasiumVectorEnv(_world_from(world, options), num_envs, SpriteExtras(), render_mode, max_episode_steps)


def sprites_func_env(world: AbstractSpriteWorld | None = None, **options: Any) -> GymnasiumFuncEnv:
    """The interactive dSprites world as pure functions; arguments as for `sprites_env`."""
    return GymnasiumFuncEnv(_world_from(world, options), SpriteExtras())


def _world_from(world: AbstractSpriteWorld | None, options: dict[str, Any]) -> AbstractSpriteWorld:
    """The world given, or one made from options."""
    if world is None:
        known = inspect.signature(build_world).parameters
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise BadInputError(f"Expected options among {sorted(known)}, got {unknown}.")
        return build_world(**options)
    if options:
        raise BadInputError(f"Expected either a world or options, got a world and {sorted(options)}.")
    return _require_world(world)


def _require_world(environment: Any) -> AbstractSpriteWorld:
    if not isinstance(environment, AbstractSpriteWorld):
        raise BadInputError(f"Expected a world such as `DSprites()`, got {type(environment).__name__}.")
    return environment


def _placed(world: AbstractSpriteWorld, name: str, value: Any, batch: tuple[int, ...]) -> Array | None:
    """A checked configuration, with a leading axis for a batch."""
    if value is None:
        return None
    value = world.grid.checked(value)
    single = jax.eval_shape(lambda key: world.latents(world.initial(key=key)), jr.key(0)).shape
    if value.shape not in (single, batch + single):
        shapes = " or ".join(str(shape) for shape in dict.fromkeys((single, batch + single)))
        raise BadInputError(f"Expected the option '{name}' of shape {shapes}, got shape {value.shape}.")
    if value.shape == single:
        value = value.reshape((1,) * len(batch) + single)
    return jnp.broadcast_to(value, batch + single)
