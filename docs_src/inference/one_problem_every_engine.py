"""One free energy, one family, and engines that differ in one line."""

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
import optax

from homeostat import AbstractModel, infer
from homeostat.distributions import Cubature, DiagonalGaussian
from homeostat.inference.engines import CrossEntropy, Gradient, NaturalGradient
from homeostat.objectives import Evidence, FreeEnergy


class Thermometer(AbstractModel):
    """The temperature of a room [degrees C], and three thermometers that read it with 0.5 degrees of noise."""

    def initial(self):
        return dist.Normal(jnp.full(1, 20.0), 5.0).to_event(1)

    def emission(self, state):
        return dist.Normal(jnp.broadcast_to(state, (3,)), 0.5).to_event(1)


objective = FreeEnergy(Thermometer(), Cubature())
evidence = Evidence(jnp.array([18.1, 18.9, 18.3]))
family = DiagonalGaussian(1)
start = family.from_moments(jnp.full(1, 20.0), jnp.full((1, 1), 25.0))  # The prior.

engines = {
    "natural gradient": (NaturalGradient(rate=1.0, keep=0.01), 1),
    "Adam": (Gradient(optax.adam(0.3)), 300),
    "cross entropy": (CrossEntropy(population=512, elites=64), 4),
}
for name, (engine, steps) in engines.items():
    posterior = infer(objective, engine, family, evidence, key=jax.random.key(0), params=start, num_steps=steps)
    print(f"{name:17s} {posterior.distribution.mean[0]:.2f} degrees, {posterior.energy_nats:.3f} nats")
    assert abs(posterior.distribution.mean[0] - 18.438) < 0.05
