"""Figures and the table of the calibration experiment, and the records they are made of."""

from typing import NamedTuple

import numpy as np

from ...metrics import Calibration, count_band, coverage_curve, ecdf_difference_band, holm, rank_counts
from ...runs import RunContext
from ...typing import Float, Key
from ...viz import CalibrationSeries, CalibrationSummary, plot_calibration_series, plot_calibration_summary, plot_ranks

NAMES = ("scale", "angle", "x", "y")
NUM_BINS = 16
SIGNIFICANCE = 0.01


class Case(NamedTuple):
    """A template's edge width (pixels) and the noise of a pixel."""

    edge: float
    sigma: float


class RankTests(NamedTuple):
    """p-values of uniform ranks and coverage in one case, one entry for each coordinate.

    Attributes:
        chi_square: in bins.
        kolmogorov: by the largest deviation of their distribution function.
        corrected: after importance weighting.
        coverage: of the central intervals at `LEVELS`.
    """

    chi_square: Float[np.ndarray, "4"]
    kolmogorov: Float[np.ndarray, "4"]
    corrected: Float[np.ndarray, "4"]
    coverage: Float[np.ndarray, "levels 4"]


def draw_calibration(
    context: RunContext, cases: list[Case], results: list[Calibration], summaries: list[RankTests], *, key: Key
) -> None:
    """Ranks and coverage of the first case, p-values and coverage over noise levels, and the table of all cases."""
    first, num = results[0], len(results[0].ranks)
    band = count_band(num, NUM_BINS)
    context.figure(
        "ranks",
        plot_ranks(rank_counts(first.ranks, first.num_draws, NUM_BINS), float(band.low[0]), float(band.high[0]), NAMES),
        caption=f"Ranks of the truth among {first.num_draws} posterior draws, {num:,} simulations, "
        f"given template, sigma = {cases[0].sigma:g}; grey: where 99 % of single counts lie if the posterior is calibrated.",
    )
    context.figure(
        "coverage",
        plot_calibration_summary(_summary(first, summaries[0], key=key), NAMES, significance=SIGNIFICANCE),
        caption="Distribution function of the normalised ranks, less the uniform one (grey: where the whole curve stays with "
        "probability 95 %); coverage of central intervals against their level; adjusted p-values; Pareto k of the weights.",
    )
    context.figure(
        "sigma",
        plot_calibration_series(
            [_series(edge, cases, results, summaries) for edge in dict.fromkeys(case.edge for case in cases)],
            2.0 * float(np.sqrt(0.16 / num)),
        ),
        caption="Where it holds: adjusted p-values of the ranks (left; the dotted line is 0.01), coverage of 80 % intervals "
        "averaged over coordinates (middle; bars of two standard errors of a single one), and Pareto k of the importance "
        "weights (right; median and 5 to 95 %), for the given template and for softer edges.",
    )
    columns = (
        "edge (pixels)", "sigma", "p (chi-square)", "p (Kolmogorov)", "p after weighting", "80 % interval, least",
        "80 % interval, most", "median Pareto k", "share k < 0.7", "failed",
    )  # fmt: skip
    rows = [_row(case, result, summary) for case, result, summary in zip(cases, results, summaries, strict=True)]
    context.table(
        "cases", columns, rows, caption="Calibration by edge width and noise; p-values are Holm-adjusted minima."
    )


def _row(case: Case, result: Calibration, summary: RankTests) -> tuple[str, ...]:
    p_values = (summary.chi_square, summary.kolmogorov, summary.corrected)
    shape = np.asarray(result.pareto_shape)
    return (
        f"{case.edge:g}",
        f"{case.sigma:g}",
        *(f"{holm(p).min():.2g}" for p in p_values),
        f"{summary.coverage[1].min():.3f}",
        f"{summary.coverage[1].max():.3f}",
        f"{np.median(shape):.2f}",
        f"{np.mean(shape < 0.7):.3f}",
        f"{int(np.sum(result.failed))}",
    )


def _summary(calibration: Calibration, tests: RankTests, *, key: Key) -> CalibrationSummary:
    levels = np.linspace(0.02, 0.98, 49)
    positions = (np.asarray(calibration.ranks) + 0.5) / (calibration.num_draws + 1)
    band = ecdf_difference_band(len(positions), levels, key=key)
    coverage = coverage_curve(calibration.ranks, calibration.num_draws, levels)
    p_values, shapes = holm(tests.chi_square), np.asarray(calibration.pareto_shape)
    return CalibrationSummary(
        positions, p_values, p_values < SIGNIFICANCE, shapes, levels, coverage, levels, band.low, band.high
    )


def _series(
    edge: float, cases: list[Case], results: list[Calibration], summaries: list[RankTests]
) -> CalibrationSeries:
    chosen = [k for k, case in enumerate(cases) if case.edge == edge]
    return CalibrationSeries(
        f"edges of {edge:g} pixels",
        np.asarray([cases[k].sigma for k in chosen]),
        np.asarray([holm(summaries[k].chi_square).min() for k in chosen]),
        np.asarray([summaries[k].coverage[1].mean() for k in chosen]),
        np.asarray([np.quantile(results[k].pareto_shape, [0.05, 0.5, 0.95]) for k in chosen]),
    )
