"""An encoder gives the start, gradient descent the rest: engines in sequence are an engine."""

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
import optax

from homeostat import AbstractModel, infer
from homeostat.distributions import Cubature, DiagonalGaussian
from homeostat.inference.engines import Direct, Gradient, Chain
from homeostat.objectives import Evidence, FreeEnergy


class Sine(AbstractModel):
    """x = sin(z) + noise."""

    def initial(self):
        return dist.Normal(jnp.zeros(1), 1.0).to_event(1)

    def emission(self, state):
        return dist.Normal(jnp.sin(state), 0.1).to_event(1)


def encoder(evidence):
    """A rough guess in place of a trained network: z = x, with a standard deviation of 0.2."""
    return jnp.concatenate([evidence.observation, jnp.log(jnp.full(1, 0.2))])


objective = FreeEnergy(Sine(), Cubature())
evidence = Evidence(jnp.array([0.8]))
semi_amortized = Chain((Direct(encoder), Gradient(optax.adam(0.05))), num_steps=(1,))
posterior = infer(objective, semi_amortized, DiagonalGaussian(1), evidence, key=jax.random.key(0), num_steps=101)

print(f"after the encoder {posterior.path_nats[1]:.3f} nats, after 100 steps {posterior.energy_nats:.3f} nats")
assert posterior.energy_nats < posterior.path_nats[1]
