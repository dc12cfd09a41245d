"""Learning curves, and rows of numbers as colours."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from ..typing import Float
from ._style import panels

_MOST_CELLS = 64


def plot_learning(curves: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]], *, label: str) -> Figure:
    """Numbers against the steps of learning, one panel for each kind.

    Args:
        curves: for each panel its curves by name, as pairs of step and value.
        label: of the vertical axes, with the unit.
    """
    figure, axes = panels(1.5 + 2.7 * len(curves), 2.9, 1, len(curves))
    for axis, (title, lines) in zip(axes, curves.items(), strict=True):
        for name, points in lines.items():
            axis.plot(*zip(*points, strict=True), marker="o" if len(points) < 12 else "", ms=3, lw=1.2, label=name)
        axis.set_title(title, fontsize=10)
        axis.set(xlabel="updates", ylabel=label)
        values = np.concatenate([np.asarray(line.get_ydata(), float) for line in axis.lines])
        # The first updates are far above all others: the axis shows where learning happens.
        low, high = float(values.min()), float(np.quantile(values, 0.95))
        axis.set_ylim(low - 0.05 * (high - low or 1.0), high + 0.1 * (high - low or 1.0))
        if len(axis.lines) > 1:
            axis.legend(frameon=False, fontsize=8)
    return figure


def plot_sheet(values: Float[np.ndarray, "rows entries"], *, title: str, ylabel: str) -> Figure:
    """Rows of numbers as colours, up to 64 entries of each."""
    values = np.asarray(values)[:, :_MOST_CELLS]
    figure, (axis,) = panels(7.5, 1.2 + 0.09 * len(values), boxed=True)
    bound = float(np.abs(values).max()) or 1.0
    signed = bool(values.min() < 0)
    image = axis.imshow(
        values, aspect="auto", cmap="RdBu_r" if signed else "viridis", vmin=-bound if signed else 0.0, vmax=bound
    )
    axis.set(xlabel="entry of the row", ylabel=ylabel, title=title)
    axis.title.set_fontsize(10)
    figure.colorbar(image)
    return figure
