"""The data set's own images: used in place of the renderer, or checked against it image by image.

The images come from a file read by `homeostat.data.read_dsprites`; here they are an array of packed bytes.
"""

from collections.abc import Iterator
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..results import BadInputError
from ..typing import Any, Array
from ._grid import CANVAS, NUM_POSITIONS, NUM_SCALES, NUM_SHAPES, ORIGINAL_ORIENTATIONS, SpriteGrid
from ._renderers import AbstractRenderer, PixelExact

_IMAGES = NUM_SHAPES * NUM_SCALES * ORIGINAL_ORIENTATIONS * NUM_POSITIONS**2
_BYTES = CANVAS * CANVAS // 8
_BLOCK = NUM_POSITIONS**2


@final
class ArchiveImages(AbstractRenderer):
    """Looks images up in the data set instead of drawing them: integers on its own lattice, `SpriteGrid(39)`.

    Pass a world with this renderer to compiled functions as an argument (`equinox.filter_jit`): closed over, its 377 MB
    would become a constant of the program.

    Attributes:
        packed: (737280, 512) bytes, `DSpritesArchive.packed`; 377 MB.
    """

    packed: Array = eqx.field(converter=lambda packed: jnp.asarray(_checked(packed)))
    size: int = eqx.field(static=True, default=CANVAS, init=False)

    def image(self, shape, scale, angle, x_pixels, y_pixels):
        raise BadInputError(
            "Expected a renderer that draws any configuration, got `ArchiveImages`, which holds the data set's only: "
            "use `PixelExact` or `Antialiased`."
        )

    def render(self, latents, grid):
        if grid.orientations != ORIGINAL_ORIENTATIONS - 1 or not jnp.issubdtype(latents.dtype, jnp.integer):
            raise BadInputError(
                "Expected integer latents on the data set's own lattice for `ArchiveImages`, got "
                f"{latents.dtype} latents on {grid.orientations} orientations: use `SpriteGrid(39)` and `GridMotion`."
            )
        shape, scale, orientation, x, y = latents
        block = (shape * NUM_SCALES + scale) * ORIGINAL_ORIENTATIONS + orientation
        row = self.packed[(block * NUM_POSITIONS + x) * NUM_POSITIONS + y]
        bits = (row[:, None] >> jnp.arange(7, -1, -1, dtype=jnp.uint8)[None, :]) & jnp.uint8(1)
        return bits.reshape(CANVAS, CANVAS).astype(jnp.float32)


class ArchiveReport(NamedTuple):
    """Outcome of a comparison of the data set with the renderer."""

    images: int
    wrong_images: int
    wrong_pixels: int


def check_archive(packed: Any) -> ArchiveReport:
    """Compare every image of the data set with the pixel-exact renderer.

    Raises:
        BadInputError: if the array has another shape or type.
    """
    packed = _checked(packed)
    wrong_images = wrong_pixels = 0
    for block, rendered in enumerate(render_blocks(SpriteGrid(ORIGINAL_ORIENTATIONS - 1), ORIGINAL_ORIENTATIONS)):
        differing = np.bitwise_count(rendered ^ packed[block * _BLOCK : (block + 1) * _BLOCK]).sum(
            axis=1, dtype=np.int64
        )
        wrong_images += int(np.count_nonzero(differing))
        wrong_pixels += int(differing.sum())
    return ArchiveReport(_IMAGES, wrong_images, wrong_pixels)


def render_blocks(grid: SpriteGrid, orientations: int | None = None) -> Iterator[np.ndarray]:
    """Packed pixel-exact images, one array of 1,024 positions x 512 bytes for each shape, scale and orientation.

    Args:
        orientations: how many orientation classes to run through; those beyond the ring repeat its beginning.
    """
    for shape in range(NUM_SHAPES):
        for scale in range(NUM_SCALES):
            for orientation in range(orientations or grid.orientations):
                yield render_block(grid, shape, scale, orientation)


def render_block(grid: SpriteGrid, shape: int, scale: int, orientation: int) -> np.ndarray:
    """Packed pixel-exact images of one shape, scale and orientation at all positions, uint8 of shape (1024, 512)."""
    x, y = np.divmod(np.arange(_BLOCK, dtype=np.int32), NUM_POSITIONS)
    fixed = [np.full(_BLOCK, value, np.int32) for value in (shape, scale, orientation % grid.orientations)]
    return np.asarray(_render_packed(jnp.asarray(np.stack([*fixed, x, y], axis=1)), grid))


@eqx.filter_jit
def _render_packed(latents: Array, grid: SpriteGrid) -> Array:
    images = jax.vmap(lambda configuration: PixelExact().render(configuration, grid))(latents)
    return jnp.packbits(images.reshape(len(images), -1).astype(bool), axis=1)


def _checked(packed: Any) -> Any:
    if getattr(packed, "shape", None) != (_IMAGES, _BYTES) or packed.dtype != np.uint8:
        raise BadInputError(
            f"Expected the packed dSprites images, shape {(_IMAGES, _BYTES)} and type uint8 (see "
            f"`homeostat.data.read_dsprites`), got shape {getattr(packed, 'shape', None)} and "
            f"type {getattr(packed, 'dtype', type(packed).__name__)}. These images are not dSprites."
        )
    return packed
