"""Plots of simulation-based calibration, from plain arrays."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from ..typing import Array, Float, Int
from ._style import panels


def plot_ranks(counts: Int[Array, "bins quantities"], low: float, high: float, names: Sequence[str]) -> Figure:
    """Histograms of ranks; single counts lie between `low` and `high` as a rule if the posterior is calibrated."""
    figure, axes = panels(9, 2.4, 1, len(names), boxed=True, sharey=True)
    num_bins = counts.shape[0]
    for axis, name, column in zip(axes, names, np.asarray(counts).T, strict=True):
        axis.axhspan(low, high, color="0.88")
        axis.axhline(column.mean(), color="0.5", linewidth=0.8)
        axis.bar((np.arange(num_bins) + 0.5) / num_bins, column, width=0.9 / num_bins, color="tab:blue")
        axis.set(title=name, xlabel="rank / draws", xlim=(0, 1))
    axes[0].set_ylabel("simulations")
    return figure


class CalibrationSeries(NamedTuple):
    """Calibration against the noise of a pixel, for one model.

    Attributes:
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


def plot_calibration_series(series: Sequence[CalibrationSeries], error: float) -> Figure:
    """p-values, coverage (with bars of `error`) and Pareto k against noise."""
    figure, axes = panels(9, 3, 1, 3, boxed=True)
    p_values, coverage, pareto = axes
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
    for axis in axes:
        axis.set(xscale="log", xlabel="sigma")
        axis.set_xticks(series[0].sigmas, [f"{sigma:g}" for sigma in np.asarray(series[0].sigmas)])
        axis.minorticks_off()
    return figure
