"""A nonlinear observation on linear dynamics: compose them, and filter with natural gradients."""

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from homeostat import filter
from homeostat.distributions import FullGaussian
from homeostat.inference.engines import NaturalGradient
from homeostat.inference.filters import VariationalFilter
from homeostat.models.sequential import LinearDynamics, StateSpace


def beacons(place):
    """Distances to three beacons, in metres."""
    corners = jnp.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    return dist.Normal(jnp.sqrt(jnp.sum((place[None, :] - corners) ** 2, axis=1)), 0.1).to_event(1)


walk = LinearDynamics(jnp.eye(2), jnp.eye(2), 0.1 * jnp.eye(2))
model = StateSpace(dist.Normal(jnp.full(2, 5.0), 1.0).to_event(1), walk, beacons)

steps = 0.3 * jnp.stack([jnp.cos(jnp.arange(29.0) / 5.0), jnp.sin(jnp.arange(29.0) / 5.0)], axis=1)
places = walk.rollout(jnp.array([4.5, 5.5]), steps, key=jax.random.key(0))
keys = jax.random.split(jax.random.key(1), 30)
distances = jax.vmap(lambda place, key: model.emission(place).sample(key))(places, keys)

method = VariationalFilter(NaturalGradient(rate=1.0), FullGaussian(2), num_steps=4)
found = filter(method, model, distances, steps, key=jax.random.key(2))
print(f"largest error of the place: {jnp.abs(found.beliefs.loc - places).max():.2f} m")
assert jnp.abs(found.beliefs.loc - places).max() < 0.5
