"""Iterative amortized inference on a model whose posterior is known: learn to infer, then infer."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist
import optax

from homeostat.core import AbstractModel
from homeostat.distributions import Antithetic, DiagonalGaussian
from homeostat.inference import infer
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


def loss(engine, x, key):
    """Free energy summed over iterations; the engine lets no gradient pass between them."""
    params, total = family.init(), 0.0
    for step_key in jr.split(key, steps):
        params, _, _ = engine.step(objective, family, params, Evidence(x), None, key=step_key)
        total = total + objective(family(params), Evidence(x), key=step_key)
    return total / steps


@eqx.filter_jit
def update(engine, state, key):
    xs = 2.0 * jr.normal(key, (64, 1))
    keys = jr.split(key, 64)
    value, gradient = eqx.filter_value_and_grad(lambda e: jnp.mean(jax.vmap(lambda x, k: loss(e, x, k))(xs, keys)))(
        engine
    )
    changes, state = optimizer.update(gradient, state)
    return eqx.apply_updates(engine, changes), state, value


state = optimizer.init(eqx.filter(engine, eqx.is_inexact_array))
for step in range(400):
    engine, state, value = update(engine, state, jr.key(step))

x = jnp.asarray([1.5])
posterior = infer(objective, engine, family, Evidence(x), key=jr.key(1), num_steps=10)
print("mean", posterior.params.loc[0], "exact", 8 * 1.5 / 17)
assert abs(float(posterior.params.loc[0]) - 8 * 1.5 / 17) < 0.02
