"""What looking is worth: a particle belief, an observation that depends on where the agent looks, and its information."""

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from homeostat.core import AbstractMarkovModel
from homeostat.inference.filters import ParticleBelief
from homeostat.objectives import FiniteOutcomes, NestedMonteCarlo


class Boxes(AbstractMarkovModel):
    """A thing is in one of four boxes; state (box, where the agent looks). A look tells, 9 times in 10, if it is there."""

    def initial(self):
        return dist.Uniform(jnp.zeros(2), jnp.full(2, 4.0)).to_event(1)

    def transition(self, state, action):
        return dist.Delta(jnp.array([state[0], action]), event_dim=1)

    def emission(self, state):
        return dist.Bernoulli(jnp.where(state[0] == state[1], 0.9, 0.1))


weights = jnp.array([0.4, 0.4, 0.2, 0.0])
for look in range(4):
    states = jnp.stack([jnp.arange(4.0), jnp.full(4, float(look))], axis=1)
    belief = ParticleBelief(states, jnp.log(weights))
    exact = FiniteOutcomes().information(Boxes(), belief, key=jax.random.key(0)).epistemic_nats
    sampled = NestedMonteCarlo(2_000).information(Boxes(), belief, key=jax.random.key(0)).epistemic_nats
    print(f"looking into box {look} is worth {exact:.3f} nats (sampled: {sampled:.3f})")
    assert abs(exact - sampled) < 0.05
    # Where the thing cannot be there is nothing to learn.
    assert (exact < 1e-6) == (look == 3)
