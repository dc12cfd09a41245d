"""Videos of sprites that fly, turn and grow under random pushes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ..typing import Array, Float, Key
from ._dsprites import DSprites, SpriteState
from ._motion import SecondOrderMotion


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
