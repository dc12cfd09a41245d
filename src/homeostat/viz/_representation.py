"""Plots of what models have learned, from plain arrays: rate and distortion, use of latents, samples, calibration."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..typing import Bool, Float, Int
from ._style import COLOURS, INK, panels


class RateDistortionSeries(NamedTuple):
    """Models in the plane of rate and distortion, in order of rising rate.

    Attributes:
        name: what they have in common.
        betas: weight of the rate in training.
        rate_nats: mean rate.
        rate_stderr_nats: its standard error.
        distortion_nats: mean distortion.
        distortion_stderr_nats: its standard error.
        frontier: indices of the models on the convex frontier.
    """

    name: str
    betas: Float[np.ndarray, " models"]
    rate_nats: Float[np.ndarray, " models"]
    rate_stderr_nats: Float[np.ndarray, " models"]
    distortion_nats: Float[np.ndarray, " models"]
    distortion_stderr_nats: Float[np.ndarray, " models"]
    frontier: Int[np.ndarray, " vertices"]


def plot_rate_distortion(series: Sequence[RateDistortionSeries]) -> Figure:
    """Rate against distortion with bars of two standard errors, frontiers, and the line of the best bound.

    Every point of the dotted line has the bound -(R + D) of the best model; a better bound lies below it.
    """
    figure, (axis,) = panels(5.6, 4.4)
    best = min(float(np.min(np.asarray(one.rate_nats) + np.asarray(one.distortion_nats))) for one in series)
    highest = max(float(np.max(one.rate_nats)) for one in series)
    for index, one in enumerate(series):
        rate, distortion, colour = np.asarray(one.rate_nats), np.asarray(one.distortion_nats), COLOURS[index % 6]
        bars = 2.0 * np.asarray(one.distortion_stderr_nats), 2.0 * np.asarray(one.rate_stderr_nats)
        axis.errorbar(rate, distortion, *bars, fmt="o", color=colour, ms=5, capsize=2, label=one.name)
        axis.plot(rate[one.frontier], distortion[one.frontier], color=colour, lw=1.3)
        for x, y, beta in zip(rate, distortion, np.asarray(one.betas), strict=True):
            axis.annotate(f"{beta:g}", (x, y), xytext=(5, 5), textcoords="offset points", fontsize=8, color=colour)
    limits = axis.get_ylim()
    ends = np.asarray([-0.02 * highest, 1.08 * highest])
    axis.plot(ends, best - ends, ":", color=INK, lw=1.2, label=f"R + D = {best:.2f}, the best bound")
    axis.set(xlim=ends, ylim=limits, xlabel="rate R, nats", ylabel="distortion D, nats")
    axis.plot([], [], " ", label="numbers: beta")
    axis.legend(frameon=False, fontsize=8)
    return figure


def plot_active_units(
    variances: Sequence[Float[np.ndarray, " units"]],
    rates_nats: Sequence[Float[np.ndarray, " units"]],
    *,
    threshold: float = 0.01,
) -> Figure:
    """Variance of the posterior mean and KL of every unit, one row of panels for each level, sorted by variance.

    Args:
        variances: Cov_x(E_q[z]) of each level's units.
        rates_nats: KL of each level's units.
        threshold: above which a unit counts as active; drawn as a line.
    """
    levels = len(variances)
    figure, axes = panels(8.0, 2.1 * levels + 0.4, levels, 2)
    for level, (variance, rate) in enumerate(zip(variances, rates_nats, strict=True)):
        order = np.argsort(-np.asarray(variance), kind="stable")
        variance, rate = np.asarray(variance)[order], np.asarray(rate)[order]
        active = variance > threshold
        colours = np.where(active, COLOURS[0], "0.65")
        places = np.arange(len(variance))
        left, right = axes[2 * level : 2 * level + 2]
        # A unit that ignores the data has a variance of zero or, estimated, below.
        left.bar(places, np.maximum(variance, 0.02 * threshold), bottom=0.0, color=colours, width=0.85)
        left.axhline(threshold, color=INK, lw=0.8, ls=":")
        title = f"level {level + 1}: {active.sum()} of {len(active)} units active"
        left.set(yscale="log", ylabel="variance of the mean", title=title)
        left.set_ylim(bottom=0.1 * threshold)
        right.bar(places, rate, color=colours, width=0.85)
        right.set(ylabel="KL, nats", title=f"{rate.sum():.2f} nats, {rate[active].sum():.2f} in active units")
        for axis in (left, right):
            axis.title.set_fontsize(9)
            axis.set_xlim(-0.7, len(places) - 0.3)
            axis.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    for axis in axes[-2:]:
        axis.set_xlabel("unit, in order of its variance")
    return figure


def plot_samples(images: Float[np.ndarray, "count height width *channels"], *, columns: int = 10) -> Figure:
    """Generated images in a grid with thin lines between them; grey, or with three channels, values in [0, 1]."""
    images = np.clip(np.asarray(images), 0.0, 1.0)
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    height, width = images.shape[1:3]
    sheet = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, *images.shape[3:]), 0.45)
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + 1) + 1, (index % columns) * (width + 1) + 1
        sheet[top : top + height, left : left + width] = image
    figure, (axis,) = panels(0.62 * columns, 0.62 * rows * height / width)
    axis.imshow(sheet, cmap="gray", vmin=0.0, vmax=1.0)
    axis.axis("off")
    return figure


class CalibrationSummary(NamedTuple):
    """Content of `plot_calibration_summary`; quantities are coordinates of the latent, for instance.

    Attributes:
        positions: normalised ranks, (rank + 1/2) / (draws + 1).
        p_values: adjusted p-values of uniform ranks.
        rejected: whether each quantity's ranks are not uniform.
        pareto_shape: Pareto k of every simulation.
        levels: of central intervals.
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
        summary: of all quantities; there may be many.
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
