"""Moments of columns, and which of them vary."""

import numpy as np
import pytest

from homeostat.data import column_moments
from tolerances import ALGEBRA


def moments(values, *, blocks=3, observed=None, dtype=np.float64):
    parts = np.array_split(np.arange(len(values)), blocks)
    given = ((values[part].astype(dtype), None if observed is None else observed[part]) for part in parts)
    return column_moments(given, values.shape[1:], np.dtype(dtype))


def test_moments_are_numpys_whatever_the_blocks():
    values = np.random.default_rng(0).normal([1.0, 1e6, -3.0], [1.0, 0.1, 1e-5], (50, 3))
    seen = np.random.default_rng(1).random((50, 3)) < 0.7
    known = np.where(seen, values, np.nan)
    for blocks in (1, 7, 60):
        found = moments(values, blocks=blocks, observed=seen)
        np.testing.assert_allclose(found.mean, np.nanmean(known, axis=0), rtol=ALGEBRA)
        np.testing.assert_allclose(found.deviation, np.nanstd(known, axis=0), rtol=1e-6)
        np.testing.assert_array_equal(found.low, np.nanmin(known, axis=0))
        np.testing.assert_array_equal(found.high, np.nanmax(known, axis=0))
    overall = column_moments([(values, seen)], (), np.dtype(float))
    np.testing.assert_allclose(overall.deviation, np.nanstd(known), rtol=ALGEBRA)


@pytest.mark.parametrize(
    ("column", "dtype", "varies"),
    [
        (np.full(9, 0.1), np.float64, False),
        (np.full(9, 5e6), np.float64, False),
        (np.full(9, 0.0), np.float64, False),
        (np.array([0.3, 0.1 + 0.2]), np.float64, False),
        (np.array([1.7e9, 1.7e9 + 1.0]), np.float64, True),
        (np.array([5e6, 5e6 + 4.0]), np.float32, True),
        (np.array([5e6, 5e6 + 1.0]), np.float32, False),
        (np.array([0.1, np.nextafter(np.float32(0.1), 1)]), np.float32, False),
        (1e-30 * np.arange(9.0), np.float64, True),
        (np.array([7, 7, 8]), np.int64, True),
    ],
)
def test_what_varies_does_so_by_more_than_rounding(column, dtype, varies):
    for values in (column, -column):
        found = moments(values[:, None], dtype=dtype)
        assert found.varies.tolist() == [varies]
        assert found.scale == (found.deviation if varies else 1.0)


def test_a_column_that_was_never_seen_does_not_vary():
    assert moments(np.ones((4, 2)), observed=np.zeros((4, 2), bool)).varies.tolist() == [False, False]
