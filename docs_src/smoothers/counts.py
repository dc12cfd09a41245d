"""Spike counts of ten neurons driven by a hidden rotation: one posterior over the whole path, by three engines."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist

from homeostat import smooth
from homeostat.inference.engines import PathNaturalGradient, PathNewton
from homeostat.inference.filters import Particle
from homeostat.inference.smoothers import ParticleSmoother, Structured
from homeostat.models.sequential import LinearDynamics, PoissonEmission, StateSpace

turn = 0.97 * jnp.array([[jnp.cos(0.2), -jnp.sin(0.2)], [jnp.sin(0.2), jnp.cos(0.2)]])
dynamics = LinearDynamics(turn, None, 0.2 * jnp.eye(2))
tuning = jr.normal(jr.key(0), (10, 2))
first = dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2))
model = StateSpace(first, dynamics, PoissonEmission.linear(tuning, -0.5 * jnp.ones(10)))

state_key, count_key, key = jr.split(jr.key(1), 3)
states = dynamics.rollout(jnp.array([1.0, 0.0]), jnp.zeros((59, 0)), key=state_key)
counts = jax.vmap(lambda z, k: model.emission(z).sample(k))(states, jr.split(count_key, 60)).astype(float)
counts = counts.at[30:35].set(jnp.nan)  # The recording failed for a while.

natural = smooth(Structured(PathNaturalGradient(), num_steps=8), model, counts, key=key)
laplace = smooth(Structured(PathNewton(), num_steps=8), model, counts, key=key)
particles = smooth(ParticleSmoother(Particle(2_000), 500), model, counts, key=key)

print(f"-log p(x) < {natural.free_energy_nats:.2f} (natural gradient), {laplace.free_energy_nats:.2f} (Laplace) nats")
print(f"estimated by particles: {-particles.log_evidence_nats:.2f} nats")
assert natural.free_energy_nats <= laplace.free_energy_nats + 0.01
assert abs(natural.free_energy_nats + particles.log_evidence_nats) < 2.0

deviation = jnp.sqrt(jnp.diagonal(natural.beliefs.covariance, axis1=1, axis2=2))
print(f"widest at step {int(jnp.argmax(deviation[:, 0]))}, where nothing was seen")
assert 29 <= jnp.argmax(deviation[:, 0]) <= 35
assert jnp.mean(((natural.beliefs.loc - states) / deviation) ** 2) < 2.0
assert jnp.abs((particles.mean - natural.beliefs.loc) / deviation).mean() < 0.2

again = natural.path.sample(jr.key(2), (100,))  # Whole paths, not only single steps.
assert again.shape == (100, 60, 2)
