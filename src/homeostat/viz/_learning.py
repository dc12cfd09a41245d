"""Curves of agents that learn by acting."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from ._style import COLOURS, panels


def plot_returns(curves: Mapping[str, Mapping[str, Sequence[Sequence[tuple[float, float]]]]]) -> Figure:
    """Numbers against steps in an environment, one panel for each kind, one line for each agent.

    Args:
        curves: for each panel its series by name, each with the points (step, value) of every agent.
    """
    figure, axes = panels(1.0 + 2.6 * len(curves), 2.8, 1, len(curves))
    for axis, (title, series) in zip(axes, curves.items(), strict=True):
        for number, (name, agents) in enumerate(series.items()):
            drawn = [points for points in agents if points]
            for index, points in enumerate(drawn):
                style = {"color": COLOURS[number % len(COLOURS)], "lw": 1.1, "alpha": 0.9 if len(drawn) == 1 else 0.7}
                marker = "o" if len(points) < 30 and number else ""
                label = name if index == 0 and len(series) > 1 else None
                axis.plot(*zip(*points, strict=True), marker=marker, ms=3, label=label, **style)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("steps")
        axis.xaxis.set_major_locator(MaxNLocator(4))
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        if len(series) > 1:
            axis.legend(frameon=False, fontsize=8)
    return figure
