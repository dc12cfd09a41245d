"""Plots of simulation-based calibration, from plain arrays."""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.figure
import numpy as np

from ..typing import Array, Float, Int


def plot_ranks(
    counts: Int[Array, "bins quantities"], low: float, high: float, names: Sequence[str]
) -> matplotlib.figure.Figure:
    """Histograms of ranks; single counts lie between `low` and `high` as a rule if the posterior is calibrated."""
    figure = matplotlib.figure.Figure(figsize=(9, 2.4), layout="constrained")
    num_bins = counts.shape[0]
    panels = np.atleast_1d(figure.subplots(1, len(names), sharey=True))
    for axes, name, column in zip(panels, names, np.asarray(counts).T, strict=True):
        axes.axhspan(low, high, color="0.88")
        axes.axhline(column.mean(), color="0.5", linewidth=0.8)
        axes.bar((np.arange(num_bins) + 0.5) / num_bins, column, width=0.9 / num_bins, color="tab:blue")
        axes.set(title=name, xlabel="rank / draws", xlim=(0, 1))
    panels[0].set_ylabel("simulations")
    return figure


class RankCurves(NamedTuple):
    """Content of `plot_coverage`.

    Attributes:
        levels: of central intervals.
        coverage: share of simulations whose truth they hold.
        positions: places between 0 and 1.
        deviations: share of normalised ranks up to each place, less the place.
        low: lower edge of the band of the deviations.
        high: upper edge.
    """

    levels: Float[Array, " levels"]
    coverage: Float[Array, "levels quantities"]
    positions: Float[Array, " positions"]
    deviations: Float[Array, "positions quantities"]
    low: Float[Array, " positions"]
    high: Float[Array, " positions"]


def plot_coverage(curves: RankCurves, names: Sequence[str]) -> matplotlib.figure.Figure:
    """Coverage against level, and the ranks' distribution function less the uniform one."""
    figure = matplotlib.figure.Figure(figsize=(8, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
    right.fill_between(curves.positions, curves.low, curves.high, color="0.88", step="mid")
    for name, covered, deviation in zip(names, curves.coverage.T, curves.deviations.T, strict=True):
        left.plot(curves.levels, covered, label=name)
        right.plot(curves.positions, deviation, label=name)
    left.set(xlabel="level of the interval", ylabel="share that holds the truth", xlim=(0, 1), ylim=(0, 1))
    right.set(xlabel="rank / draws", ylabel="deviation from uniform", xlim=(0, 1))
    left.legend(frameon=False)
    return figure


class CalibrationSeries(NamedTuple):
    """Calibration against the noise of a pixel, for one model.

    Attributes:
        label: of the model.
        sigmas: noise levels.
        p_values: of uniform ranks.
        coverage: of 80 % intervals.
        pareto: quantiles 5, 50 and 95 % of Pareto k, one row for each level.
    """

    label: str
    sigmas: Float[Array, " levels"]
    p_values: Float[Array, " levels"]
    coverage: Float[Array, " levels"]
    pareto: Float[Array, "levels 3"]


def plot_calibration_series(series: Sequence[CalibrationSeries], error: float) -> matplotlib.figure.Figure:
    """p-values, coverage (with bars of `error`) and Pareto k against noise."""
    figure = matplotlib.figure.Figure(figsize=(9, 3), layout="constrained")
    p_values, coverage, pareto = figure.subplots(1, 3)
    for place, one in enumerate(series):
        # Moved apart a little, so that bars do not hide one another.
        sigmas, colour = np.asarray(one.sigmas) * 1.05**place, f"C{place}"
        p_values.plot(sigmas, np.maximum(one.p_values, 1e-12), "o-", color=colour, label=one.label)
        coverage.errorbar(sigmas, one.coverage, error, fmt="o-", color=colour)
        low, middle, high = np.asarray(one.pareto).T
        pareto.errorbar(sigmas, middle, [middle - low, high - middle], fmt="o", color=colour)
    p_values.axhline(0.01, color="0.5", linestyle=":")
    p_values.set(yscale="log", ylabel="adjusted p-value (chi-square)")
    p_values.legend(frameon=False, fontsize="small")
    coverage.axhline(0.8, color="0.5", linewidth=0.8)
    coverage.set(ylabel="coverage of 80 % intervals")
    pareto.axhline(0.7, color="0.5", linestyle=":")
    pareto.set(ylabel="Pareto k")
    for axes in (p_values, coverage, pareto):
        axes.set(xscale="log", xlabel="sigma")
        axes.set_xticks(series[0].sigmas, [f"{sigma:g}" for sigma in np.asarray(series[0].sigmas)])
        axes.minorticks_off()
    return figure
