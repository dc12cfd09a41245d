"""Renderers turn a configuration into an image; the pixel-exact one reproduces the original data set bit for bit."""

import abc
from typing import final

import equinox as eqx
import jax.numpy as jnp

from ..typing import Array, Float, Int
from ._grid import CANVAS, NUM_SCALES, SpriteGrid
from ._outlines import padded_outlines, place
from ._rasteriser import WINDOW, fill_polygon, fill_window
from ._snapping import ORIGIN, POSITION_OFFSETS, SUBPIXELS, snapped_vertices


class AbstractRenderer(eqx.Module):
    """Draws one sprite on a black canvas."""

    size: eqx.AbstractVar[int]

    @abc.abstractmethod
    def image(
        self,
        shape: Int[Array, ""],
        scale: Float[Array, ""],
        angle: Float[Array, ""],
        x_pixels: Float[Array, ""],
        y_pixels: Float[Array, ""],
    ) -> Float[Array, "size size"]:
        """Picture of any configuration.

        Args:
            shape: 0 square, 1 ellipse, 2 heart.
            scale: size relative to the largest class of the data set (which spans 0.5 to 1).
            angle: radians, counter-clockwise as displayed.
            x_pixels: centre from the left edge, in pixels of the 64 x 64 canvas whatever the image's size.
            y_pixels: centre from the top edge, in the same pixels.

        Returns:
            Values between 0 and 1, row 0 at the top.
        """

    @abc.abstractmethod
    def render(self, latents: Array, grid: SpriteGrid) -> Float[Array, "size size"]:
        """Picture of a configuration in class units, shape (5,): integers on the lattice, reals between its points."""


@final
class PixelExact(AbstractRenderer):
    """Binary 64 x 64 images, equal to the original data set's on the lattice.

    Vertices are snapped to 1/256 pixel, a pixel is on if its centre is inside. Integer latents use vertices snapped in
    float64 beforehand, so the image does not depend on the working precision. Real latents are snapped in the working
    precision: there, a vertex within rounding error of the middle between two grid lines may go to either. The image is
    piecewise constant, so its gradient is zero: use `Antialiased` to differentiate.
    """

    size: int = eqx.field(static=True, default=CANVAS, init=False)

    def image(self, shape, scale, angle, x_pixels, y_pixels):
        vertices = jnp.asarray(padded_outlines(), jnp.result_type(float))[jnp.asarray(shape, int)]
        x, y = place(vertices, scale, jnp.cos(angle), jnp.sin(angle))
        return fill_polygon(_snap(x + x_pixels), _snap(y + y_pixels))

    def render(self, latents, grid):
        if not jnp.issubdtype(latents.dtype, jnp.integer):
            return self.image(latents[0].astype(int), grid.scale(latents), grid.angle(latents), *grid.centre(latents))
        table = jnp.asarray(snapped_vertices(grid.orientations))
        vertices = table[(latents[0] * NUM_SCALES + latents[1]) * grid.orientations + latents[2]]
        offsets = jnp.asarray(POSITION_OFFSETS)[latents[3:]]
        x, y = ORIGIN + ((vertices + offsets[:, None]) >> 5)
        # No vertex of the lattice is farther than 13.6 pixels from its centre, so 32 pixels hold every sprite.
        column, row = jnp.clip(1 + (32 * latents[3:]) // 31, 0, CANVAS - WINDOW)
        return fill_window(x, y, row, column)


def _snap(coordinates: Array) -> Array:
    return jnp.rint(coordinates * SUBPIXELS).astype(jnp.int32)
