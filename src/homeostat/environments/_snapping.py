"""Vertices snapped to 1/256 of a pixel, as integers, for every class of the lattice.

The pictures depend on `rint(256 (p + c))`, where p is a rotated and scaled vertex and c = 16 + 32 k / 31 a position.
To get the same integers in a traced program of any precision, the rounding is done here once, in NumPy float64, and
stored so that no rounding is left:

    256 c = 4096 + a_k + j_k / 31,    a_k = 8192 k // 31,    j_k = 8192 k mod 31

so every snapped vertex is 4096 + a_k + I + [j_k >= t] for an integer I and a threshold t in 0..31 of its own. Both are
packed in one integer q = 32 I + (32 - t), and the vertex is 4096 + ((q + 32 a_k + j_k) >> 5), exactly.
"""

import functools

import numpy as np

from ..typing import Float, Int
from ._grid import NUM_POSITIONS, NUM_SCALES, NUM_SHAPES
from ._outlines import padded_outlines, place

SUBPIXELS = 256
"""Grid lines per pixel of the original renderer's vertex snapping."""

ORIGIN = 16 * SUBPIXELS
_POSITION = 32 * SUBPIXELS * np.arange(NUM_POSITIONS)
_WHOLE, _REST = np.divmod(_POSITION, 31)

POSITION_OFFSETS: Int[np.ndarray, " positions"] = (32 * _WHOLE + _REST).astype(np.int32)
"""32 a_k + j_k for every position class k."""


@functools.lru_cache(maxsize=4)
def snapped_vertices(orientations: int) -> Int[np.ndarray, "configurations 2 vertices"]:
    """The packed integers q of all vertices.

    Args:
        orientations: number of angles 2 pi k / orientations on the ring.

    Returns:
        An int32 array whose rows run over shape, scale and orientation (the last fastest).
    """
    angles = 2 * np.pi * np.arange(orientations) / orientations
    scales = 0.5 + 0.1 * np.arange(NUM_SCALES)
    blocks = [
        _pack(np.stack(place(vertices, scale, np.cos(angle), np.sin(angle))))
        for vertices in padded_outlines()[:NUM_SHAPES]
        for scale in scales
        for angle in angles
    ]
    return np.stack(blocks)


def _pack(vertices: Float[np.ndarray, "2 vertices"]) -> Int[np.ndarray, "2 vertices"]:
    centres = 16 + 32 * np.arange(NUM_POSITIONS) / 31
    snapped = np.rint((vertices[..., None] + centres) * SUBPIXELS).astype(np.int64)
    steps = snapped - ORIGIN - _WHOLE
    base = steps.min(axis=-1)
    threshold = np.where(steps > base[..., None], _REST, 31).min(axis=-1)
    packed = 32 * base + 32 - threshold
    if not np.array_equal(ORIGIN + ((packed[..., None] + POSITION_OFFSETS) >> 5), snapped):
        raise AssertionError(
            "Vertex snapping does not follow one threshold per vertex; the packed table would be wrong."
        )
    return packed.astype(np.int32)
