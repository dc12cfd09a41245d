"""Gaussians without latents: units, densities with missing entries, and a covariance from few rows."""

from typing import NamedTuple

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from ...typing import Bool, Float
from ._choice import FLOOR, LogDensities

MOST_COLUMNS = 1_024
"""Columns up to which there is a full Gaussian: factorising the covariance of more takes long."""
MOST_INCOMPLETE_COLUMNS = 32
"""The same where entries are missing: each row has its own factorisation in each step of expectation maximisation."""
_MOST_CUBES = 1 << 25
"""Rows times cubed number of columns, for which such a step takes about a tenth of a second."""
_MOST_STEPS = 50
_STILL = 1e-4
"""Largest change of a mean or a covariance, in standard deviations, after which expectation maximisation ends."""
_LOG_TWO_PI = float(np.log(2.0 * np.pi))


class Units(NamedTuple):
    """Columns in standard deviations from their means, so that no baseline depends on the unit of the data.

    Attributes:
        varies: which columns vary; the others have no density and are left out.
        loc: means of the columns that vary.
        scale: their standard deviations.
    """

    varies: Bool[np.ndarray, " m"]
    loc: Float[np.ndarray, " k"]
    scale: Float[np.ndarray, " k"]

    @staticmethod
    def of(values: Float[np.ndarray, "n m"], varies: Bool[np.ndarray, " m"] | None) -> "Units":
        """Those of training values, NaN where missing; by default a column varies if its values are not all the same."""
        known = ~np.isnan(values)
        if varies is None:
            low = np.where(known, values, np.inf).min(axis=0, initial=np.inf)
            varies = np.where(known, values, -np.inf).max(axis=0, initial=-np.inf) > low
        kept, known = values[:, varies], known[:, varies]
        count = np.maximum(known.sum(axis=0), 1)
        loc = np.where(known, kept, 0.0).sum(axis=0) / count
        scale = np.sqrt((np.where(known, kept - loc, 0.0) ** 2).sum(axis=0) / count)
        return Units(varies, loc, np.where(scale > 0.0, scale, 1.0))

    def apply(self, values: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n k"]:
        """Columns that vary, in these units."""
        return (values[:, self.varies] - self.loc) / self.scale

    def nats(self, values: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
        """log |dx / dz| of what is known of each row: subtracted from a log density of z it gives that of x."""
        return (~np.isnan(values)) @ np.log(self.scale)


class Normals(NamedTuple):
    """Independent Gaussians; what is missing (NaN) adds nothing."""

    loc: Float[np.ndarray, "*rows m"]
    variance: Float[np.ndarray, " m"]

    @staticmethod
    def of(values: Float[np.ndarray, "n m"]) -> "Normals":
        """Maximum likelihood, deviations at least `FLOOR`; a column that is never seen gets N(0, 1)."""
        known = ~np.isnan(values)
        count = known.sum(axis=0)
        loc = np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1)
        variance = (np.where(known, values - loc, 0.0) ** 2).sum(axis=0) / np.maximum(count, 1)
        return Normals(loc, np.where(count > 0, np.maximum(variance, FLOOR**2), 1.0))

    def entries(self, values: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n m"]:
        """log density of each entry, NaN where it or its mean is missing."""
        return -0.5 * ((values - self.loc) ** 2 / self.variance + np.log(self.variance) + _LOG_TWO_PI)

    def __call__(self, values: Float[np.ndarray, "n m"]) -> Float[np.ndarray, " n"]:
        """log density of each row."""
        return np.nansum(self.entries(values), axis=1)


def normal_log_densities(
    errors: Float[np.ndarray, "n m"], covariance: Float[np.ndarray, "m m"]
) -> Float[np.ndarray, " n"]:
    """log N(e; 0, C) of the known entries of each row; rows with the same entries missing are worked on together."""
    known = ~np.isnan(errors)
    patterns, number = np.unique(known, axis=0, return_inverse=True)
    nats, number = np.zeros(len(errors)), number.reshape(-1)
    for index, pattern in enumerate(patterns):
        rows = number == index
        if pattern.any():
            factor = cholesky(covariance[np.ix_(pattern, pattern)], lower=True)
            white = solve_triangular(factor, errors[np.ix_(rows, pattern)].T, lower=True)
            volume = 2.0 * np.log(np.diagonal(factor)).sum() + pattern.sum() * _LOG_TWO_PI
            nats[rows] = -0.5 * ((white**2).sum(axis=0) + volume)
    return nats


def shrunk_covariance(centred: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "m m"]:
    """(1 - a) S + a mean(diag S) I, with the a that has the least expected squared error; at least `FLOOR`^2.

    Args:
        centred: rows less their mean.

    References:
        Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal of Multivariate
        Analysis 88 (2004), Sec. 3.3.
    """
    num, size = centred.shape
    found = centred.T @ centred / num
    mean = np.trace(found) / size
    distance = (found**2).sum() - size * mean**2
    error = (((centred**2).sum(axis=1) ** 2).sum() / num - (found**2).sum()) / num
    weight = min(error, distance) / distance if distance > 0.0 else 1.0
    return (1.0 - weight) * found + (weight * mean + FLOOR**2) * np.eye(size)


def full_gaussian(rows: Float[np.ndarray, "n m"]) -> LogDensities:
    """A Gaussian with the mean of the rows and their shrunk covariance."""
    mean = rows.mean(axis=0)
    covariance = shrunk_covariance(rows - mean)
    return lambda values: normal_log_densities(values - mean, covariance)


def incomplete_gaussian(weight: float, rows: Float[np.ndarray, "n m"]) -> LogDensities:
    """A Gaussian that maximises the density of the known entries (NaN is missing), by expectation maximisation.

        E-step   x^_n = E[x_n | known], V_n = Cov[x_n | known]
        M-step   m = mean_n x^_n,   S = (sum_n (x^_n - m) (x^_n - m)^T + V_n + a I) / (n + a)

    Args:
        weight: a, rows that the prior of S counts for: each column with variance 1, and none correlated.
        rows: in standard deviations of the columns; of many, the first.

    References:
        Dempster, Laird and Rubin, "Maximum likelihood from incomplete data via the EM algorithm", Journal of the Royal
        Statistical Society B 39 (1977), Sec. 4.1.
    """
    size = rows.shape[1]
    rows = rows[: max(1, _MOST_CUBES // size**3)]
    known = ~np.isnan(rows)
    patterns, number, counts = np.unique(known, axis=0, return_inverse=True, return_counts=True)
    number, filled, unit = number.reshape(-1), np.where(known, rows, 0.0), np.eye(size)
    both = patterns[:, :, None] & patterns[:, None, :]
    mean, covariance = np.zeros(size), unit
    for _ in range(_MOST_STEPS):
        inverse = np.where(both, np.linalg.inv(np.where(both, covariance, unit)), 0.0)
        gains = covariance @ inverse
        centred = (gains[number] @ np.where(known, filled - mean, 0.0)[:, :, None])[:, :, 0]
        shift = centred.mean(axis=0)
        doubt = len(rows) * covariance - np.tensordot(counts, gains @ covariance, axes=1)
        rest = centred - shift
        found = (rest.T @ rest + doubt + weight * unit) / (len(rows) + weight)
        change = max(np.abs(shift).max(), np.abs(found - covariance).max())
        mean, covariance = mean + shift, 0.5 * (found + found.T)
        if change < _STILL:
            break
    return lambda values: normal_log_densities(values - mean, covariance)
