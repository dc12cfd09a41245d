"""Starts and multi-start inference for models whose templates are not known yet."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ...core import AbstractEngine
from ...distributions import Cubature, FullGaussian, FullGaussianParams
from ...inference import infer
from ...inference.engines import NaturalGradient
from ...models.static import (
    Similarity,
    SparseTemplate,
    SpatialTransformer,
    SpriteCoordinates,
    sample_template,
    stack_models,
)
from ...objectives import Evidence, FreeEnergy
from ...typing import Array, Float, Key, Scalar
from .._protocol import AbstractRunContext
from ._sprites import TEMPLATE_EXTENT

TYPICAL_SCALE = 0.75
"""The gauge of size: an image of average mass has the prior's mean scale."""

SOFT_SIGMA = 0.15
"""Pixel noise under which starts are ranked and inference begins."""


class Blob(NamedTuple):
    """An image's first moments: s by its mass against the average, and its centroid in pixels."""

    scale: Scalar
    x: Scalar
    y: Scalar


def blob(image: Float[Array, "n n"], average_mass: Scalar) -> Blob:
    """Where the image's mass is; the middle of the canvas if there is none."""
    mass = jnp.maximum(jnp.sum(image), 1e-3)
    ticks = jnp.arange(image.shape[0], dtype=image.dtype) + 0.5
    x, y = jnp.sum(image, axis=0) @ ticks / mass, jnp.sum(image, axis=1) @ ticks / mass
    return Blob(jnp.clip(TYPICAL_SCALE * jnp.sqrt(mass / average_mass), 0.35, 1.3), x, y)


def recentred(image: Float[Array, "n n"], average_mass: Scalar, cells: int) -> Float[Array, "cells cells"]:
    """The image as a template: its centroid in the middle, its mass brought to scale 1, its angle as it is."""
    found = blob(image, average_mass)
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
    found = blob(image, average_mass)
    angles = jnp.arange(num_angles) * (2.0 * jnp.pi / num_angles) - jnp.pi
    return jax.vmap(lambda angle: coordinates.inverse(Similarity(found.scale, angle, found.x, found.y)))(angles)


def template_candidates(
    model: SpatialTransformer, image: Float[Array, "n n"], average_mass: Scalar, num_angles: int
) -> Float[Array, "candidates 4"]:
    """Starts for one template: a ring of poses."""
    return ring_of_poses(image, average_mass, model.coordinates, num_angles)


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


def softened(model: SpatialTransformer | SparseTemplate) -> SpatialTransformer | SparseTemplate:
    """The same model with at least `SOFT_SIGMA` of noise."""
    return eqx.tree_at(lambda m: m.log_sigma, model, jnp.maximum(model.log_sigma, jnp.log(SOFT_SIGMA)))


class Explained(NamedTuple):
    """The best q of each image and its free energy in nats."""

    params: FullGaussianParams
    free_energy_nats: Float[Array, " images"]


