"""Calibration of an engine on a model in one call, with a verdict in words."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ..core import AbstractEngine, AbstractFamily, AbstractModel
from ..results import BadInputError
from ..typing import Bool, Float, Key, Params
from ._calibration import Calibration, coverage_curve, holm, rank_uniformity, simulation_based_calibration, uniformity

LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Levels of the central intervals whose coverage is reported."""

TRUSTED_SHAPE = 0.7
"""Pareto k above which importance weights are not to be trusted (Vehtari et al., JMLR 25, 2024)."""


class CalibrationReport(NamedTuple):
    """Ranks, tests, coverage and weights of one engine on one model. `print` it for the verdict and a table.

    Attributes:
        calibration: ranks and weights of every simulation.
        names: of the quantities.
        chi_square: p-values of uniform ranks in bins, adjusted by Holm's method for all tests of the report together.
        kolmogorov: p-values of uniform ranks by Kolmogorov and Smirnov, adjusted likewise.
        corrected: p-values of uniform importance-weighted ranks, adjusted among themselves. Large where the ranks fail: the
            simulation is sound, and it is q that does not fit.
        shift: (mean rank - its expectation) / standard error; positive where q lies too low.
        width: the same for the squared distance of a rank from the middle; positive where q is too narrow.
        levels: of central intervals.
        coverage: share of simulations whose truth lies in the interval of each level.
        coverage_stderr: its standard error for a calibrated posterior, sqrt(c (1 - c) / n).
        pareto_quantiles: quantiles 5, 50 and 95 % of Pareto k over simulations.
        reliable: share of simulations with Pareto k below 0.7.
        num_failed: simulations whose inference ended non-finite. Their ranks are 0 and count.
        significance: p-values below it tell of miscalibration.
    """

    calibration: Calibration
    names: tuple[str, ...]
    chi_square: Float[np.ndarray, " quantities"]
    kolmogorov: Float[np.ndarray, " quantities"]
    corrected: Float[np.ndarray, " quantities"]
    shift: Float[np.ndarray, " quantities"]
    width: Float[np.ndarray, " quantities"]
    levels: Float[np.ndarray, " levels"]
    coverage: Float[np.ndarray, "levels quantities"]
    coverage_stderr: Float[np.ndarray, " levels"]
    pareto_quantiles: Float[np.ndarray, "3"]
    reliable: float
    num_failed: int
    significance: float

    @property
    def p_values(self) -> Float[np.ndarray, " quantities"]:
        """The smaller adjusted p-value of each quantity."""
        return np.minimum(self.chi_square, self.kolmogorov)

    @property
    def rejected(self) -> Bool[np.ndarray, " quantities"]:
        """Quantities whose ranks are not uniform."""
        return self.p_values < self.significance

    @property
    def calibrated(self) -> bool:
        """Whether no quantity is rejected and no inference failed."""
        return not self.rejected.any() and self.num_failed == 0

    @property
    def verdict(self) -> str:
        """Results of the tests, in a few sentences."""
        simulations, quantities = self.calibration.ranks.shape
        least = int(np.argmin(self.p_values))
        sentences = []
        if self.rejected.any():
            sentences.append(
                f"Not calibrated: {self.rejected.sum()} of {quantities} quantities have ranks that are not uniform over "
                f"{simulations} simulations (smallest adjusted p-value {self.p_values[least]:.2g} of {self.names[least]}, "
                f"against {self.significance:g})."
            )
            faults = [f"{name} {_fault(s, w)}" for name, s, w in self._rejected_scores()]
            more = f", and {len(faults) - 5} more" if len(faults) > 5 else ""
            sentences.append("The posterior of " + ", ".join(faults[:5]) + more + ".")
            sound = self.corrected[self.rejected].min() >= self.significance
            sentences.append(
                "Weighing the draws by importance repairs the ranks: q covers the posterior, but does not fit it."
                if sound
                else "Weighing the draws by importance does not repair the ranks: q misses a part of the posterior."
            )
        else:
            sentences.append(
                f"No miscalibration found: the ranks of all {quantities} quantities agree with uniform ones over "
                f"{simulations} simulations (smallest adjusted p-value {self.p_values[least]:.2g})."
            )
        if self.num_failed:
            sentences.append(f"{self.num_failed} of {simulations} inferences ended non-finite.")
        low, middle, high = self.pareto_quantiles
        sentences.append(
            f"Pareto k of the importance weights: median {middle:.2f}, 5 to 95 % {low:.2f} to {high:.2f}; below "
            f"{TRUSTED_SHAPE:g} in {100 * self.reliable:.0f} % of the simulations."
        )
        return " ".join(sentences)

    def _rejected_scores(self) -> list[tuple[str, float, float]]:
        order = [i for i in np.argsort(self.p_values, kind="stable") if self.rejected[i]]
        return [(self.names[i], float(self.shift[i]), float(self.width[i])) for i in order]

    def __str__(self) -> str:
        """The verdict, and a line for each quantity."""
        head = f"{'quantity':<12}{'p (chi2)':>10}{'p (KS)':>10}{'p (IS)':>10}{'shift z':>9}{'width z':>9}"
        head += "".join(f"{f'in {100 * level:g} %':>10}" for level in self.levels)
        lines = [self.verdict, "", head]
        for i, name in enumerate(self.names):
            line = f"{name:<12}{self.chi_square[i]:>10.2g}{self.kolmogorov[i]:>10.2g}{self.corrected[i]:>10.2g}"
            line += f"{self.shift[i]:>9.1f}{self.width[i]:>9.1f}"
            lines.append(line + "".join(f"{100 * share:>8.1f} %" for share in self.coverage[:, i]))
        lines.append("standard error".ljust(60) + "".join(f"{100 * e:>8.1f} %" for e in self.coverage_stderr))
        return "\n".join(lines)


