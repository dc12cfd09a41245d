"""A thousand episodes at once: 32 steps of random actions, with an image at every step, in one program."""

import jax
import jax.numpy as jnp

from homeostat.environments import DSprites

world = DSprites()


@jax.jit
@jax.vmap
def episode(key):
    start_key, walk_key = jax.random.split(key)

    def step(state, key):
        action_key, move_key, look_key = jax.random.split(key, 3)
        action = jax.random.randint(action_key, (4,), -1, 2)  # scale, orientation, x, y
        after = world.transition(state, action, key=move_key)
        image = world.observation(after, key=look_key)
        return after, (image.mean(), world.reward(state, action, after), world.terminal(after))

    return jax.lax.scan(step, world.initial(key=start_key), jax.random.split(walk_key, 32))


states, (brightness, rewards, reached) = episode(jax.random.split(jax.random.key(0), 1000))
print("last latents of the first episode:", states.latents[0])
print(f"share of pixels that are on: {brightness.mean():.3f}; goals met by chance: {reached.any(axis=1).sum()}")
assert states.latents.shape == (1000, 5)
assert jnp.all((states.latents >= 0) & (states.latents < jnp.array(world.grid.num_classes)))
