"""Learn a template from images of it, by variational expectation maximisation."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from homeostat.distributions import FullGaussian
from homeostat.environments import Antialiased
from homeostat.inference import IndexedData, variational_em
from homeostat.inference.engines import NaturalGradient
from homeostat.models.static import SpatialTransformer
from homeostat.train import InMemoryLoader, fit

# Images of a heart at known rough poses (a real data set brings its own starts).
heart = Antialiased(size=32, max_scale=2.0).image(jnp.asarray(2), 2.0, 0.0, 32.0, 32.0)
truth = SpatialTransformer(heart, log_sigma=jnp.log(0.1))
poses = jnp.asarray([0.6, 0.3, 1.0, 1.0]) * jr.normal(jr.key(0), (16, 4))
images = jax.vmap(truth.image)(poses) + 0.1 * jr.normal(jr.key(1), (16, 64, 64))

family = FullGaussian(4)
start = jax.vmap(lambda z: family.from_scale_tril(z, 0.05 * jnp.eye(4)))(poses)
blurred = jax.image.resize(jax.image.resize(heart, (8, 8), "linear"), (32, 32), "linear")
model = SpatialTransformer(blurred, log_sigma=jnp.log(0.3))


def learnable(model):
    nothing = jax.tree.map(lambda leaf: False, model)
    return eqx.tree_at(lambda m: (m.template, m.log_sigma), nothing, (True, True))


learner = variational_em(model, start, NaturalGradient(rate=0.7), family, optax.adam(0.05), learnable)
data = IndexedData(images, jnp.arange(16))
learned = fit(learner, InMemoryLoader(data, 16), num_steps=30, key=jr.key(2), every=10).state.learned


def correlation(template):
    return float(jnp.corrcoef(template.ravel(), heart.ravel())[0, 1])


print(f"correlation with the truth: {correlation(blurred):.3f} -> {correlation(learned.template):.3f}")
print(f"noise: 0.300 -> {float(jnp.exp(learned.log_sigma)):.3f} (true 0.100)")
assert correlation(learned.template) > max(correlation(blurred), 0.95)