def calibrate(
    model: AbstractModel,
    engine: AbstractEngine,
    family: AbstractFamily[Params],
    *,
    key: Key,
    num_simulations: int = 1_000,
    num_bins: int = 16,
    levels: Sequence[float] = LEVELS,
    significance: float = 0.01,
    names: Sequence[str] | None = None,
    **simulation: Any,
) -> CalibrationReport:
    """Simulation-based calibration with its tests, in one call.

    Args:
        model: both simulates and explains.
        engine: under test.
        family: of q.
        key: random key.
        num_simulations: number of simulated data sets.
        num_bins: of the chi-square test; must divide `num_draws` + 1.
        levels: of the central intervals.
        significance: of the verdict, over all tests of ranks together.
        names: of the quantities; z[0], z[1], ... by default.
        simulation: further arguments of `simulation_based_calibration`, such as `num_steps`, `num_draws` and `start`.

    Raises:
        BadInputError: as `simulation_based_calibration`; or fewer than five simulations a bin, too few for the chi-square
            test; or names that are not one for each quantity.
    """
    if num_simulations < 5 * num_bins:
        raise BadInputError(
            f"Expected at least {5 * num_bins} simulations for {num_bins} bins, got num_simulations={num_simulations}."
        )
    run_key, jitter_key = jr.split(key)
    calibration = simulation_based_calibration(
        model, engine, family, key=run_key, num_simulations=num_simulations, **simulation
    )
    return report_calibration(
        calibration, key=jitter_key, num_bins=num_bins, levels=levels, significance=significance, names=names
    )


def report_calibration(
    calibration: Calibration,
    *,
    key: Key,
    num_bins: int = 16,
    levels: Sequence[float] = LEVELS,
    significance: float = 0.01,
    names: Sequence[str] | None = None,
) -> CalibrationReport:
    """The tests and summaries of ranks that are already there; `key` is for the jitter of the ranks."""
    num_simulations, num_quantities = calibration.ranks.shape
    names = tuple(f"z[{i}]" for i in range(num_quantities)) if names is None else tuple(names)
    if len(names) != num_quantities:
        raise BadInputError(f"Expected {num_quantities} names, one for each quantity, got {len(names)}.")
    tests = rank_uniformity(calibration.ranks, calibration.num_draws, key=key, num_bins=num_bins)
    adjusted = holm(np.concatenate([tests.chi_square, tests.kolmogorov]))
    middle = (np.asarray(calibration.ranks, np.float64) + 0.5) / (calibration.num_draws + 1) - 0.5
    # Moments of the uniform distribution on [-1/2, 1/2]; the steps between ranks change them by less than 1 / (L + 1)^2.
    shift = middle.mean(axis=0) / np.sqrt(1.0 / 12.0 / num_simulations)
    width = (np.mean(middle**2, axis=0) - 1.0 / 12.0) / np.sqrt(1.0 / 180.0 / num_simulations)
    intervals = np.asarray(levels, np.float64)
    shapes = np.asarray(calibration.pareto_shape, np.float64)
    return CalibrationReport(
        calibration,
        names,
        adjusted[:num_quantities],
        adjusted[num_quantities:],
        # A failed simulation has no weights; like its ranks, it counts as the lowest.
        holm(uniformity(jnp.nan_to_num(calibration.corrected, nan=0.0))),
        shift,
        width,
        intervals,
        coverage_curve(calibration.ranks, calibration.num_draws, intervals),
        np.sqrt(intervals * (1.0 - intervals) / num_simulations),
        np.nanquantile(shapes, [0.05, 0.5, 0.95]) if np.isfinite(shapes).any() else np.full(3, np.nan),
        float(np.mean(shapes < TRUSTED_SHAPE)),
        int(np.sum(calibration.failed)),
        significance,
    )


def _fault(shift: float, width: float) -> str:
    """In words, what the larger of two scores says."""
    if max(abs(shift), abs(width)) < 3.0:
        return "has a shape that does not fit"
    if abs(width) >= abs(shift):
        return "is too narrow" if width > 0 else "is too wide"
    return "lies too low" if shift > 0 else "lies too high"
