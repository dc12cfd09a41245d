"""The core is unbatched: many problems are one `vmap`, and a failed one is a value among the others."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from homeostat import AbstractModel, infer
from homeostat.distributions import Cubature, FullGaussian
from homeostat.inference.engines import NaturalGradient
from homeostat.objectives import Evidence, FreeEnergy
from homeostat.results import RESULTS


class Mixing(AbstractModel):
    """Two sources, three microphones."""

    weights: jax.Array

    def initial(self):
        return dist.Normal(jnp.zeros(2), 1.0).to_event(1)

    def emission(self, state):
        return dist.Normal(self.weights @ state, 0.3).to_event(1)


objective = FreeEnergy(Mixing(jnp.array([[1.0, 0.2], [0.5, -0.5], [0.1, 1.0]])), Cubature())


@eqx.filter_jit
@eqx.filter_vmap
def solve(observation, key):
    engine = NaturalGradient(rate=1.0, keep=0.01)
    return infer(objective, engine, FullGaussian(2), Evidence(observation), key=key, throw=False)


keys = jax.random.split(jax.random.key(0), 1000)
observations = jax.random.normal(jax.random.key(1), (1000, 3)).at[7].set(jnp.nan)
posteriors = solve(observations, keys)

failed = posteriors.result != RESULTS.successful
print(f"{posteriors.params.loc.shape[0]} posteriors, {int(failed.sum())} failed")
assert failed[7] and failed.sum() == 1
