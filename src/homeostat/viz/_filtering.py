"""Pictures of filtering, from plain arrays: predictions against updates, posterior bands, and cost against length."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ..typing import Float
from ._style import COLOURS, INK, MARKERS, legend_above, panels, panels_in_time


class BeliefBand(NamedTuple):
    """Beliefs over time as means and deviations.

    Attributes:
        mean: of each coordinate.
        deviation: its standard deviation.
    """

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
    first: int = 1,
    called: str = "state",
) -> Figure:
    """Beliefs before and after each observation, one panel for each coordinate, with one standard deviation.

    Args:
        prediction: before the observation.
        update: after it.
        states: what was true, if known, or what was seen.
        first: number of the first step.
        called: name of `states` in the legend.

    References:
        Marino (thesis), Fig. 4.3.
    """
    figure, axes = panels_in_time(names, 2.0, "step")
    time = first + np.arange(prediction.mean.shape[0])
    for index, axis in enumerate(axes):
        if states is not None:
            axis.plot(time, states[:, index], color=INK, lw=0.8, ls=":", label=called)
        for band, shift, colour, marker in ((prediction, -0.12, COLOURS[1], "o"), (update, 0.12, COLOURS[0], "s")):
            bars = {"fmt": marker, "ms": 3, "lw": 0.9, "capsize": 0, "color": colour, "label": band.name}
            axis.errorbar(time + shift, band.mean[:, index], band.deviation[:, index], **bars)
        for step, (before, after) in enumerate(zip(prediction.mean[:, index], update.mean[:, index], strict=True)):
            axis.plot([first + step - 0.12, first + step + 0.12], [before, after], color=INK, lw=0.6)
    legend_above(axes[0], 3)
    return figure


def plot_posterior_bands(
    bands: Sequence[BeliefBand],
    states: Float[np.ndarray, "time d"] | None = None,
    *,
    names: Sequence[str],
    time: Float[np.ndarray, " time"] | None = None,
    label: str = "step",
) -> Figure:
    """Beliefs of several methods with bands of two standard deviations, one panel for each coordinate.

    Args:
        states: what was true, if known; dots.
        time: of the steps of all of them; 1, 2, ... if left out.
    """
    figure, axes = panels_in_time(names, 1.9, label)
    for index, axis in enumerate(axes):
        for number, band in enumerate(bands):
            steps = np.arange(1, band.mean.shape[0] + 1) if time is None else time
            mean, deviation = band.mean[:, index], band.deviation[:, index]
            colour, style = COLOURS[number % len(COLOURS)], ("-", "--", "-.", ":")[number % 4]
            axis.fill_between(steps, mean - 2.0 * deviation, mean + 2.0 * deviation, color=colour, alpha=0.15, lw=0)
            axis.plot(steps, mean, color=colour, lw=1.2, ls=style, label=band.name)
        if states is not None:
            steps = np.arange(1, len(states) + 1) if time is None else time
            axis.plot(steps, states[:, index], ".", color=INK, ms=3, label="state")
    legend_above(axes[0], len(bands) + 1)
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
