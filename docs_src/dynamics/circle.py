"""An angle that is measured modulo a turn, followed on the line."""

import jax
import jax.numpy as jnp

from homeostat import filter
from homeostat.inference.filters import Kalman
from homeostat.models.sequential import LinearDynamics, LinearGaussian, Periodic

# A wheel that turns by 0.3 turns a step; the angle is measured in turns, between -1/2 and 1/2.
wheel = LinearGaussian(
    jnp.zeros(1),
    0.1 * jnp.eye(1),
    LinearDynamics(jnp.eye(1), jnp.eye(1), 0.02 * jnp.eye(1)),
    jnp.eye(1),
    0.05 * jnp.eye(1),
)
turns = jnp.full((39, 1), 0.3)
trajectory = wheel.sample(turns, key=jax.random.key(0))
period = Periodic([1.0])
measured = period.wrap(trajectory.observations)

wrapped = filter(Kalman(period), wheel, measured, turns, key=jax.random.key(1))
naive = filter(Kalman(), wheel, measured, turns, key=jax.random.key(1))
print(f"after 39 steps: {wrapped.beliefs.loc[-1, 0]:.2f} turns (true: {trajectory.states[-1, 0]:.2f})")
print(f"free energy: {wrapped.free_energy_nats:.1f} nats; without the period {naive.free_energy_nats:.1f}")
assert jnp.abs(wrapped.beliefs.loc - trajectory.states).max() < 0.2
assert naive.free_energy_nats > wrapped.free_energy_nats + 100.0
