"""Pictures of filtering and of learned dynamics, from plain arrays: predictions, updates, bands, forecasts, frames, cost."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ..typing import Float, Shaped
from ._style import COLOURS, INK, LINES, MARKERS, legend_above, panels, panels_in_time, show


class BeliefBand(NamedTuple):
    """Beliefs over time as means and deviations."""

    name: str
    mean: Float[np.ndarray, "time d"]
    deviation: Float[np.ndarray, "time d"]


class CostCurve(NamedTuple):
    """Cost of a method against the size of its problem.

    Attributes:
        seconds: median of repeated runs.
    """

    name: str
    size: Float[np.ndarray, " sizes"]
    seconds: Float[np.ndarray, " sizes"]


def plot_prediction_update(
    prediction: BeliefBand,
    update: BeliefBand,
    states: Float[np.ndarray, "time d"] | None = None,
    *,
    names: Sequence[str],
    time: Shaped[np.ndarray, " time"] | None = None,
    label: str = "step",
    unit: str = "",
    called: str = "state",
) -> Figure:
    """Beliefs before and after each observation, one panel for each coordinate, with one standard deviation.

    Args:
        states: what was true, if known, or what was seen.
        time: of the steps, numbers or dates; 1, 2, ... if left out.
        unit: of all coordinates.
        called: name of `states` in the legend.

    References:
        Marino (thesis), Fig. 4.3.
    """
    time = 1 + np.arange(prediction.mean.shape[0]) if time is None else time
    figure, axes, time = panels_in_time(names, 2.0, time, label, unit=unit)
    # Side by side within a step.
    apart = 0.12 * float(np.diff(time).min()) if len(time) > 1 else 0.12
    for index, axis in enumerate(axes):
        if states is not None:
            axis.plot(time, states[:, index], color=INK, lw=0.8, ls=":", marker="x", ms=3, label=called)
        for band, shift, colour, marker in ((prediction, -apart, COLOURS[1], "o"), (update, apart, COLOURS[0], "s")):
            bars = {"fmt": marker, "ms": 3, "lw": 0.9, "capsize": 0, "color": colour, "label": band.name}
            axis.errorbar(time + shift, band.mean[:, index], band.deviation[:, index], **bars)
        for place, before, after in zip(time, prediction.mean[:, index], update.mean[:, index], strict=True):
            axis.plot([place - apart, place + apart], [before, after], color=INK, lw=0.6)
    legend_above(figure, axes[0], 3)
    return figure


def plot_posterior_bands(
    bands: Sequence[BeliefBand],
    states: Float[np.ndarray, "time d"] | None = None,
    *,
    names: Sequence[str],
    time: Shaped[np.ndarray, " time"] | None = None,
    label: str = "step",
    unit: str = "",
) -> Figure:
    """Beliefs of several methods with bands of two standard deviations, one panel for each coordinate.

    Args:
        states: what was true, if known; dots.
        time: of the steps of all of them, numbers or dates; 1, 2, ... if left out.
        unit: of all coordinates.
    """
    time = np.arange(1, bands[0].mean.shape[0] + 1) if time is None else time
    figure, axes, time = panels_in_time(names, 1.9, time, label, unit=unit)
    for index, axis in enumerate(axes):
        for number, band in enumerate(bands):
            mean, deviation = band.mean[:, index], band.deviation[:, index]
            colour, style = COLOURS[number % len(COLOURS)], LINES[number % len(LINES)]
            axis.fill_between(time, mean - 2.0 * deviation, mean + 2.0 * deviation, color=colour, alpha=0.15, lw=0)
            axis.plot(time, mean, color=colour, lw=1.2, ls=style, label=band.name)
        if states is not None:
            axis.plot(time, states[:, index], ".", color=INK, ms=3, label="state")
    legend_above(figure, axes[0], len(bands) + 1)
    return figure


def plot_cost(curves: Sequence[CostCurve], *, label: str) -> Figure:
    """Seconds against the size of the problem, both on logarithmic axes, with a line of proportional growth."""
    figure, (axis,) = panels(5.0, 3.4)
    for number, curve in enumerate(curves):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        axis.loglog(curve.size, curve.seconds, color=colour, marker=marker, ms=4, lw=1.3, label=curve.name)
    if curves:
        size, seconds = curves[0].size, curves[0].seconds
        axis.loglog(size, seconds[-1] * size / size[-1], color=INK, lw=0.7, ls=":", label="proportional")
        axis.set_xticks(size, [f"{int(value):,}" for value in size])
        axis.xaxis.set_minor_locator(NullLocator())
    axis.set(xlabel=label, ylabel="seconds")
    axis.legend(frameon=False, fontsize=7)
    return figure


def plot_forecasts(
    actual: Float[np.ndarray, "time d"],
    mean: Float[np.ndarray, "time d"],
    deviation: Float[np.ndarray, "time d"],
    *,
    names: Sequence[str],
    unit: str,
    start: int,
) -> Figure:
    """One panel for each coordinate: what happened as dots, the forecast as a line with a band of two standard deviations.

    Args:
        mean: forecast; equal to the filter up to `start`.
        start: last frame that the forecast has seen; marked.
    """
    figure, axes = panels(2.9 * len(names), 2.7, 1, len(names))
    time = np.arange(actual.shape[0])
    for index, axis in enumerate(axes):
        low, high = mean[:, index] - 2.0 * deviation[:, index], mean[:, index] + 2.0 * deviation[:, index]
        axis.fill_between(time, low, high, color=COLOURS[0], alpha=0.2, lw=0, label="forecast, 2 sd")
        axis.plot(time, mean[:, index], color=COLOURS[0], lw=1.5)
        axis.plot(time, actual[:, index], ".", color=COLOURS[1], ms=4, label="seen in the image")
        axis.axvline(start, color=INK, lw=0.8, ls=":")
        axis.set(title=names[index], xlabel="step", ylabel=unit if index == 0 else "")
    axes[0].legend(frameon=False, fontsize=7)
    return figure


def plot_frames(rows: Mapping[str, Float[np.ndarray, "time height width *colours"]], *, times: Sequence[int]) -> Figure:
    """Strips of images under one another, one row for each name."""
    count = len(times)
    figure, axes = panels(1.1 * count, 1.25 * len(rows), len(rows), count, boxed=True)
    for index, (name, images) in enumerate(rows.items()):
        row = axes[index * count : (index + 1) * count]
        for axis, image, time in zip(row, images, times, strict=True):
            show(axis, image, f"t = {time}" if index == 0 else "")
            axis.title.set_fontsize(7)
        row[0].set_ylabel(name, fontsize=7)
    return figure


def plot_matrices(pairs: Mapping[str, tuple[Float[np.ndarray, "n m"], Float[np.ndarray, "n m"]]]) -> Figure:
    """For each name the true matrix above the learned one, on one colour scale, with their entries where there are few."""
    figure, axes = panels(3.4 * len(pairs), 5.6, 2, len(pairs), boxed=True)
    for column, (name, matrices) in enumerate(pairs.items()):
        bound = max(float(np.abs(matrix).max()) for matrix in matrices)
        for axis, matrix, kind in zip(axes[column :: len(pairs)], matrices, ("true", "learned"), strict=True):
            axis.imshow(matrix, cmap="RdBu", vmin=-bound, vmax=bound)
            axis.set(title=f"{name}, {kind}", xticks=[], yticks=[])
            for (i, j), value in np.ndenumerate(matrix) if matrix.size <= 16 else ():
                colour = "white" if abs(value) > 0.6 * bound else INK
                axis.text(j, i, f"{value:.3f}", ha="center", va="center", fontsize=7, color=colour)
    return figure


def plot_evidence(paths: Mapping[str, Float[np.ndarray, " steps"]], *, reference: Mapping[str, float]) -> Figure:
    """Log evidence a frame against EM steps, one panel for each name, with the true model's as a dashed line."""
    figure, axes = panels(3.6 * len(paths), 2.7, 1, len(paths))
    for axis, (name, path) in zip(axes, paths.items(), strict=True):
        axis.plot(path, color=COLOURS[0], lw=1.8, label="learned")
        axis.axhline(reference[name], color=INK, lw=1.0, ls="--", label="true dynamics")
        # The first steps climb far; the last ones are what the picture is about.
        spread = max(abs(path[-1] - reference[name]), 0.05)
        axis.set(title=name, xlabel="EM step", ylabel="log evidence (nats a frame)")
        axis.set_ylim(path[-1] - 40.0 * spread, path[-1] + 8.0 * spread)
        axis.legend(frameon=False, fontsize=7, loc="lower right")
    return figure
