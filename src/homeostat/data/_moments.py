"""Means, spreads and ranges of columns, in double precision whatever the data are stored in, and which columns vary at all."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

_ROUNDINGS = 4.0
"""A column that was computed (0.1 + 0.2 beside 0.3) may differ in its last digits."""


class ColumnMoments(NamedTuple):
    """What is known of numbers that were passed over once; one of everything for each entry, or one for all.

    Attributes:
        count: how many were seen.
        mean: 0 where none was seen.
        deviation: standard deviation, divided by the count.
        low: the least; infinity where none was seen.
        high: the largest; minus infinity where none was seen.
        precision: relative spacing of the stored numbers: 2.2e-16 for 64 bits and for whole numbers.
    """

    count: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    low: np.ndarray
    high: np.ndarray
    precision: float

    @property
    def varies(self) -> np.ndarray:
        """Whether the largest and the least differ by more than rounding; the one test of what is constant.

        Neither the unit nor an offset matters: 5,000,000 and 5,000,001 differ, 0.1 and 0.1 do not, although their mean is not
        0.1 in floating point.
        """
        seen = self.count > 0
        low, high = np.where(seen, self.low, 0.0), np.where(seen, self.high, 0.0)
        return high - low > _ROUNDINGS * self.precision * np.maximum(np.abs(low), np.abs(high))

    @property
    def scale(self) -> np.ndarray:
        """The deviation, and 1 for what does not vary, which has no scale of its own."""
        return np.where(self.varies, self.deviation, 1.0)


def column_moments(
    blocks: Iterable[tuple[np.ndarray, np.ndarray | None]], shape: tuple[int, ...], dtype: np.dtype
) -> ColumnMoments:
    """Moments over rows, block by block.

    Args:
        blocks: numbers of shape (rows, *entries), each with booleans of the same shape that say what was observed, or None.
        shape: of the entries, for moments of each; () for moments of all numbers together.
        dtype: of the stored numbers.

    References:
        Chan, Golub and LeVeque (1983), Algorithms for computing the sample variance: joining the moments of two parts.
    """
    count, mean, spread = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    low, high = np.full(shape, np.inf), np.full(shape, -np.inf)
    axes = None if shape == () else (0,)
    for block, observed in blocks:
        if len(block) == 0:
            continue
        values = block.astype(np.float64).reshape(len(block), *shape) if shape else block.astype(np.float64)
        seen = np.ones(values.shape, bool) if observed is None else observed.reshape(values.shape)
        size = seen.sum(axis=axes)
        here = np.where(seen, values, 0.0).sum(axis=axes) / np.maximum(size, 1)
        centred = np.where(seen, values - here, 0.0)
        together = np.maximum(count + size, 1)
        spread = spread + (centred**2).sum(axis=axes) + (here - mean) ** 2 * count * size / together
        mean = mean + (here - mean) * size / together
        count = count + size
        low = np.minimum(low, np.where(seen, values, np.inf).min(axis=axes))
        high = np.maximum(high, np.where(seen, values, -np.inf).max(axis=axes))
    precision = float(np.finfo(dtype if dtype.kind == "f" else np.float64).eps)
    return ColumnMoments(count, mean, np.sqrt(spread / np.maximum(count, 1)), low, high, precision)