def explain(
    model: SpatialTransformer | SparseTemplate,
    images: Float[Array, "images ..."],
    candidates,
    *,
    key: Key,
    engine: AbstractEngine = NaturalGradient(rate=0.7),
    num_starts: int = 2,
    num_steps: int = 6,
    batch_size: int = 16,
) -> Explained:
    """Infer every image from its best starts, and keep the end with the least free energy.

    The first half of the steps assumes noise of at least `SOFT_SIGMA`: a model that has learned little noise has a rough
    energy, whose optima are then looked for where they are broad.

    Args:
        model: explains the images.
        images: one after another.
        candidates: `candidates(model, image)` gives starting points, one per row; those of least energy are used.
        key: random key.
        engine: runs from every start.
        num_starts: starts used for each image.
        num_steps: engine steps from each; an even number.
        batch_size: images worked on at once.
    """

    # Scanned over, because two loops in a row would take twice as long to compile.
    both = stack_models((softened(model), model))

    def one(args):
        image, key = args
        evidence = Evidence(image)
        soft = FreeEnergy(softened(model), Cubature())
        points = candidates(model, image)
        energies = jax.vmap(lambda z: soft.pointwise(z, evidence, key=key))(points)
        _, best = jax.lax.top_k(-energies, num_starts)
        family = FullGaussian(points.shape[1])

        def phase(params, model):
            objective = FreeEnergy(model, Cubature())
            end = infer(
                objective, engine, family, evidence, key=key, params=params, num_steps=(num_steps + 1) // 2, throw=False
            )
            return end.params, end.energy_nats

        def from_start(z):
            # A tenth of a pixel or so: narrow enough to stay in the basin where the start lies.
            params = family.from_scale_tril(z, 0.02 * jnp.eye(z.shape[0], dtype=z.dtype))
            params, (_, energy) = jax.lax.scan(phase, params, both)
            return params, jnp.where(jnp.isfinite(energy), energy, jnp.inf)

        ends, energy = jax.vmap(from_start)(points[best])
        chosen = jnp.argmin(energy)
        return Explained(jax.tree.map(lambda leaf: leaf[chosen], ends), energy[chosen])

    keys = jr.split(key, images.shape[0])
    return jax.lax.map(one, (images, keys), batch_size=min(batch_size, images.shape[0]))


def explain_stage(
    name: str,
    context: AbstractRunContext,
    model: SpatialTransformer | SparseTemplate,
    images: Float[Array, "images 64 64"],
    candidates,
    *,
    key: Key,
    **options,
) -> Explained:
    """`explain` as a stage of a run; options as there."""
    compute = eqx.filter_jit(lambda model, images, key: explain(model, images, candidates, key=key, **options))
    return context.stage(name, lambda key: compute(model, images, key), key=key)


def template_leaves(model: SpatialTransformer) -> SpatialTransformer:
    """What is learned of a sprite model: its template and its noise."""
    nothing = jax.tree.map(lambda leaf: False, model)
    return eqx.tree_at(lambda m: (m.template, m.log_sigma), nothing, (True, True))


def bounded(model: SpatialTransformer) -> SpatialTransformer:
    """Templates are intensities in [0, 1], and the noise stays above 1 %, so that no perfect image drives it to zero."""
    values = (jnp.clip(model.template, 0.0, 1.0), jnp.maximum(model.log_sigma, jnp.log(0.01)))
    return eqx.tree_at(lambda m: (m.template, m.log_sigma), model, values)


class Alignment(NamedTuple):
    """A template moved onto another, and their correlation over all cells.

    Attributes:
        template: the moved template.
        correlation: Pearson's.
    """

    template: Float[Array, "n n"]
    correlation: Scalar


def align(template: Float[Array, "m m"], target: Float[Array, "n n"], *, key: Key, num_angles: int = 24) -> Alignment:
    """Undo the gauge: move a template by the similarity transform that explains `target` best.

    A template and the poses of all images are only defined up to one common similarity transform; it is found by inference,
    with the target as the image.
    """
    num = target.shape[0]
    coordinates = SpriteCoordinates((1.0, 0.0, 0.5 * num, 0.5 * num), (0.2, jnp.pi, 0.1 * num, 0.1 * num))
    sigma = jnp.asarray(0.1, target.dtype)
    model = SpatialTransformer(template, jnp.log(sigma), coordinates, size=num, extent=0.5 * num)
    # Masses of both in the target's cells give the start in scale.
    mass = jnp.sum(template) * (num / template.shape[0]) ** 2

    def candidates(model, image):
        return ring_of_poses(image, mass * TYPICAL_SCALE**2, coordinates, num_angles)

    found = explain(model, target[None], candidates, key=key, num_starts=3, num_steps=12)
    moved = model.image(found.params.loc[0])
    return Alignment(moved, jnp.corrcoef(jnp.stack([moved.ravel(), target.ravel()]))[0, 1])
