"""A world behind Gymnasium's functional interface (experimental there): pure functions of state and key."""

from typing import Any, final

import jax.numpy as jnp
import numpy as np
from gymnasium.experimental.functional import FuncEnv

from ...typing import Array, Key, PyTree
from .._world import AbstractSpriteWorld
from ._gymnasium import world_from
from ._spaces import by_name, space_of, to_rgb
from ._stepping import facts


@final
class FunctionalSprites(FuncEnv):
    """The interactive dSprites world as a `FuncEnv`.

    Batch with `transform(jax.vmap)`, compile with `transform(jax.jit)`.

    Actions are members of `action_space`: whole ones are counted from zero.
    """

    def __init__(self, world: AbstractSpriteWorld | None = None, **options: Any):
        """Make an environment from a world, or from options (see `build_world`)."""
        super().__init__()
        self.world = world_from(world, options)
        self.action_space = space_of(self.world.action_spec)
        self.observation_space = space_of(self.world.observation_spec)

    def initial(self, rng: Key, params: None = None) -> PyTree:
        """Draw the first state of an episode."""
        return self.world.initial(key=rng)

    def transition(self, state: PyTree, action: Any, rng: Key, params: None = None) -> PyTree:
        """Draw the next state."""
        return self.world.transition(state, self._decoded(action), key=rng)

    def observation(self, state: PyTree, rng: Key, params: None = None) -> PyTree:
        """Draw what is seen; a named tuple becomes a dictionary, as the space says."""
        seen = self.world.observation(state, key=rng)
        return by_name(seen) if isinstance(seen, tuple) else seen

    def reward(self, state: PyTree, action: Any, next_state: PyTree, rng: Key, params: None = None) -> Array:
        """Reward of a transition."""
        return self.world.reward(state, self._decoded(action), next_state)

    def terminal(self, state: PyTree, rng: Key, params: None = None) -> Array:
        """Whether the task ended."""
        return self.world.terminal(state)

    def state_info(self, state: PyTree, params: None = None) -> dict[str, Array]:
        """Latents, and for a target its latents and the number of steps to it."""
        return facts(self.world, state)

    def transition_info(self, state: PyTree, action: Any, next_state: PyTree, params: None = None) -> dict[str, Array]:
        """`state_info` of the next state."""
        return facts(self.world, next_state)

    def render_init(self, params: None = None, **kwargs: Any) -> tuple[()]:
        """Rendering needs no state."""
        return ()

    def render_image(self, state: PyTree, render_state: tuple[()], params: None = None) -> tuple[tuple[()], np.ndarray]:
        """The whole scene as 8-bit colours."""
        return render_state, to_rgb(self.world.picture(state))

    def render_close(self, render_state: tuple[()], params: None = None) -> None:
        """Nothing to release."""

    def _decoded(self, action: Any) -> Array:
        spec = self.world.action_spec
        return jnp.asarray(action) + int(spec.low) if spec.whole else jnp.asarray(action)
