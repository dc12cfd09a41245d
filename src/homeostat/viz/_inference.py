"""Plots of inference, from plain arrays: surfaces with paths, gaps, energies against steps, reconstructions."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from ..typing import Float
from ._style import COLOURS, MARKERS, panels, show


class PathOnSurface(NamedTuple):
    """Where one engine went on the plane of two latents.

    Attributes:
        points: one row (first latent, second latent) for each step.
    """

    name: str
    points: Float[np.ndarray, "steps 2"]


def plot_energy_surface(
    horizontal: Float[np.ndarray, " m"],
    vertical: Float[np.ndarray, " n"],
    energy_nats: Float[np.ndarray, "n m"],
    paths: Sequence[PathOnSurface],
    estimates: Sequence[PathOnSurface] = (),
    *,
    labels: tuple[str, str],
    optimum: str = "least energy of the grid",
) -> Figure:
    """Contours of an energy over two latents, each engine's path, and an enlargement around the minimum.

    Args:
        horizontal: grid of the first latent.
        vertical: grid of the second latent.
        energy_nats: the energy (or the negative bound) on the grid, rows by `vertical`.
        paths: the engines' paths, in the same coordinates; all start in the same place.
        estimates: of methods that give a single point, for instance a direct encoder; diamonds.
        labels: of the two axes, with units.
        optimum: what the legend calls the minimum.
    """
    excess = np.asarray(energy_nats) - np.min(energy_nats)
    row, column = np.unravel_index(np.argmin(excess), excess.shape)
    best = (float(horizontal[column]), float(vertical[row]))
    figure, axes = panels(12, 5.2, 1, 2, boxed=True)
    # Root scale: levels are dense where inference ends and still show the far plateaus.
    drawn = [axis.contourf(horizontal, vertical, np.sqrt(excess), levels=30, cmap="Greys") for axis in axes]
    for axis in axes:
        for path, colour, marker in zip(paths, cycle(COLOURS), cycle(MARKERS), strict=False):
            style = {"color": colour, "marker": marker, "ms": 4, "lw": 1.4, "alpha": 0.9}
            axis.plot(*np.asarray(path.points).T, "-", label=path.name, **style)
        axis.plot(*best, marker="*", ms=13, color="gold", mec="black", label=optimum)
        for estimate, colour in zip(estimates, cycle(COLOURS[::-1]), strict=False):
            style = {"ms": 9, "color": colour, "mec": "white", "zorder": 3}
            axis.plot(*np.asarray(estimate.points)[-1], "D", label=estimate.name, **style)
        axis.set(xlabel=labels[0], ylabel=labels[1])
    axes[0].plot(*np.asarray(paths[0].points)[0], "s", color="cyan", mec="black", label="start")
    axes[0].legend(fontsize=8, loc="upper left")
    axes[0].set(xlim=(horizontal[0], horizontal[-1]), ylim=(vertical[0], vertical[-1]))
    (x, y), dx, dy = best, 0.1 * (horizontal[-1] - horizontal[0]), 0.1 * (vertical[-1] - vertical[0])
    axes[1].set(xlim=(x - dx, x + dx), ylim=(y - dy, y + dy), title="enlarged")
    figure.colorbar(drawn[0], ax=axes, label="square root of the energy above its minimum, nats$^{1/2}$")
    return figure


def plot_energies(curves: Mapping[str, Float[np.ndarray, "images steps"]]) -> Figure:
    """Median energy above the optimum (nats, by the engine's name) against steps; the middle half of the images is shaded."""
    figure, (axis,) = panels(7.5, 4.8, boxed=True)
    for index, (name, excess) in enumerate(curves.items()):
        low, middle, high = np.quantile(np.maximum(np.asarray(excess), 1e-3), [0.25, 0.5, 0.75], axis=0)
        steps = np.arange(len(middle))
        axis.plot(steps, middle, color=f"C{index}", label=name)
        axis.fill_between(steps, low, high, color=f"C{index}", alpha=0.2, lw=0)
    axis.axhline(1.0, color="black", lw=0.8, ls="--", label="1 nat above the optimum")
    axis.set_xscale("symlog", linthresh=10)
    axis.set_xlim(left=0)
    axis.set(yscale="log", xlabel="steps", ylabel="free energy above the optimum, nats")
    axis.legend(fontsize=8, loc="center right")
    return figure


def plot_gaps(gaps: Mapping[str, Float[np.ndarray, " images"]]) -> Figure:
    """Histograms of amortization gaps in nats by the engine's name, on one logarithmic axis (below 0.01 nats: leftmost bin)."""
    figure, axes = panels(7.5, 1.6 * len(gaps) + 0.8, len(gaps), boxed=True, sharex=True)
    largest = max(float(np.max(nats)) for nats in gaps.values())
    edges = np.logspace(-2, np.log10(max(largest, 1.0)) + 0.1, 41)
    for index, (axis, (name, nats)) in enumerate(zip(axes, gaps.items(), strict=True)):
        values = np.maximum(np.asarray(nats), edges[0])
        axis.hist(values, bins=edges, color=f"C{index}")
        axis.axvline(float(np.median(values)), color="black", lw=1)
        axis.set_title(f"{name}: median {np.median(nats):.3g}, mean {np.mean(nats):.3g} nats", fontsize=9)
        axis.set(ylabel="images", xscale="log")
    axes[-1].set_xlabel("amortization gap, nats")
    return figure


def plot_reconstructions(
    images: Float[np.ndarray, "rows size size"],
    reconstructions: Float[np.ndarray, "rows columns size size"],
    *,
    titles: Sequence[str],
    notes: Float[np.ndarray, "rows columns"] | None = None,
) -> Figure:
    """Images with their reconstructions over iterations: what is missing in blue, what is too much in red.

    Args:
        images: what was seen, values in [0, 1].
        reconstructions: the model's image at each iteration.
        notes: a number under each reconstruction, for instance its free energy in nats.
    """
    rows, columns = reconstructions.shape[:2]
    figure, axes = panels(1.35 * (columns + 1), 1.55 * rows + 0.3, rows, columns + 1, boxed=True)
    for row in range(rows):
        first, *others = axes[row * (columns + 1) : (row + 1) * (columns + 1)]
        seen = np.clip(np.asarray(images[row]), 0, 1)
        show(first, seen)
        for column, axis in enumerate(others):
            told = np.clip(np.asarray(reconstructions[row, column]), 0, 1)
            # Agreement is white on black; red is told but not seen, blue is seen but not told.
            show(axis, np.stack([told, np.minimum(told, seen), seen], axis=-1))
            if notes is not None:
                axis.set_xlabel(f"{float(notes[row, column]):.1f}", fontsize=7)
    for axis, title in zip(axes[: columns + 1], ["image", *titles], strict=True):
        axis.set_title(title, fontsize=8)
    return figure
