"""Plots of simulation-based calibration, from plain arrays."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from ..typing import Array, Bool, Float, Int
from ._style import COLOURS, INK, panels


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


class CalibrationSummary(NamedTuple):
    """Content of `plot_calibration_summary`; quantities are coordinates of the latent, for instance.

    Attributes:
        positions: normalised ranks, (rank + 1/2) / (draws + 1).
        p_values: adjusted p-values of uniform ranks.
        coverage: share of simulations whose truth they hold.
        band_positions: places between 0 and 1.
        band_low: lower edge of the band that the whole curve of deviations keeps to if calibrated.
        band_high: upper edge.
    """

    positions: Float[np.ndarray, "simulations quantities"]
    p_values: Float[np.ndarray, " quantities"]
    rejected: Bool[np.ndarray, " quantities"]
    pareto_shape: Float[np.ndarray, " simulations"]
    levels: Float[np.ndarray, " levels"]
    coverage: Float[np.ndarray, "levels quantities"]
    band_positions: Float[np.ndarray, " points"]
    band_low: Float[np.ndarray, " points"]
    band_high: Float[np.ndarray, " points"]


def plot_calibration_summary(summary: CalibrationSummary, names: Sequence[str], *, significance: float) -> Figure:
    """Deviations of ranks, coverage, p-values and importance weights in four panels; rejected quantities in colour.

    Args:
        significance: drawn as a line among the p-values.
    """
    figure, axes = panels(9.5, 6.2, 2, 2)
    ranks, cover, tests, weights = axes
    count = len(summary.positions)
    shares = (np.arange(count) + 1.0) / count
    ranks.fill_between(summary.band_positions, summary.band_low, summary.band_high, color="0.88", lw=0)
    cover.plot([0, 1], [0, 1], color="0.6", lw=0.8)
    levels = np.asarray(summary.levels)
    error = 2.0 * np.sqrt(levels * (1.0 - levels) / count)
    cover.fill_between(levels, levels - error, levels + error, color="0.88", lw=0)
    # The worst in front and in colours; the others in grey.
    worst = [i for i in np.argsort(summary.p_values, kind="stable") if summary.rejected[i]]
    colours = {i: COLOURS[1:][place] for place, i in enumerate(worst[: len(COLOURS) - 1])}
    for i in sorted(range(len(names)), key=lambda i: i in colours):
        style = {
            "color": colours.get(i, COLOURS[0] if not worst else "0.6"),
            "lw": 1.6 if i in colours else 0.9,
            "label": names[i] if i in colours else None,
        }
        sorted_ranks = np.sort(summary.positions[:, i])
        ranks.plot(sorted_ranks, shares - sorted_ranks, **style)
        cover.plot(levels, summary.coverage[:, i], ".-", **style)
    ranks.set(xlabel="rank / draws", ylabel="deviation from uniform", xlim=(0, 1), title="ranks of the truth")
    cover.set(xlabel="level of the interval", ylabel="share that holds the truth", title="coverage")
    lowest = float(min(levels.min(), np.min(summary.coverage))) - 0.05
    cover.set(xlim=(float(levels.min()) - 0.05, 1.0), ylim=(lowest, 1.01))
    if colours:
        ranks.legend(frameon=False, fontsize=8)
    heights = -np.log10(np.clip(np.asarray(summary.p_values), 1e-16, 1.0))
    tests.bar(np.arange(len(names)), heights, color=[colours.get(i, COLOURS[0]) for i in range(len(names))], width=0.8)
    tests.axhline(-np.log10(significance), color=INK, lw=0.8, ls=":")
    tests.set(
        ylabel="$-\\log_{10}$ of the adjusted p-value", title=f"uniformity of the ranks ({significance:g} dotted)"
    )
    tests.set_ylim(0.0, max(1.15 * float(heights.max()), -1.5 * np.log10(significance)))
    shown = np.arange(0, len(names), -(-len(names) // 8))
    tests.set_xticks(shown, [names[i] for i in shown], fontsize=8)
    shapes = np.clip(np.asarray(summary.pareto_shape), -0.5, 2.0)
    weights.hist(shapes[np.isfinite(shapes)], bins=np.linspace(-0.5, 2.0, 41), color=COLOURS[0])
    weights.axvline(0.7, color=INK, lw=0.8, ls=":")
    share = float(np.mean(np.asarray(summary.pareto_shape) < 0.7))
    weights.set(xlabel="Pareto k (clipped)", ylabel="simulations", title=f"weights: {100 * share:.0f} % below 0.7")
    for axis in axes:
        axis.title.set_fontsize(10)
    return figure
