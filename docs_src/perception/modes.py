"""Which of three shapes, and in which of their rotations? Several starts, weighed by their free energies."""

import equinox as eqx
import jax
import jax.numpy as jnp

from homeostat.distributions import Cubature, FullGaussian
from homeostat.environments import Antialiased
from homeostat.inference import MergeByDivergence, infer_modes
from homeostat.inference.engines import NaturalGradient
from homeostat.models.static import SpatialTransformer, SpriteCoordinates
from homeostat.objectives import Evidence, FreeEnergy

renderer = Antialiased(size=64, max_scale=2.0)
templates = jnp.stack([renderer.image(jnp.asarray(shape), 2.0, 0.0, 32.0, 32.0) for shape in range(3)])
models = eqx.filter_vmap(lambda template: SpatialTransformer(template, log_sigma=jnp.log(0.15)))(templates)

# A small ellipse, turned by 0.3 radians.
image = Antialiased().image(jnp.asarray(1), 0.6, 0.3, 30.0, 41.0)

# Three shapes with four angles each; position and scale start roughly right.
hypothesis = jnp.repeat(jnp.arange(3), 4)
angles = jnp.tile(jnp.asarray([-0.5, 0.0, 0.5, 1.0]), 3)
where = jnp.stack([jnp.full(12, -0.9), angles, jnp.full(12, -0.2), jnp.full(12, 1.0)], axis=1)
family = FullGaussian(4)
starts = jax.vmap(lambda loc: family.from_scale_tril(loc, 0.05 * jnp.eye(4)))(where)

posterior = infer_modes(
    FreeEnergy(models, Cubature()),
    NaturalGradient(rate=0.7),
    family,
    Evidence(image),
    starts,
    key=jax.random.key(0),
    num_steps=30,
    hypothesis=hypothesis,
    merging=MergeByDivergence(periods=SpriteCoordinates().periods),
)
print("shapes:", posterior.hypothesis_probabilities(3))
print(
    "modes with weight:", [(int(h), float(w)) for h, w in zip(hypothesis, posterior.weights, strict=True) if w > 1e-3]
)
assert int(posterior.best_hypothesis) == 1
# An ellipse looks the same after half a turn, so its angle has two modes.
assert int(jnp.sum(posterior.weights > 0.1)) == 2
