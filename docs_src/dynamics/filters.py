"""One model and three filters: exact, particles, and variational with any engine."""

import jax
import jax.numpy as jnp

from homeostat import filter, smooth
from homeostat.distributions import FullGaussian
from homeostat.inference import RauchTungStriebel
from homeostat.inference.engines import NaturalGradient
from homeostat.inference.filters import Kalman, Particle, VariationalFilter
from homeostat.models.sequential import LinearGaussian, second_order

# A cart: position and velocity, pushed by an action, its position seen with 0.2 m of noise.
dynamics = second_order(1, step=0.1, damping=0.02, velocity_scale=0.1)
cart = LinearGaussian(jnp.zeros(2), jnp.eye(2), dynamics, jnp.array([[1.0, 0.0]]), 0.2 * jnp.eye(1))
pushes = jnp.sin(jnp.arange(49.0) / 8.0)[:, None]
trajectory = cart.sample(pushes, key=jax.random.key(0))
seen = trajectory.observations.at[20:25].set(jnp.nan)  # Half a second behind a wall.

key = jax.random.key(1)
exact = filter(Kalman(), cart, seen, pushes, key=key)
particles = filter(Particle(5_000), cart, seen[:20], pushes[:19], key=key)
variational = filter(
    VariationalFilter(NaturalGradient(rate=1.0), FullGaussian(2)), cart, seen[:20], pushes[:19], key=key
)
smoothed = smooth(RauchTungStriebel(), cart, seen, pushes)

first = exact.info.free_energy_nats[:20].sum()
print("-log p(x) of the first 20 frames, nats:", first, particles.free_energy_nats, variational.free_energy_nats)
assert abs(variational.free_energy_nats - first) < 1e-2
assert abs(particles.free_energy_nats - first) < 0.5
assert exact.info.free_energy_nats[22] == 0.0  # Nothing was seen, so nothing surprised.


def error(beliefs):
    return jnp.sqrt(jnp.mean((beliefs.loc[:, 0] - trajectory.states[:, 0]) ** 2))


print(f"error of the position: filtered {error(exact.beliefs):.3f} m, smoothed {error(smoothed.beliefs):.3f} m")
assert error(smoothed.beliefs) < error(exact.beliefs) < 0.2
