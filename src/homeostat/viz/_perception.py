"""Plots of static perception, from plain arrays: how inference proceeds, what it gains, and what models have learned."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from ..typing import Float, Int
from ._style import COLOURS, INK, MARKERS, panels, show


class BoundCurve(NamedTuple):
    """The bound of one inference method while it works.

    Attributes:
        bound_nats: mean bound before the first step and after each.
        seconds: wall-clock time since the start, at the same moments.
    """

    name: str
    bound_nats: Float[np.ndarray, " moments"]
    stderr_nats: Float[np.ndarray, " moments"]
    seconds: Float[np.ndarray, " moments"]


class SettingCurve(NamedTuple):
    """A bound at several settings of one number, for instance the iterations of inference."""

    name: str
    bound_nats: Float[np.ndarray, " settings"]
    stderr_nats: Float[np.ndarray, " settings"]


class ComparisonRow(NamedTuple):
    """One line of a comparison.

    Attributes:
        group: rows of one group stand together, for instance "one level".
        published: the value of the source, if it is to be shown beside.
    """

    group: str
    name: str
    value: float
    stderr: float
    published: float | None = None


def plot_bound_progress(
    curves: Sequence[BoundCurve], *, best_nats: float, trained_steps: int | None = None, floor_nats: float = 1e-2
) -> Figure:
    """How far mean bounds are below the best known one, against iterations and against wall-clock time.

    Bands are two standard errors. What lies less than `floor_nats` below the best is drawn at that height.

    Args:
        best_nats: mean of the best known bounds of the same examples.
        trained_steps: number of iterations that a learned method was trained with; marked.
    """
    figure, (by_step, by_time) = panels(9.5, 4.0, 1, 2, sharey=True)
    for index, curve in enumerate(curves):
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        below = best_nats - np.asarray(curve.bound_nats)
        error = 2.0 * np.asarray(curve.stderr_nats)
        middle, low, high = (np.maximum(value, floor_nats) for value in (below, below - error, below + error))
        steps, seconds = np.arange(len(below)), np.asarray(curve.seconds)
        every = np.unique(np.geomspace(1, len(below), 9).astype(int) - 1)
        # Time zero has no place on a logarithmic axis.
        for axis, places, first in ((by_step, steps, 0), (by_time, seconds, int(seconds[0] <= 0.0))):
            shown = slice(first, None)
            axis.plot(places[shown], middle[shown], color=colour, lw=1.6)
            axis.fill_between(places[shown], low[shown], high[shown], color=colour, alpha=0.18, lw=0)
            chosen = every[every >= first]
            axis.plot(places[chosen], middle[chosen], marker, color=colour, ms=4.5, label=curve.name)
    if trained_steps is not None:
        by_step.axvline(trained_steps, color=INK, lw=0.8, ls=":")
        by_step.annotate(
            f"trained with {trained_steps}", (trained_steps, 0.97), xycoords=("data", "axes fraction"), xytext=(4, 0),
            textcoords="offset points", fontsize=8, va="top",
        )  # fmt: skip
    by_step.set_xscale("symlog", linthresh=1)
    by_step.set(xlabel="iterations", ylabel="nats below the best bound", xlim=(0, None), yscale="log")
    by_step.set_ylim(bottom=floor_nats)
    by_time.set(xscale="log", xlabel="seconds")
    by_time.legend(frameon=False, fontsize=8)
    return figure


def plot_reconstructions_over_iterations(
    images: Float[np.ndarray, "rows height width *channels"],
    reconstructions: Float[np.ndarray, "rows moments height width *channels"],
    *,
    iterations: Sequence[int],
) -> Figure:
    """Means of the data under the model as inference goes on, left to right, and the data at the far right.

    Args:
        images: what was seen, values in [0, 1]; grey, or with three channels.
    """
    rows, moments = reconstructions.shape[:2]
    # A narrow empty column sets the data apart.
    figure = Figure(figsize=(0.85 * (moments + 1) + 0.4, 0.85 * rows + 0.35))
    figure.set_layout_engine("constrained", w_pad=0.01, h_pad=0.01, wspace=0.02, hspace=0.02)
    axes = np.asarray(figure.subplots(rows, moments + 2, squeeze=False, width_ratios=[1.0] * moments + [0.15, 1.0]))
    for row in range(rows):
        for column in range(moments):
            show(axes[row, column], reconstructions[row, column])
        axes[row, moments].axis("off")
        show(axes[row, -1], images[row])
    for axis, iteration in zip(axes[0], iterations, strict=False):
        axis.set_title(str(iteration), fontsize=8)
    axes[0, -1].set_title("data", fontsize=8)
    return figure


def plot_gradient_norms(
    training_steps: Float[np.ndarray, " times"] | Int[np.ndarray, " times"],
    norms: Float[np.ndarray, "times iterations"],
    *,
    ylabel: str = "norm of the gradient of the bound, nats per unit",
) -> Figure:
    """Gradient of the bound with respect to the posterior's parameters, one line for each iteration of inference.

    Args:
        training_steps: when it was measured.
        norms: mean norm before each iteration.
    """
    iterations = norms.shape[1]
    figure, (axis,) = panels(6.2, 3.8)
    # Viridis is even in brightness, so that the order is seen without colours; its yellow end is too pale for lines.
    shades = ListedColormap(colormaps["viridis"](np.linspace(0.0, 0.88, iterations)))
    colours = ScalarMappable(BoundaryNorm(np.arange(iterations + 1) - 0.5, iterations), shades)
    for iteration in range(iterations):
        axis.plot(training_steps, norms[:, iteration], color=colours.to_rgba(iteration), lw=1.5)
    axis.set(yscale="log", xlabel="training steps", ylabel=ylabel)
    bar = figure.colorbar(colours, ax=axis, label="iteration of inference")
    bar.set_ticks(np.unique(np.linspace(0, iterations - 1, min(iterations, 9)).astype(int)))
    bar.minorticks_off()
    return figure


def plot_bound_by_setting(
    settings: Sequence[int],
    curves: Sequence[SettingCurve],
    *,
    xlabel: str,
    reference: SettingCurve | None = None,
    ylabel: str = "bound on log p(x), nats",
) -> Figure:
    """Bounds at several numbers of iterations or samples, with bars of two standard errors.

    Args:
        settings: the numbers, on a logarithmic axis.
        curves: one for each method, with one value for each setting.
        reference: a method with a single value, drawn as a line with a band.
    """
    figure, (axis,) = panels(5.4, 3.8)
    places = np.asarray(settings, float)
    if reference is not None:
        value, error = float(reference.bound_nats[0]), 2.0 * float(reference.stderr_nats[0])
        axis.axhspan(value - error, value + error, color="0.85", lw=0)
        axis.axhline(value, color=INK, lw=1.4, label=reference.name)
    for index, curve in enumerate(curves):
        # Moved apart a little, so that bars do not hide one another.
        moved = places * 1.025 ** (index - 0.5 * (len(curves) - 1))
        style = {"fmt": MARKERS[index % len(MARKERS)] + "-", "color": COLOURS[index % len(COLOURS)], "ms": 5, "lw": 1.5}
        error = 2.0 * np.asarray(curve.stderr_nats)
        axis.errorbar(moved, curve.bound_nats, error, capsize=2.5, label=curve.name, **style)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(FixedLocator(list(places)))
    axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set(xlabel=xlabel, ylabel=ylabel)
    axis.legend(frameon=False, fontsize=8)
    return figure


def plot_comparison(rows: Sequence[ComparisonRow], *, xlabel: str, digits: int = 2) -> Figure:
    """A table that can be seen: a point with two standard errors for each row, its numbers at the right.

    Args:
        rows: in the order in which they are to stand, rows of a group one after another.
        xlabel: what the numbers are, and which direction is better.
    """
    figure, (axis,) = panels(7.5, 0.9 + 0.38 * len(rows))
    names = list(dict.fromkeys(row.name for row in rows))
    published = [row for row in rows if row.published is not None]
    place, places, former = 0.0, [], rows[0].group
    for row in rows:
        place += 1.0 if row.group == former else 1.5
        former = row.group
        places.append(place)
        kind = names.index(row.name)
        colour = COLOURS[kind % len(COLOURS)]
        # One seed has no error.
        known = np.isfinite(row.stderr)
        axis.errorbar(
            row.value,
            place,
            xerr=2.0 * row.stderr if known else None,
            fmt=MARKERS[kind % len(MARKERS)],
            color=colour,
            ms=6,
            capsize=3,
        )
        text = f"{row.value:.{digits}f}" + (f" ± {row.stderr:.{digits}f}" if known else "")
        if row.published is not None:
            axis.plot(row.published, place, "|", color=INK, ms=12, mew=1.5)
            text += f"   ({row.published:.{digits}f})"
        axis.annotate(
            text, (1.02, place), xycoords=("axes fraction", "data"), fontsize=8, va="center", family="monospace"
        )
    axis.set_yticks(places, [f"{row.group}: {row.name}" for row in rows])
    axis.set_ylim(places[-1] + 0.6, places[0] - 0.6)
    axis.set_xlabel(xlabel)
    axis.grid(axis="x", color="0.9")
    axis.set_axisbelow(True)
    if published:
        axis.plot([], [], "|", color=INK, ms=10, mew=1.5, label="published (in brackets)")
        axis.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0)
    return figure
