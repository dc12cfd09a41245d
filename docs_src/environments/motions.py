"""Real latents and actions: a drifting sprite, and one with velocity."""

import jax
import jax.numpy as jnp

from homeostat.environments import Antialiased, ContinuousMotion, DSprites, SecondOrderMotion

drifting = DSprites(motion=ContinuousMotion(noise=0.2 * jnp.eye(4)), renderer=Antialiased())
pushed = DSprites(motion=SecondOrderMotion(damping=0.0, noise=jnp.zeros((4, 4))), renderer=Antialiased())


def travel(world, actions):
    start = world.initial_at([2.0, 3.0, 0.0, 8.0, 16.0], key=jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), len(actions))

    def step(state, inputs):
        action, key = inputs
        after = world.transition(state, action, key=key)
        return after, after.latents[3]

    return jax.lax.scan(step, start, (actions, keys))[1]


push = jnp.zeros((10, 4)).at[:2, 2].set(1.0)  # along x, in the first two steps only
print("drifting:", jnp.round(travel(drifting, push), 1))
print("pushed:  ", jnp.round(travel(pushed, push), 1))
speed = jnp.diff(travel(pushed, push))
assert jnp.allclose(speed[1:], 0.5), "without damping the sprite coasts"
