"""What the plots share: colours, markers, panels, pictures and legends."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#1f2933"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9")
"""Okabe and Ito's palette, which colour-blind readers can tell apart (its yellow darkened for thin lines)."""

MARKERS = ("o", "s", "^", "D", "v", "P")
"""Shapes beside colours, for readers who see no colours."""


def panels(
    width: float, height: float, rows: int = 1, columns: int = 1, *, boxed: bool = False, **options: Any
) -> tuple[Figure, list[Axes]]:
    """A figure (inches) and its panels, row by row; without a frame at the top and at the right unless `boxed`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = [*np.ravel(figure.subplots(rows, columns, **options))]
    for axis in () if boxed else axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def panels_in_time(names: Sequence[str], height: float, label: str) -> tuple[Figure, list[Axes]]:
    """One panel below another for each coordinate, on one time axis."""
    figure, axes = panels(7.0, height * len(names) + 0.4, len(names), sharex=True)
    for axis, name in zip(axes, names, strict=True):
        axis.set(ylabel=name)
    axes[-1].set_xlabel(label)
    return figure, axes


def show(axis: Axes, image: Any, title: str = "") -> None:
    """A picture with values in [0, 1], grey or in colour, without ticks."""
    axis.imshow(np.clip(np.asarray(image), 0.0, 1.0), cmap="gray", vmin=0.0, vmax=1.0)
    axis.set(xticks=[], yticks=[], title=title)


def legend_above(axis: Axes, columns: int = 4) -> None:
    """Above a panel, where it hides nothing."""
    axis.legend(
        frameon=False, fontsize=7, ncols=columns, loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.0
    )
