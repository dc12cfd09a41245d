"""Every level learns from its own errors; a learned precision settles where it is that of the residuals."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import optax

from homeostat.inference import predictive_coding_descent, local_gradients
from homeostat.inference.engines import PredictiveCoding
from homeostat.models.static import ProbabilisticPCA

data_key, key = jr.split(jr.key(0))
factors, noise = jr.split(data_key)
loadings = jr.normal(jr.key(1), (12, 2))
x = jr.normal(factors, (256, 2)) @ loadings.T + 0.5 * jr.normal(noise, (256, 12))


def fixed_length(model):
    """Columns of the loadings as long as at the truth: a point estimate lets them grow while the factors shrink."""
    length = jnp.linalg.norm(model.loadings, axis=0, keepdims=True)
    return eqx.tree_at(lambda m: m.loadings, model, 12**0.5 * model.loadings / length)


start = ProbabilisticPCA(0.1 * jr.normal(jr.key(2), (12, 2)), jnp.zeros(12), jnp.zeros(()))
engine = PredictiveCoding(optax.sgd(0.01))
learner = predictive_coding_descent(fixed_length(start), optax.adam(0.02), engine, num_steps=50, project=fixed_length)
update, state, path = eqx.filter_jit(learner.update), learner.init(key=key), []
for step_key in jr.split(key, 400):
    state, metrics = update(state, x, key=step_key)
    path.append(float(metrics.energy_nats))

z = learner.problem.settle(state.learned, x, key=key)
residual = x - z @ state.learned.loadings.T - state.learned.offset
print(f"energy {path[0]:.2f} -> {path[-1]:.2f} nats")
print(f"learned variance {jnp.exp(2.0 * state.learned.log_sigma):.3f}, of the residuals {jnp.mean(residual**2):.3f}")

# What the loadings learn is -xi_x z^T, a product of what both ends of a connection know.
local = local_gradients(state.learned, x, z).weights.loadings
xi = residual / jnp.exp(2.0 * state.learned.log_sigma)
assert jnp.allclose(local, -xi.T @ z / len(x), atol=1e-4)
assert jnp.allclose(jnp.exp(2.0 * state.learned.log_sigma), jnp.mean(residual**2), rtol=0.02)
