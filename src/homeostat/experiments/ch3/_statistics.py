"""Means with standard errors as Python numbers, for claims and tables."""

import numpy as np

from ...metrics import Estimated, median_seconds as median_seconds
from ...typing import Array


def mean_and_error(values: Array | np.ndarray) -> tuple[float, float]:
    """Mean over rows and std / sqrt(n) as Python numbers, for `context.measure`; no error for a single row is NaN."""
    values = np.asarray(values, float)
    return float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else float("nan")


def median_error(values: Array | np.ndarray, *, seed: int, num_resamples: int = 500) -> float:
    """Bootstrap standard error of the median over rows."""
    values, generator = np.asarray(values, float), np.random.default_rng(seed)
    resampled = generator.choice(values, (num_resamples, len(values)))
    return float(np.median(resampled, axis=1).std(ddof=1))


def printed(estimated: Estimated | tuple[float, float], digits: int = 3) -> str:
    """`value ± stderr` for a table; the value alone where there is no error."""
    value, stderr = (float(number) for number in estimated)
    if not np.isfinite(stderr):
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ± {stderr:.{digits}f}"
