"""Many episodes of one world as a `gymnasium.vector.VectorEnv`, stepped together in one compiled program."""

from typing import Any, ClassVar, final

import jax.numpy as jnp
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ...results import BadInputError
from .._specs import Bounded
from .._world import AbstractSpriteWorld
from ._gymnasium import RENDER_FPS, checked_render_mode, draw_key, placed, world_from
from ._spaces import decode_action, facts_to_numpy, space_of, to_numpy, to_rgb
from ._stepping import advance_many, begin_many, pictures_of


@final
class SpritesVectorEnv(VectorEnv):
    """A batch of interactive dSprites worlds.

    An episode that ends is followed by a new one in the next step, whose action is ignored and whose reward is zero
    (`AutoresetMode.NEXT_STEP`). Observations are read-only arrays that share memory with JAX, which spares a copy of
    the images at every step: copy them before you write to them.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "render_modes": ["rgb_array"],
        "render_fps": RENDER_FPS,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        world: AbstractSpriteWorld | None = None,
        **options: Any,
    ):
        """Make a batch of environments.

        Args:
            num_envs: how many.
            render_mode: `None` or "rgb_array".
            max_episode_steps: steps after which an episode is truncated; `None` for no limit.
            world: a world of your own making, in place of options.
            **options: see `build_world`.

        Raises:
            BadInputError: options that are unknown or do not fit together.
        """
        if isinstance(num_envs, bool) or not isinstance(num_envs, int) or num_envs < 1:
            raise BadInputError(f"Expected a positive whole number of environments, got {num_envs!r}.")
        if max_episode_steps is not None and max_episode_steps < 1:
            raise BadInputError(f"Expected max_episode_steps of at least 1, or None, got {max_episode_steps!r}.")
        self.num_envs = num_envs
        self.render_mode = checked_render_mode(render_mode)
        self.world = world_from(world, options)
        self.single_action_space = space_of(self.world.action_spec)
        self.single_observation_space = space_of(self.world.observation_spec)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        single = self.world.action_spec
        self._actions = Bounded((num_envs, *single.shape), single.low, single.high, single.whole)
        self._limit = jnp.asarray(max_episode_steps or 0, jnp.int32)
        self._carry = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Begin an episode everywhere; `options` may set `latents` and `goal`, for all or one row each."""
        super().reset(seed=seed)
        latents, goal = placed(self.world, options, (self.num_envs,))
        self._carry, outcome = begin_many(self.world, draw_key(self.np_random), self.num_envs, latents, goal)
        return to_numpy(outcome.observation, copy=False), self._info(outcome.facts)

    def step(self, actions: Any):
        """Take one action everywhere."""
        if self._carry is None:
            raise BadInputError("Expected reset() before the first step(), got step().")
        decoded = decode_action(actions, self.action_space, self._actions)
        self._carry, outcome = advance_many(self.world, self._carry, jnp.asarray(decoded), self._limit)
        return (
            to_numpy(outcome.observation, copy=False),
            np.array(outcome.reward),
            np.array(outcome.terminated),
            np.array(outcome.truncated),
            self._info(outcome.facts),
        )

    def render(self) -> tuple[np.ndarray, ...] | None:
        """The whole scenes as 8-bit colours, each (size, size, 3)."""
        if self.render_mode is None:
            return None
        if self._carry is None:
            raise BadInputError("Expected reset() before render(), got render().")
        return tuple(to_rgb(picture) for picture in pictures_of(self.world, self._carry.state))

    def _info(self, facts: dict) -> dict[str, np.ndarray]:
        """Gymnasium pairs every entry with a mask that says which environments have it; here all do."""
        known = facts_to_numpy(facts)
        return known | {f"_{name}": np.ones(self.num_envs, bool) for name in known}
