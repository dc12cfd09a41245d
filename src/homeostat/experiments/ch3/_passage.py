"""Iterations until a curve of bounds reaches a level."""

import numpy as np


def first_passage(curve_nats: np.ndarray, level_nats: float) -> float:
    """The first moment at which a curve is at or above a level, infinite if there is none; moment 0 is the start."""
    reached = np.flatnonzero(np.asarray(curve_nats) >= level_nats)
    return float(reached[0]) if reached.size else float("inf")


def final_level(bounds_nats: np.ndarray) -> float:
    """A method's own final bound: its mean over rows and over the last tenth of its iterations."""
    mean = np.asarray(bounds_nats).mean(axis=0)
    return float(mean[-max(1, len(mean) // 10) :].mean())


def iterations_ratio(
    ours: np.ndarray, theirs: np.ndarray, *, seed: int, num_resamples: int = 500
) -> tuple[float, float]:
    """Iterations that `theirs` needs to its own final bound, over those that `ours` needs to the same level.

    Args:
        ours: bounds [rows, moments].
        theirs: bounds of the same rows.
        seed: of the resamples.
        num_resamples: of rows, for the standard error.

    Returns:
        The ratio, 0 if `ours` never gets there, and its bootstrap standard error.
    """

    def ratio(rows: np.ndarray) -> float:
        level = final_level(theirs[rows])
        needed = max(1.0, first_passage(ours[rows].mean(axis=0), level))
        return first_passage(theirs[rows].mean(axis=0), level) / needed

    generator, num = np.random.default_rng(seed), len(ours)
    resampled = [ratio(generator.integers(0, num, num)) for _ in range(num_resamples)]
    return ratio(np.arange(num)), float(np.std(resampled, ddof=1))
