"""The trade between rate and distortion over models that were trained with different weights of the rate.

    R = E_x KL(q(z | x) || p(z)),   D = E_x E_q[-log p(x | z)],   H - D <= I(x; z) <= R

with I the information that codes carry about the data, and H the entropy of the data. A model trained on D + beta R sits
where the curve of the best D at each R has the slope -beta; the bound on log p(x) is -(R + D), a line of slope -1.

References:
    Alemi et al., "Fixing a broken ELBO", ICML 2018, Eqs. 3 to 6.
"""

from typing import NamedTuple

import numpy as np

from ..results import BadInputError
from ..typing import Array, Bool, Float, Int


class RateDistortion(NamedTuple):
    """Models in the plane of rate and distortion, in order of rising rate.

    Attributes:
        betas: weight of the rate in training.
        rate_nats: R of each model, mean over rows.
        rate_stderr_nats: its standard error over rows.
        distortion_nats: D of each model.
        distortion_stderr_nats: its standard error over rows.
        elbo_nats: -(R + D), the true bound whatever beta was.
        elbo_stderr_nats: its standard error, in which the opposite noise of R and D cancels as far as it does.
        frontier: indices of the models on the lower convex hull, its falling part; no mixture of the others is better.
        slopes: dD/dR between neighbours on the frontier; between -beta of the one and -beta of the other for models
            trained to the end.
    """

    betas: Float[np.ndarray, " models"]
    rate_nats: Float[np.ndarray, " models"]
    rate_stderr_nats: Float[np.ndarray, " models"]
    distortion_nats: Float[np.ndarray, " models"]
    distortion_stderr_nats: Float[np.ndarray, " models"]
    elbo_nats: Float[np.ndarray, " models"]
    elbo_stderr_nats: Float[np.ndarray, " models"]
    frontier: Int[np.ndarray, " vertices"]
    slopes: Float[np.ndarray, " edges"]

    @property
    def best(self) -> int:
        """Index of the model with the highest bound."""
        return int(np.argmax(self.elbo_nats))

    @property
    def monotone(self) -> Bool[np.ndarray, " models"]:
        """Whether no other model is at least as good in both and better in one (the Pareto set; it holds the frontier)."""
        rate, distortion = self.rate_nats, self.distortion_nats
        no_worse = (rate[None, :] <= rate[:, None]) & (distortion[None, :] <= distortion[:, None])
        better = (rate[None, :] < rate[:, None]) | (distortion[None, :] < distortion[:, None])
        return ~np.any(no_worse & better, axis=1)

    def distortion_at(self, rate_nats: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
        """Least distortion at a rate, by the frontier: its lines between models, and its last value to the right.

        To the left of the first model nothing is known; the value there is infinite.
        """
        x, y = self.rate_nats[self.frontier], self.distortion_nats[self.frontier]
        return np.interp(np.asarray(rate_nats), x, y, left=np.inf)


def rate_distortion(
    betas: Float[Array, " weights"] | Float[np.ndarray, " weights"],
    rates_nats: Float[Array, "models rows"] | Float[np.ndarray, "models rows"],
    distortions_nats: Float[Array, "points examples"] | Float[np.ndarray, "points examples"],
) -> RateDistortion:
    """Points, standard errors and the convex frontier.

    Args:
        betas: weight of the rate that each model was trained with.
        rates_nats: rate of each row under each model, summed over levels.
        distortions_nats: distortion of the same rows.

    Raises:
        BadInputError: shapes that do not fit, fewer than two rows, or non-finite values.
    """
    betas, rates, distortions = (np.asarray(a, np.float64) for a in (betas, rates_nats, distortions_nats))
    if rates.ndim != 2 or rates.shape != distortions.shape or betas.shape != rates.shape[:1] or not betas.size:
        raise BadInputError(
            f"Expected one beta for each model and rates and distortions of shape (models, rows), got shapes "
            f"{betas.shape}, {rates.shape} and {distortions.shape}."
        )
    if rates.shape[1] < 2 or not (np.isfinite(rates).all() and np.isfinite(distortions).all()):
        raise BadInputError("Expected finite rates and distortions of at least two rows: leave failed rows out.")
    order = np.argsort(rates.mean(axis=1), kind="stable")
    betas, rates, distortions = betas[order], rates[order], distortions[order]
    rate, distortion = rates.mean(axis=1), distortions.mean(axis=1)
    frontier = _lower_hull(rate, distortion)
    return RateDistortion(
        betas,
        rate,
        _stderr(rates),
        distortion,
        _stderr(distortions),
        -(rate + distortion),
        _stderr(rates + distortions),
        frontier,
        np.diff(distortion[frontier]) / np.diff(rate[frontier]),
    )


class InformationBounds(NamedTuple):
    """Bounds on the information I(x; z) that codes carry about the data, in nats."""

    low: Float[np.ndarray, " models"]
    high: Float[np.ndarray, " models"]


def information_bounds(points: RateDistortion, entropy_nats: float) -> InformationBounds:
    """max(H - D, 0) <= I(x; z) <= R for every model.

    Args:
        points: models in the plane.
        entropy_nats: H of the data: log N for the empirical distribution of N different rows. It is seldom known; where it is
            only bounded from above by a number, the lower bound on the information holds for no data.

    References:
        Alemi et al., "Fixing a broken ELBO", ICML 2018, Eqs. 3 and 4.
    """
    return InformationBounds(np.maximum(entropy_nats - points.distortion_nats, 0.0), points.rate_nats)


def _stderr(values: Float[np.ndarray, "models rows"]) -> Float[np.ndarray, " models"]:
    return values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])


def _lower_hull(rate: Float[np.ndarray, " n"], distortion: Float[np.ndarray, " n"]) -> Int[np.ndarray, " vertices"]:
    """Vertices of the falling part of the lower convex hull, by Andrew's monotone chain; rates in rising order."""
    hull: list[int] = []
    for i in range(len(rate)):
        if hull and distortion[i] >= distortion[hull[-1]]:
            continue
        # Only the first of equal rates may stay if it is lower, and this one is.
        while hull and rate[hull[-1]] == rate[i]:
            hull.pop()
        while len(hull) > 1 and _turns_right(rate, distortion, hull[-2], hull[-1], i):
            hull.pop()
        hull.append(i)
    return np.asarray(hull, np.int64)


def _turns_right(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], a: int, b: int, c: int) -> bool:
    """Whether b lies on or above the line from a to c."""
    return bool((x[b] - x[a]) * (y[c] - y[a]) <= (y[b] - y[a]) * (x[c] - x[a]))
