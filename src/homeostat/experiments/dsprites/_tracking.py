"""Tracking of sprites of known shape: what each image alone says about the pose, with its noise."""

import equinox as eqx
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

RING = 12
"""Angles tried in a first frame, over the range that the shape's symmetry leaves."""


def tracking_models(sigma: float) -> SpatialTransformer:
    """Given-template models of the three shapes, stacked, with edges as soft as those of the images."""
    return sprite_models(sigma, TEMPLATE_EDGE)


@eqx.filter_jit
def track(sprites: SpatialTransformer, images: Float[Array, "n 64 64"], starts: Float[Array, "n 4"]) -> Measurement:
    """What each image says about z near `starts`: natural gradients with a full covariance, less the prior.

    The points of q are its mean alone, which makes each a Gauss-Newton step and the result the Laplace approximation.
    """
    family, engine = FullGaussian(4), NaturalGradient(rate=1.0, expectation=MeanPoint())

    def one(sprite, image, start):
        prior = GaussianMoments(start, TRACKING_WIDTH * jnp.eye(4, dtype=start.dtype))
        posterior = infer(
            FreeEnergy(sprite, MeanPoint()),
            engine,
            family,
            Evidence(image, family(family.from_scale_tril(*prior))),
            key=jr.key(0),
            params=family.from_scale_tril(start, 0.02 * prior.scale_tril),
            num_steps=TRACKING_STEPS,
            throw=False,
        )  # The rules above draw nothing, so the key has no effect.
        return Measurement.from_posterior(gaussian_moments(posterior.distribution), prior)

    return eqx.filter_vmap(one)(sprites, images, starts)


def locate(
    sprites: SpatialTransformer, images: Float[Array, "n 64 64"], shapes: Int[Array, " n"]
) -> Float[Array, "n 4"]:
    """Poses in a first frame: scale and place from the bright pixels, the best of a ring of angles by tracking each."""
    rough = rough_pose(sprites, images)
    turn = angle_period(shapes) / sprites.coordinates.gain[:, 1]
    best = jnp.full(shapes.shape, jnp.inf)
    found = rough
    for index in range(RING):
        start = rough.at[:, 1].add(turn * (index / RING))
        value = track(sprites, images, start).value
        energy = _misfit(sprites, images, value)
        better = energy < best
        found, best = jnp.where(better[:, None], value, found), jnp.where(better, energy, best)
    return found


@eqx.filter_jit
def rough_pose(sprites: SpatialTransformer, images: Float[Array, "n 64 64"]) -> Float[Array, "n 4"]:
    """Poses from the bright pixels, upright."""

    def one(sprite, image):
        mass, centre = mass_and_centre((image > 0.5).astype(image.dtype))
        cell = 2.0 * sprite.extent / sprite.template.shape[0]
        scale = jnp.sqrt(jnp.maximum(mass, 1.0) / (jnp.sum(sprite.template) * cell**2))
        return sprite.coordinates.inverse(Similarity(scale, jnp.zeros_like(mass), centre[0], centre[1]))

    return eqx.filter_vmap(one)(sprites, images)


@eqx.filter_jit
def _misfit(
    sprites: SpatialTransformer, images: Float[Array, "n 64 64"], values: Float[Array, "n 4"]
) -> Float[Array, " n"]:
    """Mean squared difference of images and models; infinite where a value is not finite."""
    error = eqx.filter_vmap(lambda sprite, image, z: jnp.mean((sprite.image(z) - image) ** 2))(sprites, images, values)
    return jnp.where(jnp.isfinite(error), error, jnp.inf)
