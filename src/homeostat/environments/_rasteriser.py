"""Exact scan conversion of a polygon with integer vertices.

A pixel is on if its centre lies inside the polygon (odd number of edges to its right), with the left and the bottom
boundary included. Row r looks at the line y = 256 r + 128 (in units of 1/256 pixel). An edge from (x0, y0) to (x1, y1)
crosses it at x and turns over every pixel whose centre is strictly left of x; their number is

    n = ceil((x - 128) / 256),   x = x0 + (x1 - x0) (y - y0) / (y1 - y0)

which is computed in 32-bit integers without rounding. 32 pixels of a row are one word, and turning over the first n is
one exclusive or with 2^n - 1. The loop runs over edges, so that rows and batches fill the vector units.
"""

import jax.numpy as jnp
from jax import lax

from ..typing import Array, Float, Int
from ._grid import CANVAS
from ._snapping import SUBPIXELS

_WORD = 32
_ALL = 0xFFFFFFFF

WINDOW = _WORD
"""Side in pixels of the window of `fill_window`."""


def fill_polygon(x: Int[Array, " vertices"], y: Int[Array, " vertices"]) -> Float[Array, "64 64"]:
    """The picture of any polygon.

    Args:
        x: horizontal coordinates of the vertices, in 1/256 pixel from the left edge, of magnitude at most 2^14.
        y: vertical coordinates, in 1/256 pixel from the top edge, of magnitude at most 2^14.

    Returns:
        float32 image of zeros and ones, row 0 at the top.
    """
    left, right = _turn_over(x, y, rows=CANVAS, words=CANVAS // _WORD)
    return _unpack(left, right)


def fill_window(
    x: Int[Array, " vertices"], y: Int[Array, " vertices"], row: Int[Array, ""], column: Int[Array, ""]
) -> Float[Array, "64 64"]:
    """The picture of a polygon that fits in a window of 32 x 32 pixels; four times less work than `fill_polygon`.

    Args:
        x: as in `fill_polygon`; between the window's first and last pixel.
        y: as in `fill_polygon`; between the window's first and last pixel.
        row: first row of the window, in 0..32.
        column: first column of the window, in 0..32.
    """
    (words,) = _turn_over(x - SUBPIXELS * column, y - SUBPIXELS * row, rows=WINDOW, words=1)
    # A shift by 32 or more is not defined, so the two cases that would need one are taken apart.
    column = column.astype(jnp.uint32)
    left = jnp.where(column < _WORD, words << (column % _WORD), jnp.uint32(0))
    spill = jnp.where(column > 0, words >> ((_WORD - column) % _WORD), jnp.uint32(0))
    right = jnp.where(column < _WORD, spill, words)
    blank = jnp.zeros(CANVAS, jnp.uint32)
    # The barrier keeps the compiler from redoing the placing for every single pixel.
    return _unpack(
        *lax.optimization_barrier(tuple(lax.dynamic_update_slice(blank, half, (row,)) for half in (left, right)))
    )


def _turn_over(x: Int[Array, " vertices"], y: Int[Array, " vertices"], *, rows: int, words: int) -> Array:
    """Exclusive or over edges: uint32 of shape (words, rows), word w of row r holding pixels 32 w to 32 w + 31."""
    edges = jnp.stack([jnp.roll(x, 1), jnp.roll(y, 1), x, y], axis=1).astype(jnp.int32)
    first = _WORD * jnp.arange(words, dtype=jnp.int32)[:, None]

    def step(carry, edge):
        count = _pixels_left_of(edge, rows)[None, :] - first
        ones = (jnp.uint32(1) << jnp.clip(count, 0, _WORD - 1).astype(jnp.uint32)) - jnp.uint32(1)
        return carry ^ jnp.where(count >= _WORD, jnp.uint32(_ALL), ones), None

    return lax.scan(step, jnp.zeros((words, rows), jnp.uint32), edges, unroll=2)[0]


def _pixels_left_of(edge: Int[Array, "4"], rows: int) -> Int[Array, " rows"]:
    """For each row, how many pixel centres lie strictly left of the edge; 0 where the edge does not cross the row."""
    x0, y0, x1, y1 = edge
    lines = SUBPIXELS * jnp.arange(rows, dtype=jnp.int32) + SUBPIXELS // 2
    crosses = (y0 >= lines) != (y1 >= lines)
    downwards = jnp.where(y1 < y0, -1, 1)
    height = (y1 - y0) * downwards
    numerator = (x0 - SUBPIXELS // 2) * height + (x1 - x0) * downwards * (lines - y0)
    denominator = SUBPIXELS * jnp.maximum(height, 1)
    count = _floor_divide(jnp.maximum(numerator + denominator - 1, 0), denominator)
    return jnp.where(crosses, count, 0)


def _floor_divide(numerator: Int[Array, "..."], denominator: Int[Array, "..."]) -> Int[Array, "..."]:
    """Integer quotient of non-negative numbers, for quotients below 2^20.

    Processors have no vector instruction for integer division: the quotient is guessed in floating point, where it is
    off by at most one, and put right in integers.
    """
    guess = (numerator.astype(jnp.float32) / denominator.astype(jnp.float32)).astype(jnp.int32)
    guess = guess - (guess * denominator > numerator)
    return guess + ((guess + 1) * denominator <= numerator)


def _unpack(left: Array, right: Array) -> Float[Array, "64 64"]:
    pixels = jnp.arange(_WORD, dtype=jnp.uint32)[None, :]
    halves = [(words[:, None] >> pixels) & jnp.uint32(1) for words in (left, right)]
    return jnp.concatenate(halves, axis=1).astype(jnp.float32)
