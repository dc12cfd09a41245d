"""What the plots share: colours, markers, panels, pictures and legends."""

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

INK = "#1f2933"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9")
"""Okabe and Ito's palette, which colour-blind readers can tell apart (its yellow darkened for thin lines)."""

MARKERS = ("o", "s", "^", "D", "v", "P")
"""Shapes beside colours, for readers who see no colours."""

LINES = ("-", "--", "-.", ":")
"""Line styles beside colours, for the same readers."""

MISSING = "#e8b4d2"
"""Cells and pixels without a number: pink, which no map of colours here has."""

_TITLE = 32
"""Characters of a title over a narrow panel, after which it goes on in another line."""


def panels(
    width: float, height: float, rows: int = 1, columns: int = 1, *, boxed: bool = False, **options: Any
) -> tuple[Figure, list[Axes]]:
    """A figure (inches) and its panels, row by row; without a frame at the top and at the right unless `boxed`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = [*np.ravel(figure.subplots(rows, columns, **options))]
    for axis in axes:
        # A tick tells its whole value, not what it adds to a number in the corner.
        axis.ticklabel_format(useOffset=False)
        if not boxed:
            axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def panels_in_time(
    names: Sequence[str], height: float, time: np.ndarray, label: str, *, unit: str = ""
) -> tuple[Figure, list[Axes], np.ndarray]:
    """One panel below another for each coordinate under its name, on one time axis, and the places of the times on it.

    Args:
        time: numbers of steps, times, or dates (`datetime64`).
        label: of the time axis.
        unit: of what all panels show.
    """
    figure, axes = panels(7.0, height * len(names) + 0.7, len(names), sharex=True)
    for axis, name in zip(axes, names, strict=True):
        axis.set_title(name, fontsize=9, loc="left")
    axes[-1].set_xlabel(label)
    if unit:
        figure.supylabel(unit, fontsize=9)
    return figure, axes, place_times(axes[-1], time)


def place_times(axis: Axes, time: np.ndarray) -> np.ndarray:
    """Places of times on the horizontal axis, whose ticks become dates, or whole numbers where all times are whole."""
    if time.dtype.kind == "M":
        # Between three and four years of weeks have too many months and, by default, too few years for ticks.
        locator = AutoDateLocator(minticks=3, maxticks=8)
        axis.xaxis.set_major_locator(locator)
        axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        return np.asarray(date2num(time))
    if np.array_equal(time, np.floor(time)):
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return time


def name_cells(axis: Axis, names: Sequence[str], most: int) -> None:
    """Names of rows or columns of cells as ticks: of all, or of every k-th where there are more than `most`."""
    shown = np.arange(0, len(names), -(-len(names) // most))
    axis.set_ticks(shown, [names[index] for index in shown], fontsize=7)


def literal(name: str, most: int = 60) -> str:
    """A name of the data as it is written: a dollar sign begins no formula; shortened beyond so many characters."""
    return (name if len(name) <= most else f"{name[: most - 1]}…").replace("$", r"\$")


def narrow_title(axis: Axes, name: str) -> None:
    """A title over a narrow panel, in several lines where it is long."""
    axis.set_title(fill(name, _TITLE), fontsize=9)


def show(axis: Axes, image: Any, title: str = "") -> None:
    """A picture with values in [0, 1], grey or in colour, without ticks."""
    axis.imshow(np.clip(np.asarray(image), 0.0, 1.0), cmap="gray", vmin=0.0, vmax=1.0)
    axis.set(xticks=[], yticks=[], title=title)


def legend_above(figure: Figure, axis: Axes, columns: int = 4) -> None:
    """The names of what a panel shows, above all panels, where they hide nothing."""
    figure.legend(
        *axis.get_legend_handles_labels(), frameon=False, fontsize=8, ncols=columns, loc="outside upper right"
    )
