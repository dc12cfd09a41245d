"""A scene of three coloured sprites that hide one another, behind a post, in noise, through a fovea."""

import jax
import jax.numpy as jnp

from homeostat.environments import Fovea, Occluders, Patch, PixelNoise, SpriteScene

scene = SpriteScene(objects=3)
post = Patch(x=30, y=0, width=4, height=64)
world = Fovea(PixelNoise(Occluders(scene, [post]), scale=0.05), window=20, stride=4)

state = world.initial(key=jax.random.key(0))
print("from the farthest to the nearest:", state.world.order, "colours:", state.world.colours.shape)

still = jnp.zeros(12, int)  # four moves for each of three sprites
look_left = jnp.concatenate([still, jnp.array([-1, 0])])
for step in range(3):
    state = world.transition(state, look_left, key=jax.random.key(step))
    seen = world.observation(state, key=jax.random.key(step))
print("window:", seen.window.shape, "centre:", seen.centre)
assert jnp.allclose(seen.centre, jnp.array([32 - 3 * 4, 32]))

picture = world.picture(state)  # all of it, as nobody sees it
hidden = 1 - world.mask(state)
assert picture.shape == (64, 64, 3)
assert hidden.sum() == 64 * 64 - 20 * 20
