"""Plots of inference, from plain arrays: surfaces with paths, gaps, energies against steps, reconstructions."""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.figure
import numpy as np

from ..typing import Float


class PathOnSurface(NamedTuple):
    """Where one engine went on the plane of two latents.

    Attributes:
        name: of the engine.
        points: one row (first latent, second latent) for each step.
    """

    name: str
    points: Float[np.ndarray, "steps 2"]


class EnergyCurves(NamedTuple):
    """Energies of one engine above the optimum.

    Attributes:
        name: of the engine.
        excess_nats: one row for each image, one column for each step.
    """

    name: str
    excess_nats: Float[np.ndarray, "images steps"]


class Gaps(NamedTuple):
    """Amortization gaps of one engine, one for each image, in nats."""

    name: str
    nats: Float[np.ndarray, " images"]


def plot_energy_surface(
    horizontal: Float[np.ndarray, " m"],
    vertical: Float[np.ndarray, " n"],
    energy_nats: Float[np.ndarray, "n m"],
    paths: Sequence[PathOnSurface],
    *,
    labels: tuple[str, str],
) -> matplotlib.figure.Figure:
    """Contours of an energy over two latents, each engine's path, and an enlargement around the minimum.

    Args:
        horizontal: grid of the first latent.
        vertical: grid of the second latent.
        energy_nats: the energy on the grid, rows by `vertical`.
        paths: the engines' paths, in the same coordinates; all start in the same place.
        labels: of the two axes, with units.
    """
    excess = np.asarray(energy_nats) - np.min(energy_nats)
    row, column = np.unravel_index(np.argmin(excess), excess.shape)
    best = (float(horizontal[column]), float(vertical[row]))
    figure = matplotlib.figure.Figure(figsize=(12, 5.2), layout="constrained")
    axes = figure.subplots(1, 2)
    # Root scale: levels are dense where inference ends and still show the far plateaus.
    drawn = [axis.contourf(horizontal, vertical, np.sqrt(excess), levels=30, cmap="Greys") for axis in axes]
    for axis in axes:
        for path in paths:
            points = np.asarray(path.points)
            axis.plot(points[:, 0], points[:, 1], ".-", lw=1.4, ms=5, label=path.name, alpha=0.9)
        axis.plot(*best, marker="*", ms=13, color="gold", mec="black", label="least energy of the grid")
        axis.set_xlabel(labels[0])
        axis.set_ylabel(labels[1])
    axes[0].plot(*np.asarray(paths[0].points)[0], "s", color="cyan", mec="black", label="start")
    axes[0].legend(fontsize=8, loc="upper left")
    axes[0].set_xlim(horizontal[0], horizontal[-1])
    axes[0].set_ylim(vertical[0], vertical[-1])
    half = 0.1 * (horizontal[-1] - horizontal[0]), 0.1 * (vertical[-1] - vertical[0])
    axes[1].set_xlim(best[0] - half[0], best[0] + half[0])
    axes[1].set_ylim(best[1] - half[1], best[1] + half[1])
    axes[1].set_title("enlarged")
    figure.colorbar(drawn[0], ax=axes, label="square root of the energy above its minimum, nats$^{1/2}$")
    return figure


def plot_energies(curves: Sequence[EnergyCurves], *, level_nats: float = 1.0) -> matplotlib.figure.Figure:
    """Median energy above the optimum against steps, with the middle half of the images shaded.

    Args:
        curves: one entry for each engine.
        level_nats: drawn as a line.
    """
    figure = matplotlib.figure.Figure(figsize=(7.5, 4.8), layout="constrained")
    axis = figure.subplots()
    for index, curve in enumerate(curves):
        low, middle, high = np.quantile(np.maximum(np.asarray(curve.excess_nats), 1e-3), [0.25, 0.5, 0.75], axis=0)
        steps = np.arange(len(middle))
        axis.plot(steps, middle, color=f"C{index}", label=curve.name)
        axis.fill_between(steps, low, high, color=f"C{index}", alpha=0.2, lw=0)
    axis.axhline(level_nats, color="black", lw=0.8, ls="--", label=f"{level_nats:g} nat above the optimum")
    axis.set_xscale("symlog", linthresh=10)
    axis.set_xlim(left=0)
    axis.set_yscale("log")
    axis.set_xlabel("steps")
    axis.set_ylabel("free energy above the optimum, nats")
    axis.legend(fontsize=8, loc="center right")
    return figure


def plot_gaps(gaps: Sequence[Gaps]) -> matplotlib.figure.Figure:
    """Histograms of amortization gaps, one panel for each engine, on one logarithmic axis (below 0.01 nats: leftmost bin)."""
    figure = matplotlib.figure.Figure(figsize=(7.5, 1.6 * len(gaps) + 0.8), layout="constrained")
    axes = np.atleast_1d(figure.subplots(len(gaps), 1, sharex=True))
    largest = max(float(np.max(gap.nats)) for gap in gaps)
    edges = np.logspace(-2, np.log10(max(largest, 1.0)) + 0.1, 41)
    for index, (axis, gap) in enumerate(zip(axes, gaps, strict=True)):
        values = np.maximum(np.asarray(gap.nats), edges[0])
        axis.hist(values, bins=edges, color=f"C{index}")
        axis.axvline(float(np.median(values)), color="black", lw=1)
        axis.set_title(f"{gap.name}: median {np.median(gap.nats):.3g}, mean {np.mean(gap.nats):.3g} nats", fontsize=9)
        axis.set_ylabel("images")
        axis.set_xscale("log")
    axes[-1].set_xlabel("amortization gap, nats")
    return figure


def plot_reconstructions(
    images: Float[np.ndarray, "rows size size"],
    reconstructions: Float[np.ndarray, "rows columns size size"],
    *,
    titles: Sequence[str],
    notes: Float[np.ndarray, "rows columns"] | None = None,
) -> matplotlib.figure.Figure:
    """Images with their reconstructions over iterations: what is missing in blue, what is too much in red.

    Args:
        images: what was seen, values in [0, 1].
        reconstructions: the model's image at each iteration.
        titles: of the columns.
        notes: a number under each reconstruction, for instance its free energy in nats.
    """
    rows, columns = reconstructions.shape[:2]
    figure = matplotlib.figure.Figure(figsize=(1.35 * (columns + 1), 1.55 * rows + 0.3), layout="constrained")
    axes = np.atleast_2d(figure.subplots(rows, columns + 1))
    for row in range(rows):
        seen = np.clip(np.asarray(images[row]), 0, 1)
        axes[row, 0].imshow(seen, cmap="gray", vmin=0, vmax=1)
        for column in range(columns):
            told = np.clip(np.asarray(reconstructions[row, column]), 0, 1)
            # Agreement is white on black; red is told but not seen, blue is seen but not told.
            axes[row, column + 1].imshow(np.stack([told, np.minimum(told, seen), seen], axis=-1))
            if notes is not None:
                axes[row, column + 1].set_xlabel(f"{float(notes[row, column]):.1f}", fontsize=7)
    for axis, title in zip(axes[0], ["image", *titles], strict=True):
        axis.set_title(title, fontsize=8)
    for axis in axes.ravel():
        axis.set_xticks([])
        axis.set_yticks([])
    return figure
