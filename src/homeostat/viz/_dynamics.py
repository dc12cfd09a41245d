"""Pictures of learned dynamics, from plain arrays: forecasts with bands, frames, matrices, and the path of the evidence."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from ..typing import Float
from ._style import COLOURS, INK, panels, show


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
        actual: measured coordinates.
        mean: forecast; equal to the filter up to `start`.
        deviation: its standard deviation.
        unit: of the vertical axes.
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
        axis.ticklabel_format(useOffset=False)
        axis.legend(frameon=False, fontsize=7, loc="lower right")
    return figure
