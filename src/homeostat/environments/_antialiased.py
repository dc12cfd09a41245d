"""Antialiased, differentiable images of any resolution, from signed distances to the outlines.

A pixel whose centre has signed distance d (in image pixels, negative inside) to the outline is covered to

    coverage = clip(1/2 - d / edge_width, 0, 1)

which for an edge width of one pixel is the exact area for edges along the axes and within 0.06 of it for slanted ones;
pixels with a corner in them are less exact, by up to 0.25 for the square and 0.45 for the heart's cusps. The distance
to an outline is tabulated once, at scale 1 and angle 0, and looked up bilinearly; the image of a sprite moved by a
similarity transform follows from

    d(p) = scale * d_0(R(-angle) (p - centre) / scale).
"""

import functools
import math
from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..results import BadInputError
from ..typing import Array, Float, Int
from ._grid import CANVAS, NUM_SHAPES
from ._outlines import outline
from ._renderers import AbstractRenderer

_REACH = 16
"""The tables span [-16, 16] pixels about the centre; the farthest vertex (of the square) is 13.6 pixels away."""

_CELLS = 4
"""Table cells per pixel."""

_SIDE = 2 * _REACH * _CELLS
_UNITS = 1024
"""Distances are stored as 16-bit integers in 1/1024 pixel."""


@final
class Antialiased(AbstractRenderer):
    """Grey images with finite, useful gradients in scale, angle and position.

    Attributes:
        size: side of the image in pixels; the canvas is scaled to it.
        edge_width: width in image pixels over which an edge fades; wider edges give gradients that reach farther.
        max_scale: largest scale drawn without being cut off.
    """

    size: int = eqx.field(static=True, default=CANVAS)
    edge_width: float | int = eqx.field(static=True, default=1.0)
    max_scale: float | int = eqx.field(static=True, default=1.0)

    def __check_init__(self):
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 1:
            raise BadInputError(
                f"Expected the size of an image as a positive whole number of pixels, got {self.size!r}."
            )
        for name in ("edge_width", "max_scale"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise BadInputError(f"Expected a positive '{name}', got {value!r}.")

    @property
    def _reach(self) -> int:
        """Pixels from a sprite's centre beyond which the image is black."""
        farthest = math.sqrt(2) * 9.6 * self.max_scale * self.size / CANVAS + self.edge_width / 2
        return math.ceil(farthest + 0.5)

    def image(self, shape, scale, angle, x_pixels, y_pixels):
        zoom = self.size / CANVAS
        scale, angle, x, y = (1.0 * jnp.asarray(value) for value in (scale, angle, x_pixels, y_pixels))
        side = min(2 * self._reach, self.size)
        first = [self._first_pixel(zoom * centre, side) for centre in (y, x)]
        pixels = (jnp.arange(side) + 0.5).astype(x.dtype)
        down = (pixels + first[0]) / zoom - y
        right = (pixels + first[1]) / zoom - x
        turn, lean = jnp.cos(angle) / scale, jnp.sin(angle) / scale
        across = turn * right[None, :] - lean * down[:, None]
        along = lean * right[None, :] + turn * down[:, None]
        distance = (scale * zoom / self.edge_width) * _look_up(jnp.asarray(shape, int), across, along)
        window = jnp.clip(0.5 - distance, 0, 1)
        return lax.dynamic_update_slice(jnp.zeros((self.size, self.size), window.dtype), window, tuple(first))

    def render(self, latents, grid):
        if jnp.issubdtype(latents.dtype, jnp.integer):
            # Single precision places a sprite to within 1e-5 pixel, whatever the working precision.
            latents = latents.astype(jnp.float32)
        return self.image(latents[0].astype(int), grid.scale(latents), grid.angle(latents), *grid.centre(latents))

    def _first_pixel(self, centre: Float[Array, ""], side: int) -> Int[Array, ""]:
        first = jnp.floor(lax.stop_gradient(centre)).astype(jnp.int32) - self._reach
        return jnp.clip(first, 0, self.size - side)


def _look_up(shape: Int[Array, ""], x: Float[Array, "h w"], y: Float[Array, "h w"]) -> Float[Array, "h w"]:
    """Signed distance in canvas pixels at points of the sprite's own frame, bilinear between table entries."""
    column = jnp.clip(x * _CELLS + _SIDE // 2, 0, _SIDE - 1e-3)
    row = jnp.clip(y * _CELLS + _SIDE // 2, 0, _SIDE - 1e-3)
    whole_column, whole_row = column.astype(jnp.int32), row.astype(jnp.int32)
    s, t = column - whole_column, row - whole_row
    entry = (shape.astype(jnp.int32) * (_SIDE + 1) + whole_row) * _SIDE + whole_column
    table = jnp.asarray(_distance_table())
    # Look-ups are scalar loops; the barriers keep the arithmetic around them out of these, so that it is vectorised.
    entry = lax.optimization_barrier(entry)
    words = lax.optimization_barrier([table.at[entry + skip].get(mode="promise_in_bounds") for skip in (0, _SIDE)])
    above, below = (_unpack(word, x.dtype) for word in words)
    upper = above[0] + s * (above[1] - above[0])
    lower = below[0] + s * (below[1] - below[0])
    return (upper + t * (lower - upper)) / _UNITS


def _unpack(word: Int[Array, "h w"], dtype) -> tuple[Array, Array]:
    return (word >> 16).astype(dtype), ((word << 16) >> 16).astype(dtype)


@functools.lru_cache(maxsize=1)
def _distance_table() -> Int[np.ndarray, " entries"]:
    """For each shape, row and column, the distances at the cell's left and right corner packed in one 32-bit word."""
    ticks = np.arange(_SIDE + 1) / _CELLS - _REACH
    x, y = np.meshgrid(ticks, ticks)
    words = []
    for shape in range(NUM_SHAPES):
        stored = np.rint(signed_distance(outline(shape), x, y) * _UNITS).astype(np.int64)
        words.append((stored[:, :-1] << 16) | (stored[:, 1:] & 0xFFFF))
    return np.stack(words).astype(np.int32).reshape(-1)


def signed_distance(
    vertices: Float[np.ndarray, "vertices 2"], x: Float[np.ndarray, "*grid"], y: Float[np.ndarray, "*grid"]
) -> Float[np.ndarray, "*grid"]:
    """Distance of points to a polygon in the units of its vertices, negative inside (NumPy, exact)."""
    nearest = np.full(x.shape, np.inf)
    inside = np.zeros(x.shape, bool)
    for start, end in zip(np.roll(vertices, 1, axis=0), vertices, strict=True):
        edge = end - start
        share = np.clip(((x - start[0]) * edge[0] + (y - start[1]) * edge[1]) / (edge @ edge), 0, 1)
        nearest = np.minimum(nearest, (x - start[0] - share * edge[0]) ** 2 + (y - start[1] - share * edge[1]) ** 2)
        if edge[1] != 0:
            crossing = start[0] + (y - start[1]) / edge[1] * edge[0]
            inside ^= ((start[1] >= y) != (end[1] >= y)) & (x < crossing)
    return np.where(inside, -1.0, 1.0) * np.sqrt(nearest)
