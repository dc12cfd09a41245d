"""Pixel-exact images: checksums without data, and all 737,280 images of the data set where it is at hand."""

import zlib
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_sets import find_dsprites
from environments.drawing import fill_slowly, turned
from homeostat.data import read_dsprites
from homeostat.environments import (
    SYMMETRY_ORDER,
    Antialiased,
    DSprites,
    PixelExact,
    SpriteGrid,
    check_archive,
    outline,
    render_block,
)
from homeostat.environments._archive import render_blocks

HERE = Path(__file__).parent


def checksums(ring: int) -> list[int]:
    """One CRC-32 for every shape, scale and orientation (the last fastest) of 1,024 packed images, x before y.

    The table of the ring of 39 was made from the data set; a slow test compares both.
    """
    words = (HERE / f"crc32_ring_of_{ring}.txt").read_text(encoding="ascii").split()
    return [int(word, 16) for word in words]


@pytest.mark.parametrize("ring", [39, 40])
def test_sampled_blocks_have_their_checksums(ring):
    """Every shape, every scale and a spread of orientations; 1,024 images each."""
    table = checksums(ring)
    assert len(table) == 720
    for block in range(11, 720, 59):
        shape, scale, orientation = np.unravel_index(block, (3, 6, 40))
        images = render_block(SpriteGrid(ring), int(shape), int(scale), int(orientation))
        assert zlib.crc32(images.tobytes()) == table[block], (ring, shape, scale, orientation)


def test_the_last_orientation_of_the_original_repeats_the_first():
    table = np.array(checksums(39)).reshape(18, 40)
    np.testing.assert_array_equal(table[:, 39], table[:, 0])
    assert len(np.unique(table)) == 18 * 39


def test_the_true_ring_has_as_many_pictures_as_symmetry_leaves():
    table = np.array(checksums(40)).reshape(3, 6, 40)
    for shape, order in enumerate(SYMMETRY_ORDER):
        assert len(np.unique(table[shape])) == 6 * 40 // order
        np.testing.assert_array_equal(table[shape], np.roll(table[shape], 40 // order, axis=-1))


@pytest.mark.slow
@pytest.mark.parametrize("ring", [39, 40])
def test_all_blocks_have_their_checksums(ring):
    rendered = [zlib.crc32(block.tobytes()) for block in render_blocks(SpriteGrid(ring), 40)]
    assert rendered == checksums(ring)


@pytest.mark.slow
def test_all_images_of_the_data_set():
    """No wrong pixel in 737,280 images."""
    file = find_dsprites()
    if file is None:
        pytest.skip("HOMEOSTAT_DATA names no folder with the data set.")
    packed = read_dsprites(file).packed
    report = check_archive(packed)
    assert report == (737_280, 0, 0)
    assert int(np.bitwise_count(packed).sum(dtype=np.int64)) == 128_328_864


@pytest.mark.parametrize("latents", [(0, 5, 3, 0, 31), (1, 2, 17, 30, 1), (2, 0, 38, 16, 16), (2, 5, 20, 31, 31)])
def test_lattice_and_continuous_drawing_agree_with_slow_drawing(latents):
    grid = SpriteGrid(39)
    shape, scale, turn, x, y = latents
    centre = (16 + 32 * x / 31, 16 + 32 * y / 31)
    vertices = turned(outline(shape), 0.5 + 0.1 * scale, 2 * np.pi * turn / 39, centre)
    expected = fill_slowly([(int(a), int(b)) for a, b in np.rint(256 * vertices)], 64)
    exact = PixelExact()
    np.testing.assert_array_equal(exact.render(jnp.asarray(latents), grid), expected)
    np.testing.assert_array_equal(exact.render(jnp.asarray(latents, float), grid), expected)


def test_single_precision_draws_the_same_lattice():
    latents = jnp.asarray([[s, k, 7 * k + s, 5 * k, 31 - 3 * k] for s in range(3) for k in range(6)], jnp.int32)
    draw = jax.vmap(DSprites().render)
    double = draw(latents)
    with jax.enable_x64(False):
        single = eqx.filter_jit(eqx.filter_vmap(DSprites().render))(jnp.asarray(np.asarray(latents)))
    np.testing.assert_array_equal(np.asarray(single), np.asarray(double))


def test_turning_is_counter_clockwise_and_y_points_down():
    """A heart turned by a quarter has its tip to the right; a larger y class lies lower."""
    world = DSprites()
    rows, columns = np.nonzero(np.asarray(world.render(jnp.asarray([2, 5, 0, 16, 0]))))
    tip_row = rows.max()
    assert len(columns[rows == tip_row]) <= 2, "upright, the tip is the lowest pixel"
    rows, columns = np.nonzero(np.asarray(world.render(jnp.asarray([2, 5, 10, 16, 31]))))
    assert len(rows[columns == columns.max()]) <= 2 < len(rows[columns == columns.min()]), (
        "turned by a quarter, the tip is the rightmost pixel"
    )
    assert rows.min() > tip_row - 1


def test_drawing_compiles_once_for_all_configurations():
    traces = []

    @jax.jit
    def draw(latents):
        traces.append(latents)
        return PixelExact().render(latents, SpriteGrid())

    for latents in ([0, 0, 0, 0, 0], [2, 5, 39, 31, 31]):
        draw(jnp.asarray(latents, jnp.int32))
    assert len(traces) == 1


def test_antialiased_and_exact_agree_away_from_edges():
    grid = SpriteGrid()
    for latents in ([0, 5, 3, 4, 20], [1, 3, 22, 31, 0], [2, 4, 15, 12, 12]):
        exact = np.asarray(PixelExact().render(jnp.asarray(latents), grid))
        smooth = np.asarray(Antialiased().render(jnp.asarray(latents), grid))
        sure = (smooth == 0) | (smooth == 1)
        assert sure.mean() > 0.9
        np.testing.assert_array_equal(smooth[sure], exact[sure])
