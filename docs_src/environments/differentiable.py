"""Fit a sprite to an image by gradient descent through the antialiased renderer."""

import jax
import jax.numpy as jnp

from homeostat.environments import Antialiased

heart = jnp.array(2)
renderer = Antialiased(edge_width=3.0)  # wide edges pull from farther away
truth = jnp.array([0.8, 1.0, 30.0, 34.0])  # scale, angle in radians, x and y in pixels
target = renderer.image(heart, *truth)
unit = jnp.array([0.1, 0.3, 2.0, 2.0])


@jax.jit
def descend(pose):
    def step(pose, _):
        error, slope = jax.value_and_grad(lambda p: jnp.sum((renderer.image(heart, *p) - target) ** 2))(pose)
        return pose - 0.003 * unit**2 * slope, error

    return jax.lax.scan(step, pose, length=400)


found, errors = descend(truth + jnp.array([0.1, 0.3, 2.0, -1.5]))
print(f"squared error {errors[0]:.1f} -> {errors[-1]:.5f}; pose {jnp.round(found, 3)}")
assert jnp.allclose(found, truth, atol=0.02)

large = Antialiased(size=512).image(heart, *truth)
assert large.shape == (512, 512)
