"""Explain a scene of two coloured sprites, one covering the other, by their poses."""

import jax
import jax.numpy as jnp
import jax.random as jr

from homeostat.distributions import Antithetic, Cubature, FullGaussian
from homeostat.environments import Antialiased
from homeostat.inference import infer_modes
from homeostat.inference.engines import NaturalGradient
from homeostat.models.static import ExplainingAway, OccludedSprites, Similarity
from homeostat.objectives import Evidence, FreeEnergy

renderer = Antialiased(size=32, max_scale=2.0)
templates = jnp.stack([renderer.image(jnp.asarray(shape), 2.0, 0.0, 32.0, 32.0) for shape in (1, 2)])
colours = jnp.asarray([[0.2, 0.8, 0.3], [1.0, 0.2, 0.2]])
model = OccludedSprites(templates, colours, jnp.arange(2), jnp.zeros(3), log_sigma=jnp.log(0.1))

places = jnp.asarray([[26.0, 30.0], [36.0, 34.0]])
poses = [Similarity(*map(jnp.asarray, (0.9, 0.4, x, y))) for x, y in places]
truth = jnp.concatenate([model.coordinates.inverse(pose) for pose in poses])
image = model.emission(truth).sample(jr.key(0))

# One start for every order in which the objects may explain the image away.
starts = ExplainingAway()(model, image)
family = FullGaussian(model.dim)
narrow = jax.vmap(lambda z: family.from_scale_tril(z, 0.02 * jnp.eye(model.dim)))(starts)
found = infer_modes(
    FreeEnergy(model, Cubature()), NaturalGradient(rate=0.7, expectation=Antithetic(3)), family, Evidence(image), narrow,
    key=jr.key(1), num_steps=8,
)  # fmt: skip

for name, z, place in zip(("ellipse", "heart"), found.best_params.loc.reshape(2, 4), places, strict=True):
    pose = model.coordinates(z)
    print(f"{name}: x {float(pose.x):.2f}, y {float(pose.y):.2f} (true {place[0]:.2f}, {place[1]:.2f})")
    assert abs(pose.x - place[0]) < 0.5 and abs(pose.y - place[1]) < 0.5
