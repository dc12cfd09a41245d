"""Slow, obvious drawing, to compare the fast one with."""

from fractions import Fraction

import numpy as np


def fill_slowly(vertices: list[tuple[int, int]], size: int) -> np.ndarray:
    """Pixels whose centre has an odd number of edges to its right, in exact fractions; vertices in 1/256 pixel."""
    image = np.zeros((size, size), np.uint8)
    edges = list(zip(vertices[-1:] + vertices[:-1], vertices, strict=True))
    for row in range(size):
        y = 256 * row + 128
        for column in range(size):
            x = 256 * column + 128
            for (x0, y0), (x1, y1) in edges:
                if (y0 >= y) != (y1 >= y) and x < x0 + Fraction((x1 - x0) * (y - y0), y1 - y0):
                    image[row, column] ^= 1
    return image


def areas(vertices: np.ndarray, size: int, per_pixel: int) -> np.ndarray:
    """Share of every pixel that a polygon covers, by counting sub-pixels; vertices (n, 2) in pixels."""
    ticks = (np.arange(size * per_pixel) + 0.5) / per_pixel
    inside = np.zeros((ticks.size, ticks.size), bool)
    for (x0, y0), (x1, y1) in zip(np.roll(vertices, 1, axis=0), vertices, strict=True):
        rows = (y0 >= ticks) != (y1 >= ticks)
        crossing = x0 + (ticks[rows] - y0) / (y1 - y0) * (x1 - x0)
        inside[rows] ^= ticks[None, :] < crossing[:, None]
    return inside.reshape(size, per_pixel, size, per_pixel).mean(axis=(1, 3))


def turned(vertices: np.ndarray, scale: float, angle: float, centre: tuple[float, float]) -> np.ndarray:
    """Turn counter-clockwise as displayed (y points down), scale and shift."""
    complex_plane = vertices[:, 0] - 1j * vertices[:, 1]
    placed = scale * np.exp(1j * angle) * complex_plane
    return np.stack([placed.real + centre[0], -placed.imag + centre[1]], axis=1)
