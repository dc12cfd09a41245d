"""A network that reads sequences of different lengths and gives their posterior paths at once."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from homeostat import smooth
from homeostat.inference import smoothing_descent
from homeostat.inference import ModelWithEngine
from homeostat.inference.engines import Direct
from homeostat.inference.smoothers import ProductForm, Structured
from homeostat.models.sequential import LinearDynamics, LinearGaussian
from homeostat.objectives import PathEvidence

truth = LinearGaussian(
    jnp.zeros(1), jnp.eye(1), LinearDynamics(0.9 * jnp.eye(1), None, 0.5 * jnp.eye(1)), jnp.eye(1), 0.7 * jnp.eye(1)
)
values = jax.vmap(lambda k: truth.sample(jnp.zeros((19, 0)), key=k).observations)(jr.split(jr.key(0), 32))
lengths = jnp.arange(32) % 10 + 11
batch = jax.vmap(PathEvidence.of, in_axes=(0, None, 0))(values, None, lengths)

start = LinearGaussian(jnp.zeros(1), jnp.eye(1), LinearDynamics(jnp.zeros((1, 1))), jnp.eye(1), jnp.eye(1))
recognition = ProductForm.networks(1, 1, width=8, key=jr.key(1))
learner = smoothing_descent(ModelWithEngine(start, Direct(recognition)), optax.adam(1e-2))
state = learner.init(key=jr.key(2))
arrays, static = eqx.partition(state, eqx.is_array)


@jax.jit
def train(arrays, keys):
    def body(arrays, key):
        new, metrics = learner.update(eqx.combine(arrays, static), batch, key=key)
        return eqx.filter(new, eqx.is_array), metrics

    return jax.lax.scan(body, arrays, keys)


arrays, metrics = train(arrays, jr.split(jr.key(3), 600))
learned = eqx.combine(arrays, static).learned
free = metrics.free_energy_nats
print(f"free energy: {free[:20].mean():.2f} nats a step at first, {free[-100:].mean():.2f} at the end")
print(f"A = {learned.model.dynamics.matrix[0, 0]:.2f}")
assert free[-100:].mean() < free[:20].mean() - 0.2
assert learned.model.dynamics.matrix[0, 0] > 0.5

found = smooth(Structured(learned.engine, 1), learned.model, values[0], key=jr.key(4))
exact = smooth(Structured(num_steps=1), learned.model, values[0], key=jr.key(4))
print(f"amortized {found.free_energy_nats:.2f} nats, exact {exact.free_energy_nats:.2f}")
assert exact.free_energy_nats <= found.free_energy_nats < exact.free_energy_nats + 3.0
