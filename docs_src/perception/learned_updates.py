"""Iterative amortized inference on a model whose posterior is known: learn to infer, then infer."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist
import optax

from homeostat.core import AbstractModel
from homeostat.distributions import Antithetic, DiagonalGaussian
from homeostat.inference import ModelWithEngine, energy_descent, infer
from homeostat.inference.engines import Estimate, Iterative, Residual, WeightedErrors
from homeostat.nn import HighwayMLP
from homeostat.objectives import Evidence, FreeEnergy


class Scaled(AbstractModel):
    """x = 2 z + noise, so that z given x has mean 8 x / 17 and variance 1 / 17."""

    def initial(self):
        return dist.Normal(jnp.zeros(1), 1.0).to_event(1)

    def emission(self, state):
        return dist.Normal(2.0 * state, 0.5).to_event(1)


family, objective, steps = DiagonalGaussian(1), FreeEnergy(Scaled(), Antithetic(4)), 5
network = HighwayMLP(4, 2, 32, 1, key=jr.key(0), output_gain=0.1)
engine = Iterative(network, (Estimate(), WeightedErrors()), Residual())
optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, 400))


# The free energy, averaged over iterations; the engine lets no gradient pass between them.
problem = lambda model, x: (objective, Evidence(x))  # noqa: E731
learner = energy_descent(problem, ModelWithEngine(None, engine), family, optimizer, steps)
update, state = eqx.filter_jit(learner.update), learner.init(key=jr.key(0))
for step in range(400):
    key = jr.key(step)
    state, metrics = update(state, 2.0 * jr.normal(key, (64, 1)), key=key)
engine = state.learned.engine

x = jnp.asarray([1.5])
posterior = infer(objective, engine, family, Evidence(x), key=jr.key(1), num_steps=10)
print("mean", posterior.params.loc[0], "exact", 8 * 1.5 / 17)
assert abs(float(posterior.params.loc[0]) - 8 * 1.5 / 17) < 0.02
