"""Where inference starts for models whose templates are not known yet: poses from an image's first moments."""

import jax
import jax.numpy as jnp

from ...models.static import Similarity, SparseTemplate, SpriteCoordinates, sample_template
from ...typing import Array, Float, Scalar
from ._sprites import TEMPLATE_EXTENT, mass_and_centre

TYPICAL_SCALE = 0.75
"""The gauge of size: an image of average mass has the prior's mean scale."""


def moments(image: Float[Array, "n n"], average_mass: Scalar) -> Similarity:
    """Upright pose with the image's mass (scale by its share of the average) and centroid; the middle if it is empty."""
    mass, centre = mass_and_centre(image)
    scale = jnp.clip(TYPICAL_SCALE * jnp.sqrt(jnp.maximum(mass, 1e-3) / average_mass), 0.35, 1.3)
    return Similarity(scale, jnp.zeros_like(scale), centre[0], centre[1])


def recentred(image: Float[Array, "n n"], average_mass: Scalar, cells: int) -> Float[Array, "cells cells"]:
    """The image as a template: its centroid in the middle, its mass brought to scale 1, its angle as it is."""
    found = moments(image, average_mass)
    per_cell = 2.0 * TEMPLATE_EXTENT / cells * found.scale
    half = 0.5 * image.shape[0]
    move = Similarity(
        1.0 / per_cell,
        jnp.zeros_like(found.x),
        0.5 * cells - (found.x - half) / per_cell,
        0.5 * cells - (found.y - half) / per_cell,
    )
    return sample_template(image, move, size=cells, extent=half)


def ring_of_poses(
    image: Float[Array, "n n"], average_mass: Scalar, coordinates: SpriteCoordinates, num_angles: int
) -> Float[Array, "angles 4"]:
    """Poses with the image's moments, at angles all around."""
    found = moments(image, average_mass)
    angles = jnp.arange(num_angles) * (2.0 * jnp.pi / num_angles) - jnp.pi
    return jax.vmap(lambda angle: coordinates.inverse(found._replace(angle=angle)))(angles)


def sparse_candidates(
    model: SparseTemplate, image: Float[Array, "n n"], average_mass: Scalar, num_angles: int
) -> Float[Array, "candidates d"]:
    """Starts for a dictionary: every pose of the ring with every single atom, at the weight that fits its sign best.

    The weight is the least-squares one of the atom on the image brought back to the template's frame.
    """
    poses = ring_of_poses(image, average_mass, model.coordinates, num_angles)
    cells = model.mean.shape[0]
    frame = recentred(image, average_mass, cells)
    middle = jnp.full((), 0.5 * cells, frame.dtype)

    def weights(pose):
        turn = Similarity(jnp.ones_like(middle), -model.coordinates(pose).angle, middle, middle)
        upright = sample_template(frame, turn, size=cells, extent=0.5 * cells) - model.mean
        fit = jnp.einsum("aij,ij->a", model.dictionary, upright) / jnp.sum(model.dictionary**2, axis=(1, 2))
        return jnp.diag(fit)

    single = jax.vmap(weights)(poses)
    both = jnp.broadcast_to(poses[:, None, :], (num_angles, model.num_atoms, 4))
    return jnp.concatenate([both, single], axis=2).reshape(-1, model.dim)
