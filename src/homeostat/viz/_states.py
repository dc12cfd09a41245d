"""Pictures of discrete states: what each emits, how they follow one another, and their probabilities over time."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..typing import Float, Int, Shaped
from ._style import COLOURS, INK, legend_above, panels

_MOST_CELLS = 100
_MOST_NAMES = 20


def plot_state_emissions(
    means: Float[np.ndarray, "states entries"],
    deviations: Float[np.ndarray, "states entries"] | None,
    *,
    names: Sequence[str],
) -> Figure:
    """One panel for each entry: its mean in each state, with a bar of one standard deviation to each side.

    Args:
        deviations: None draws no bars, as for probabilities.
    """
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure, axes = panels(2.6 * columns, 2.1 * rows, rows, columns)
    places = np.arange(len(means))
    for index, axis in enumerate(axes):
        if index >= len(names):
            axis.set_visible(False)
            continue
        bars = None if deviations is None else deviations[:, index]
        axis.errorbar(places, means[:, index], bars, fmt="o", color=COLOURS[0], ms=5, capsize=3)
        axis.set(title=names[index], xlabel="state", xlim=(-0.5, len(means) - 0.5))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def plot_probability_table(
    table: Float[np.ndarray, "rows columns"], *, rows: Sequence[str], columns: Sequence[str], labels: tuple[str, str]
) -> Figure:
    """Probabilities whose rows sum to one, as a picture with its numbers where there are few.

    Args:
        labels: what rows and columns are.
    """
    figure, (axis,) = panels(1.6 + 0.6 * min(len(columns), 14), 1.3 + 0.5 * min(len(rows), 14), boxed=True)
    image = axis.imshow(table, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    if len(columns) <= _MOST_NAMES:
        turned = {"rotation": 45, "ha": "right"} if max(map(len, columns)) > 3 else {}
        axis.set_xticks(range(len(columns)), columns, **turned)
    if len(rows) <= _MOST_NAMES:
        axis.set_yticks(range(len(rows)), rows)
    axis.set(ylabel=labels[0], xlabel=labels[1])
    for (i, j), value in np.ndenumerate(table) if table.size <= _MOST_CELLS else ():
        axis.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color="white" if value > 0.6 else INK)
    figure.colorbar(image, label="probability")
    return figure


def plot_probabilities_in_time(
    probabilities: Float[np.ndarray, "time rows"],
    path: Int[np.ndarray, " time"] | None = None,
    *,
    time: np.ndarray,
    rows: Sequence[str],
    label: str,
    what: str = "state",
) -> Figure:
    """Probabilities as a picture, one row for each alternative, with the most probable path as a line over it.

    Args:
        time: numbers or dates of the steps, [time], at least two.
        label: of the axis of time.
        what: one row is.
    """
    count = probabilities.shape[1]
    figure, (axis,) = panels(7.0, 1.3 + 0.35 * min(count, 14), boxed=True)
    # Half-way between steps, which may be dates.
    halves = np.diff(time) / 2 if len(time) > 1 else np.full(1, 0.5)
    borders = np.concatenate([time[:1] - halves[:1], time[:-1] + halves, time[-1:] + halves[-1:]])
    image = axis.pcolormesh(borders, np.arange(count + 1) - 0.5, probabilities.T, cmap="Blues", vmin=0.0, vmax=1.0)
    if path is not None:
        axis.step(time, path, where="mid", color=COLOURS[1], lw=1.0, label="most probable path")
        legend_above(figure, axis)
    if count <= _MOST_NAMES:
        axis.set_yticks(range(count), rows)
    axis.set(xlabel=label, ylabel=what)
    figure.colorbar(image, label="probability")
    return figure


def plot_regime_dynamics(
    eigenvalues: Shaped[np.ndarray, "regimes d"],
    deviations: Float[np.ndarray, "regimes entries"],
    *,
    names: Sequence[str],
) -> Figure:
    """Eigenvalues of the dynamics of each regime beside the unit circle, and bars of what each adds to every entry in a step.

    Args:
        deviations: of one step, in the unit of the data.
        names: of the entries.
    """
    figure, (plane, bars) = panels(7.0, 3.2, 1, 2)
    angles = np.linspace(0.0, 2.0 * np.pi, 200)
    plane.plot(np.cos(angles), np.sin(angles), color=INK, lw=0.8, ls=":")
    width = 0.8 / len(eigenvalues)
    for regime, (values, spread) in enumerate(zip(eigenvalues, deviations, strict=True)):
        colour = COLOURS[regime % len(COLOURS)]
        plane.plot(values.real, values.imag, "o", color=colour, ms=5, alpha=0.8, label=f"regime {regime}")
        bars.bar(np.arange(len(spread)) - 0.4 + (regime + 0.5) * width, spread, width, color=colour)
    plane.set(xlabel="real part", ylabel="imaginary part", aspect="equal")
    turned = {"rotation": 45, "ha": "right"} if max(map(len, names)) > 6 and len(names) > 1 else {}
    bars.set_xticks(range(len(names)), names, **turned)
    bars.set(ylabel="deviation of one step (unit of the data)")
    legend_above(figure, plane)
    return figure
