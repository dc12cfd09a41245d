"""Outlines of the three sprites at scale 1 and angle 0, in canvas pixels about the sprite's centre, y pointing down.

    square    half side h = 9.6
    ellipse   half axes 1.33 h and h / 1.33; a polygon of 100 equal parameter steps
    heart     x = h sin^3 t,  y = -(h / 14.5) (13 cos t - 5 cos 2t - 2 cos 3t - cos 4t) - 1.44; 150 equal parameter
    steps

The sizes were never published with the data set; these values reproduce its pictures (see `docs/environments.md`).
"""

import numpy as np

from ..results import BadInputError
from ..typing import Any, Float
from ._grid import NUM_SHAPES

HALF_SIDE = 9.6
ELLIPSE_RATIO = 1.33
HEART_HEIGHT = 14.5
HEART_SHIFT = -1.44
ELLIPSE_VERTICES = 100
HEART_VERTICES = 150


def outline(shape: int) -> Float[np.ndarray, "vertices 2"]:
    """Vertices (x, y) of a sprite's polygon, in drawing order and in float64.

    Args:
        shape: 0 square, 1 ellipse, 2 heart.

    Returns:
        Vertices in canvas pixels about the centre, y down, at scale 1 and angle 0.

    Raises:
        BadInputError: for any other shape.
    """
    if shape == 0:
        return HALF_SIDE * np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    if shape == 1:
        t = 2 * np.pi * np.arange(ELLIPSE_VERTICES) / ELLIPSE_VERTICES
        return np.stack([HALF_SIDE * ELLIPSE_RATIO * np.cos(t), HALF_SIDE / ELLIPSE_RATIO * np.sin(t)], axis=1)
    if shape == 2:
        t = 2 * np.pi * np.arange(HEART_VERTICES) / HEART_VERTICES
        rise = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
        return np.stack([HALF_SIDE * np.sin(t) ** 3, -HALF_SIDE / HEART_HEIGHT * rise + HEART_SHIFT], axis=1)
    raise BadInputError(f"Expected shape 0 (square), 1 (ellipse) or 2 (heart), got {shape!r}.")


def padded_outlines() -> Float[np.ndarray, "shapes vertices 2"]:
    """All outlines with equally many vertices; the last vertex is repeated, which adds edges of no length."""
    outlines = [outline(shape) for shape in range(NUM_SHAPES)]
    longest = max(len(vertices) for vertices in outlines)
    return np.stack([np.pad(v, ((0, longest - len(v)), (0, 0)), mode="edge") for v in outlines])


def place(vertices: Any, scale: Any, cosine: Any, sine: Any) -> tuple[Any, Any]:
    """Turn counter-clockwise as displayed, then scale; x and y about the centre (NumPy or JAX arrays alike)."""
    x, y = vertices[..., 0], vertices[..., 1]
    return (cosine * x + sine * y) * scale, (-sine * x + cosine * y) * scale
