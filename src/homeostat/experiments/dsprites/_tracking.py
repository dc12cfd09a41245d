"""Tracking of sprites of known shape: what each image alone says about the pose, with its noise."""

import jax
import jax.numpy as jnp
import jax.random as jr

from ...distributions import FullGaussian, GaussianMoments, MeanPoint, gaussian_moments
from ...inference import infer
from ...inference.engines import NaturalGradient
from ...models.sequential import Measurement
from ...models.static import Similarity, SpatialTransformer
from ...objectives import Evidence, FreeEnergy
from ...typing import Array, Float, Int
from ._sprites import angle_period, mass_and_centre, sprite_models

TRACKING_WIDTH = 0.5
"""Standard deviation of the prior of one frame about the previous estimate, in units of z. It only has to be wide: it is
divided out of the posterior again."""

TRACKING_STEPS = 6
"""Natural-gradient steps a frame."""

TEMPLATE_EDGE = 3.0
"""Width of the edges of the templates that track, in template cells: 1.1 pixels at the mean scale, as soft as the images'. A
template drawn with edges one of its own cells wide is sharper than the images; its energy is then rough at the scale of a step,
Gauss-Newton steps stall, and the posterior is too narrow."""

LATTICE_SIGMA = 0.3
"""Sigma for the noise-free binary images of the lattice, where it stands for the staircase edges: with it, tracking errors
are as large as the posterior says."""

RING = 12
"""Angles tried in a first frame, over the range that the shape's symmetry leaves."""


def tracking_models(sigma: float) -> SpatialTransformer:
    """Given-template models of the three shapes, stacked, with edges as soft as those of the images."""
    return sprite_models(sigma, TEMPLATE_EDGE)


def track(
    sprite: SpatialTransformer, image: Float[Array, "64 64"], start: Float[Array, "4"], num_steps: int
) -> Measurement:
    """What an image says about z near `start`: natural gradients with a full covariance, less the prior.

    The points of q are its mean alone, which makes each a Gauss-Newton step and the result the Laplace approximation.
    """
    family, engine = FullGaussian(4), NaturalGradient(rate=1.0, expectation=MeanPoint())
    prior = GaussianMoments(start, TRACKING_WIDTH * jnp.eye(4, dtype=start.dtype))
    posterior = infer(
        FreeEnergy(sprite, MeanPoint()),
        engine,
        family,
        Evidence(image, family(family.from_scale_tril(*prior))),
        key=jr.key(0),
        params=family.from_scale_tril(start, 0.02 * prior.scale_tril),
        num_steps=num_steps,
        throw=False,
    )  # The rules above draw nothing, so the key has no effect.
    return Measurement.from_posterior(gaussian_moments(posterior.distribution), prior)


def locate(
    sprite: SpatialTransformer, image: Float[Array, "64 64"], shape: Int[Array, ""], num_steps: int
) -> Float[Array, "4"]:
    """The pose in a first frame: scale and place from the bright pixels, the best of a ring of angles by tracking each."""
    rough = rough_pose(sprite, image)
    turn = angle_period(shape) / sprite.coordinates.gain[1]
    starts = jnp.tile(rough, (RING, 1)).at[:, 1].add(turn * jnp.arange(RING) / RING)
    found = jax.lax.map(lambda start: track(sprite, image, start, num_steps).value, starts)
    found = jnp.where(jnp.all(jnp.isfinite(found), axis=1, keepdims=True), found, starts)
    misfit = jax.vmap(lambda z: jnp.mean((sprite.image(z) - image) ** 2))(found)
    return found[jnp.argmin(misfit)]


def rough_pose(sprite: SpatialTransformer, image: Float[Array, "64 64"]) -> Float[Array, "4"]:
    """A pose from the bright pixels, upright."""
    mass, centre = mass_and_centre((image > 0.5).astype(image.dtype))
    cell = 2.0 * sprite.extent / sprite.template.shape[0]
    scale = jnp.sqrt(jnp.maximum(mass, 1.0) / (jnp.sum(sprite.template) * cell**2))
    return sprite.coordinates.inverse(Similarity(scale, jnp.zeros_like(mass), centre[0], centre[1]))
