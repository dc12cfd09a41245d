"""What the dSprites experiments share: configurations, the sprite models, and errors up to symmetry."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ...environments import SYMMETRY_ORDER, Antialiased, PixelExact, SpriteGrid
from ...models.static import Similarity, SpatialTransformer, SpriteCoordinates
from ...results import BadInputError
from ...typing import Array, Bool, Float, Int, Key, Scalar

NUM_SHAPES = len(SYMMETRY_ORDER)
HEART = 2
SIGMA = 0.15
"""Standard deviation of a pixel under the sprite models. It covers the difference between the binary pictures and the model's
grey edges, which is not noise: smaller values make the posterior sharper than that difference allows."""

TEMPLATE_CELLS = 64
TEMPLATE_EXTENT = 16.0
"""Half side of a template in canvas pixels at scale 1; the sprites reach 13.6."""

Images = Float[Array, "shapes n size size"]
"""Pictures of every shape."""

CLASS_STEP = (0.1 / 0.171, 2.0 / 40.0, 32.0 / 31.0 / 9.24, 32.0 / 31.0 / 9.24)
"""One class of scale, orientation and position in the units of z (see `SpriteCoordinates`)."""

LAST_CLASS = (5.0, math.inf, 31.0, 31.0)
"""Largest class of each factor; orientation has no end. The smallest is 0 (for orientation, none)."""


def split_configurations(
    num_held_out: int, *, key: Key, grid: SpriteGrid = SpriteGrid()
) -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " held_out"]]:
    """Flat indices for training and for testing: random configurations are held out under every name of their picture.

    A square looks the same after a quarter turn: held-out pictures are excluded from training under all their names.
    """
    total = int(np.prod(grid.num_classes))
    if not 0 < num_held_out < total:
        raise BadInputError(f"Expected between 1 and {total - 1} held-out configurations, got {num_held_out}.")
    held_out = np.asarray(jr.choice(key, total, (num_held_out,), replace=False))
    classes = np.stack(np.unravel_index(np.arange(total), grid.num_classes), axis=1)
    periods = np.asarray([int(grid.orientation_period(jnp.asarray(shape))) for shape in range(grid.num_classes[0])])
    classes[:, 2] %= periods[classes[:, 0]]
    picture = np.ravel_multi_index(classes.T, grid.num_classes)
    seen = np.zeros(total, bool)
    seen[np.take(picture, held_out)] = True
    return np.flatnonzero(~np.take(seen, picture)).astype(np.int32), held_out.astype(np.int32)


def latents_at(index: Int[Array, "*n"], grid: SpriteGrid = SpriteGrid()) -> Int[Array, "*n 5"]:
    """Classes [shape, scale, orientation, x, y] of flat indices."""
    return jnp.stack(jnp.unravel_index(index, grid.num_classes), axis=-1).astype(jnp.int32)


def by_shape(index: Int[Array, " n"], grid: SpriteGrid = SpriteGrid()) -> Int[Array, "shapes m"]:
    """Flat indices in one row for each shape, cut to the length of the shortest."""
    shape = index // math.prod(grid.num_classes[1:])
    rows = [index[shape == k] for k in range(NUM_SHAPES)]
    return jnp.stack([row[: min(len(r) for r in rows)] for row in rows])


def render(latents: Int[Array, "n 5"], grid: SpriteGrid = SpriteGrid()) -> Float[Array, "n 64 64"]:
    """Pixel-exact pictures of configurations."""
    return jax.vmap(lambda one: PixelExact().render(one, grid))(latents)


def similarity_of(latents: Array, grid: SpriteGrid = SpriteGrid()) -> Similarity:
    """Scale, angle and centre of a configuration in class units, shape (5,)."""
    x, y = jnp.unstack(grid.centre(latents), axis=-1)
    return Similarity(grid.scale(latents), grid.angle(latents), x, y)


def in_classes(coordinates: SpriteCoordinates, z: Float[Array, "4"]) -> Float[Array, "4"]:
    """Scale, orientation (on the cover), x and y in class units."""
    origin = jnp.stack([jnp.asarray(part, z.dtype) for part in similarity_of(jnp.zeros(5, z.dtype))])
    return (jnp.stack(coordinates(z)) - origin) / (coordinates.gain * jnp.asarray(CLASS_STEP, z.dtype))


def sprite_templates(cells: int = TEMPLATE_CELLS, edge: float = 1.0) -> Float[Array, "3 cells cells"]:
    """The three given templates with edges `edge` cells wide; they span `TEMPLATE_EXTENT` to each side at scale 1."""
    zoom = 32.0 / TEMPLATE_EXTENT
    renderer = Antialiased(size=cells, max_scale=zoom, edge_width=edge)
    return jnp.stack([renderer.image(jnp.asarray(k), zoom, 0.0, 32.0, 32.0) for k in range(NUM_SHAPES)])


def sprite_models(sigma: float = SIGMA, edge: float = 1.0) -> SpatialTransformer:
    """Given-template models of square, ellipse and heart, stacked: every array has a leading axis of three."""
    templates = sprite_templates(edge=edge)
    log_sigma = jnp.log(jnp.asarray(sigma, templates.dtype))
    return eqx.filter_vmap(lambda t: SpatialTransformer(t, log_sigma=log_sigma, extent=TEMPLATE_EXTENT))(templates)


def mass_and_centre(image: Float[Array, "n n"]) -> tuple[Scalar, Float[Array, "2"]]:
    """Sum of the values, and their centroid (x, y) in cells from the top left edge; the middle if there is no mass."""
    num = image.shape[0]
    mass = jnp.sum(image)
    ticks = jnp.arange(num, dtype=image.dtype) + 0.5
    moments = jnp.stack([jnp.sum(image, axis=0) @ ticks, jnp.sum(image, axis=1) @ ticks])
    return mass, jnp.where(mass > 1e-3, moments / jnp.maximum(mass, 1e-3), 0.5 * num)


def angle_period(shape: Int[Array, "*n"]) -> Float[Array, "*n"]:
    """Radians after which the picture of a shape repeats."""
    return 2.0 * jnp.pi / jnp.asarray(SYMMETRY_ORDER, float)[shape]


def decoding_errors(classes: Float[Array, "n 4"], latents: Int[Array, "n 5"]) -> Float[Array, "n 4"]:
    """Absolute errors of decoded poses, up to symmetry, in the units of the factors.

    Scale, which spans 0.5 to 1; rotation in degrees; x and y, which span 0 to 1 (32 pixels).
    """
    return jnp.abs(class_errors(classes, latents)) * jnp.asarray([[0.1, 9.0, 1.0 / 31.0, 1.0 / 31.0]])


def within_tolerance(errors: Float[Array, "n 4"]) -> Bool[Array, " n"]:
    """Scale within 0.05, rotation within 9 degrees and position within 1/32."""
    return jnp.all(errors <= jnp.asarray([[0.05, 9.0, 1.0 / 32.0, 1.0 / 32.0]]), axis=1)


def class_errors(found: Float[Array, "n 4"], latents: Int[Array, "n 5"] | Float[Array, "n 5"]) -> Float[Array, "n 4"]:
    """Differences of scale, orientation, x and y in class units, orientation up to the shape's symmetry."""
    error = found - latents[:, 1:]
    period = 40.0 / jnp.asarray(SYMMETRY_ORDER)[latents[:, 0].astype(int)]
    return error.at[:, 1].add(-period * jnp.round(error[:, 1] / period))
