"""Learning curves, and rows of numbers as colours."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from ..typing import Float

_MOST_CELLS = 64


class LearningPanel(NamedTuple):
    """Curves that share an axis.

    Attributes:
        title: of the panel.
        curves: pairs of step and value by name.
    """

    title: str
    curves: Mapping[str, Sequence[tuple[float, float]]]


def plot_learning(panels: Sequence[LearningPanel], *, label: str) -> Figure:
    """Numbers against the steps of learning, one panel for each kind.

    Args:
        panels: at least one.
        label: of the vertical axes, with the unit.
    """
    figure = Figure(figsize=(1.5 + 2.7 * len(panels), 2.9), layout="constrained")
    for axis, panel in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        for name, points in panel.curves.items():
            axis.plot(*zip(*points, strict=True), marker="o" if len(points) < 12 else "", ms=3, lw=1.2, label=name)
        axis.set_title(panel.title, fontsize=10)
        axis.set(xlabel="updates", ylabel=label)
        axis.spines[["top", "right"]].set_visible(False)
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
    figure = Figure(figsize=(7.5, 1.2 + 0.09 * len(values)), layout="constrained")
    axis = figure.subplots()
    bound = float(np.abs(values).max()) or 1.0
    signed = bool(values.min() < 0)
    image = axis.imshow(
        values, aspect="auto", cmap="RdBu_r" if signed else "viridis", vmin=-bound if signed else 0.0, vmax=bound
    )
    axis.set(xlabel="entry of the row", ylabel=ylabel, title=title)
    axis.title.set_fontsize(10)
    figure.colorbar(image)
    return figure
