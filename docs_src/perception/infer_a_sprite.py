"""One sprite, two engines, one energy."""

import jax
import jax.numpy as jnp

from homeostat.distributions import Cubature, FullGaussian
from homeostat.environments import Antialiased
from homeostat.inference import infer
from homeostat.inference.engines import NaturalGradient
from homeostat.models.static import SpatialTransformer
from homeostat.objectives import Evidence, FreeEnergy

# A heart of 64 x 64 cells that spans 16 pixels to each side, and the model that moves it about.
heart = Antialiased(size=64, max_scale=2.0).image(jnp.asarray(2), 2.0, 0.0, 32.0, 32.0)
model = SpatialTransformer(heart, log_sigma=jnp.log(0.15))

truth = jnp.asarray([0.4, 0.2, -0.5, 0.8])  # z of scale, angle, x and y
image = model.image(truth)

family = FullGaussian(4)
start = family.from_scale_tril(truth + 0.1, 0.05 * jnp.eye(4))
posterior = infer(
    FreeEnergy(model, Cubature()),
    NaturalGradient(rate=0.7),
    family,
    Evidence(image),
    key=jax.random.key(0),
    params=start,
    num_steps=15,
)
print("free energy", posterior.path_nats[0], "->", posterior.energy_nats, "nats")
assert jnp.allclose(posterior.params.loc, truth, atol=0.02)
