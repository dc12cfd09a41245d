"""The exact rasteriser against slow drawing in fractions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from environments.drawing import fill_slowly, turned
from homeostat.environments import outline
from homeostat.environments._rasteriser import _floor_divide, fill_polygon, fill_window
from homeostat.environments._snapping import ORIGIN, POSITION_OFFSETS, snapped_vertices


@pytest.mark.parametrize("seed", range(6))
def test_any_polygon_is_filled_as_in_fractions(seed):
    """Self-crossing polygons too, with vertices outside the canvas and, half the time, exactly on lines of centres."""
    generator = np.random.default_rng(seed)
    vertices = generator.integers(-2000, 18000, (7, 2))
    if seed % 2:
        vertices = 128 * (vertices // 128)
    expected = fill_slowly([(int(x), int(y)) for x, y in vertices], 64)
    filled = np.asarray(fill_polygon(*jnp.asarray(vertices).T))
    assert filled.dtype == np.float32
    assert 100 < expected.sum() < 4000, "the example should be neither empty nor full"
    np.testing.assert_array_equal(filled, expected)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (32, 32), (5, 31), (17, 1), (0, 32)])
def test_a_window_shows_the_same_picture(row, column):
    generator = np.random.default_rng(row + column)
    vertices = generator.integers(0, 32 * 256, (9, 2)) + 256 * np.array([column, row])
    x, y = jnp.asarray(vertices).T
    whole = fill_polygon(x, y)
    assert whole.sum() > 50
    np.testing.assert_array_equal(fill_window(x, y, jnp.asarray(row), jnp.asarray(column)), whole)


def test_edges_of_no_length_change_nothing():
    square = jnp.asarray([[1000, 1000], [5000, 1000], [5000, 5000], [1000, 5000]])
    padded = jnp.concatenate([square, jnp.repeat(square[-1:], 5, axis=0)])
    np.testing.assert_array_equal(fill_polygon(*padded.T), fill_polygon(*square.T))


def test_left_and_bottom_boundary_are_included():
    """A square through pixel centres 3 and 6: the centres on its left and bottom side are on, the others off."""
    low, high = 256 * 3 + 128, 256 * 6 + 128
    image = np.asarray(fill_polygon(jnp.asarray([low, high, high, low]), jnp.asarray([low, low, high, high])))
    rows, columns = np.nonzero(image)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 6, 3, 5)


def test_division_is_exact_next_to_whole_quotients():
    generator = np.random.default_rng(0)
    denominator = 256 * generator.integers(1, 2**14, 4000)
    quotient = generator.integers(0, 64, 4000)
    numerator = np.maximum(quotient * denominator + generator.integers(-2, 3, 4000), 0)
    fits = numerator < 2**31
    numerator, denominator = numerator[fits].astype(np.int32), denominator[fits].astype(np.int32)
    guessed = jax.jit(_floor_divide)(jnp.asarray(numerator), jnp.asarray(denominator))
    np.testing.assert_array_equal(guessed, numerator // denominator)


@pytest.mark.parametrize("orientations", [39, 40, 7])
def test_packed_vertices_are_the_rounded_ones(orientations):
    """At random classes, unpacking gives what rounding in float64 gives."""
    generator = np.random.default_rng(orientations)
    table = snapped_vertices(orientations).reshape(3, 6, orientations, 2, -1)
    for _ in range(200):
        shape, scale, turn, *place = (int(generator.integers(n)) for n in (3, 6, orientations, 32, 32))
        centre = (16 + 32 * place[0] / 31, 16 + 32 * place[1] / 31)
        exact = 256 * turned(outline(shape), 0.5 + 0.1 * scale, 2 * np.pi * turn / orientations, centre)
        packed = table[shape, scale, turn][:, : len(exact)]
        unpacked = ORIGIN + ((packed + POSITION_OFFSETS[place][:, None]) >> 5)
        # Complex and real arithmetic may differ in the last bit, which only matters halfway between two integers.
        assert np.all(np.abs(unpacked.T - exact) <= 0.5 + 1e-9)
