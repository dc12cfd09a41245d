"""Plots of what models have learned, from plain arrays: curves, rate and distortion, use of latents, samples, sheets."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..typing import Float, Int
from ._style import COLOURS, INK, LINES, MARKERS, MISSING, name_cells, panels

_MOST_CELLS = 64
_MOST_NAMES, _MOST_ROW_NAMES = 40, 10
_CHARACTERS = 80
"""Characters of tick labels that fit beside one another."""


class RateDistortionSeries(NamedTuple):
    """Models in the plane of rate and distortion, in order of rising rate.

    Attributes:
        betas: weight of the rate in training.
        frontier: indices of the models on the convex frontier.
    """

    name: str
    betas: Float[np.ndarray, " models"]
    rate_nats: Float[np.ndarray, " models"]
    rate_stderr_nats: Float[np.ndarray, " models"]
    distortion_nats: Float[np.ndarray, " models"]
    distortion_stderr_nats: Float[np.ndarray, " models"]
    frontier: Int[np.ndarray, " vertices"]


_MOST_LOST = 4.0
"""How far the axis of a learning curve reaches for what was lost again, in heights of what was won."""


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
    """Images in a grid with thin lines between them; grey, or with three channels, values in [0, 1]. What is missing (NaN) is pink."""
    images = np.clip(np.asarray(images), 0.0, 1.0)
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    height, width = images.shape[1:3]
    sheet = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, *images.shape[3:]), 0.45)
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + 1) + 1, (index % columns) * (width + 1) + 1
        sheet[top : top + height, left : left + width] = image
    figure, (axis,) = panels(0.62 * columns, 0.62 * rows * height / width)
    if images.shape[3:] == (3,):
        sheet = np.where(np.isnan(sheet), to_rgb(MISSING), sheet)
    axis.imshow(sheet, cmap=colormaps["gray"].with_extremes(bad=MISSING), vmin=0.0, vmax=1.0)
    axis.axis("off")
    return figure


def plot_learning(curves: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]], *, label: str) -> Figure:
    """Numbers against the steps of learning, one panel for each kind.

    Args:
        curves: for each panel its curves by name, as pairs of step and value.
        label: of the vertical axes, with the unit.
    """
    figure, axes = panels(1.5 + 2.7 * len(curves), 2.9, 1, len(curves))
    for axis, (title, lines) in zip(axes, curves.items(), strict=True):
        for number, (name, points) in enumerate(lines.items()):
            marker = MARKERS[number % len(MARKERS)] if len(points) < 12 else ""
            style = {"color": COLOURS[number % len(COLOURS)], "ls": LINES[number % len(LINES)], "marker": marker}
            axis.plot(*zip(*points, strict=True), **style, ms=3, lw=1.2, label=name)
        axis.set_title(title, fontsize=10)
        axis.set(xlabel="updates", ylabel=label)
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        paths = [np.asarray(line.get_ydata(), float) for line in axis.lines]
        values = np.concatenate(paths)
        # The first updates are far above all others: the axis shows where learning happens, and what is lost after the best.
        low, usual = float(values.min()), float(np.quantile(values, 0.95))
        lost = max(float(path[path.argmin() :].max()) for path in paths)
        high = max(usual, min(lost, low + _MOST_LOST * (usual - low)))
        axis.set_ylim(low - 0.05 * (high - low or 1.0), high + 0.1 * (high - low or 1.0))
        if len(axis.lines) > 1:
            axis.legend(frameon=False, fontsize=8)
    return figure


def plot_selection(sizes: Sequence[int], nats: Sequence[float], name: str, label: str) -> Figure:
    """Free energy of validation data against a size, lower is better; the lowest is marked."""
    figure, (axis,) = panels(5.0, 3.2)
    axis.plot(sizes, nats, "o-", color=COLOURS[0], lw=1.2, ms=5, label="validation")
    if np.isfinite(nats).any():
        best = int(np.nanargmin(nats))
        axis.plot(sizes[best], nats[best], "o", ms=11, mfc="none", color=COLOURS[1], label=f"the best, {sizes[best]}")
    axis.set(xlabel=name, ylabel=label)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(frameon=False, fontsize=8)
    return figure


def plot_sheets(
    sheets: Mapping[str, Float[np.ndarray, "rows entries"]],
    *,
    names: Sequence[str],
    label: str,
    unit: str,
    rows: Sequence[str] | None = None,
    row_label: str = "row",
    centred: bool = False,
) -> Figure:
    """Numbers as colours, one panel for each sheet by its title, up to 64 entries of each row.

    Sheets with numbers below 0 share diverging colours around 0, the others colours from 0 on. What is missing (NaN) is pink.

    Args:
        names: of the entries.
        label: of their axis.
        unit: of all numbers.
        rows: names of the rows; 1, 2, ... if left out.
        centred: whether colours diverge around 0 even if no number is below.
    """
    shown = {title: np.asarray(values)[:, :_MOST_CELLS] for title, values in sheets.items()}
    heights = [0.9 + 0.09 * len(values) for values in shown.values()]
    longest = max(map(len, names[:_MOST_CELLS]), default=0)
    # The label of the colours needs some height.
    height = max(sum(heights), 2.0) + 0.5 + 0.06 * longest
    figure, axes = panels(7.5, height, len(shown), boxed=True, sharex=True, height_ratios=heights)
    signed = {title: centred or bool(np.nanmin(values) < 0) for title, values in shown.items()}
    for kind in sorted({*signed.values()}):
        alike = [title for title in shown if signed[title] == kind]
        bound = max(float(np.nanmax(np.abs(shown[title]))) for title in alike) or 1.0
        limits = (
            {"cmap": colormaps["RdBu_r"].with_extremes(bad=MISSING), "vmin": -bound, "vmax": bound}
            if kind
            else {"cmap": colormaps["viridis"].with_extremes(bad=MISSING), "vmin": 0.0, "vmax": bound}
        )
        group = [axes[[*shown].index(title)] for title in alike]
        images = [
            axis.imshow(shown[title], aspect="auto", interpolation="nearest", **limits)
            for axis, title in zip(group, alike, strict=True)
        ]
        figure.colorbar(images[-1], ax=group).set_label(unit, fontsize=9)
    for axis, (title, values) in zip(axes, shown.items(), strict=True):
        axis.set_title(title, fontsize=10)
        axis.set_ylabel(row_label, fontsize=9)
        name_cells(axis.yaxis, [str(row + 1) for row in range(len(values))] if rows is None else rows, _MOST_ROW_NAMES)
    more = f" (the first {_MOST_CELLS} of {len(names)})" if len(names) > _MOST_CELLS else ""
    name_cells(axes[-1].xaxis, names[:_MOST_CELLS], _MOST_NAMES)
    # Only short names stand beside one another.
    axes[-1].tick_params(axis="x", rotation=90 if longest * min(len(names), _MOST_NAMES) > _CHARACTERS else 0)
    axes[-1].set_xlabel(label + more)
    return figure
