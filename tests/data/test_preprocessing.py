"""Binarisation and noise: their distribution, their range, their seed."""

import numpy as np
import pytest

from homeostat.data import ClippedDequantization, UniformDequantization, binarize, dequantize
from homeostat.results import BadInputError
from tolerances import MONTE_CARLO_STANDARD_ERRORS


def generator(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_pixels_are_black_with_the_probability_of_their_grey(dtype):
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    grey = np.broadcast_to(levels, (20_000, levels.size))
    drawn = binarize(grey if dtype is np.uint8 else (grey / 255).astype(dtype), generator=generator())
    assert drawn.dtype == np.uint8 and set(np.unique(drawn)) == {0, 1}
    p = levels / 255
    bound = MONTE_CARLO_STANDARD_ERRORS * np.sqrt(p * (1 - p) / len(grey))
    assert np.all(np.abs(drawn.mean(axis=0) - p) <= bound)  # Black and white are certain: their bound is 0.


def test_every_draw_differs_and_the_seed_repeats_it():
    grey = np.full((10, 28, 28), 128, np.uint8)
    source = generator()
    first, second = binarize(grey, generator=source), binarize(grey, generator=source)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, binarize(grey, generator=generator()))


@pytest.mark.parametrize("grey", [np.array([1.5]), np.array([-0.1]), np.array([np.nan]), np.array([3])])
def test_values_that_are_not_grey(grey):
    with pytest.raises(BadInputError, match="grey values"):
        binarize(grey, generator=generator())


def test_uniform_noise_stays_in_the_pixel():
    pixels = np.broadcast_to(np.arange(256, dtype=np.uint8), (4_000, 256))
    values = dequantize(pixels, generator=generator())
    assert values.dtype == np.float32 and values.min() >= 0 and values.max() < 1
    # Rounding to 32 bits may carry a value just below the next pixel onto its edge, never over it.
    noise = 256 * values.astype(np.float64) - pixels
    assert noise.min() >= 0 and noise.max() <= 1
    assert abs(noise.mean() - 0.5) < MONTE_CARLO_STANDARD_ERRORS / np.sqrt(12 * noise.size)


def test_white_stays_below_one():
    class Largest(np.random.Generator):
        def random(self, shape, dtype):
            return np.full(shape, np.nextafter(np.float32(1), np.float32(0)))

    assert UniformDequantization()(np.full(3, 255, np.uint8), generator=Largest(np.random.PCG64(0))).max() < 1


def test_clipped_noise_piles_up_at_the_ends():
    pixels = np.broadcast_to(np.array([0, 100, 255], np.uint8), (10_000, 3))
    values = dequantize(pixels, generator=generator(), method=ClippedDequantization())
    assert values.dtype == np.float32
    bound = MONTE_CARLO_STANDARD_ERRORS * 0.5 / np.sqrt(len(pixels))
    assert abs(np.mean(values[:, 0] == 0) - 0.5) < bound and abs(np.mean(values[:, 2] == 1) - 0.5) < bound
    middle = 255 * values[:, 1]
    assert middle.min() >= 99.5 - 1e-4 and middle.max() <= 100.5 + 1e-4


def test_only_stored_pixels_get_noise():
    with pytest.raises(BadInputError, match="uint8"):
        dequantize(np.zeros(3), generator=generator())
