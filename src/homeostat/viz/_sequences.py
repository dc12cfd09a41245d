"""Pictures of what a filter predicted: one step ahead beside what came, and whether the errors still hold a pattern."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ..typing import Float, Shaped
from ._style import COLOURS, INK, legend_above, narrow_title, panels, panels_in_time, place_times

_MOMENTS = ("data", "prediction", "update")


def plot_one_step(
    actual: Float[np.ndarray, "time d"],
    mean: Float[np.ndarray, "time d"],
    deviation: Float[np.ndarray, "time d"] | None,
    *,
    names: Sequence[str],
    time: Shaped[np.ndarray, " time"] | None = None,
    label: str = "step",
    unit: str = "",
    limits: tuple[float, float] = (-np.inf, np.inf),
) -> Figure:
    """One panel for each coordinate: what was seen as dots, the prediction one step ahead with a band of two deviations.

    Args:
        actual: what was seen; NaN where nothing was.
        deviation: its standard deviation; None draws no band, as for probabilities.
        time: of the steps, numbers or dates; 1, 2, ... if left out.
        unit: of all coordinates.
        limits: that no number can leave, nor a band.
    """
    time = np.arange(1, actual.shape[0] + 1) if time is None else time
    figure, axes, time = panels_in_time(names, 1.6, time, label, unit=unit)
    for index, axis in enumerate(axes):
        if deviation is not None:
            low, high = mean[:, index] - 2.0 * deviation[:, index], mean[:, index] + 2.0 * deviation[:, index]
            low, high = np.clip(low, *limits), np.clip(high, *limits)
            axis.fill_between(time, low, high, color=COLOURS[0], alpha=0.2, lw=0, label="two standard deviations")
        axis.plot(time, mean[:, index], color=COLOURS[0], lw=1.0, label="predicted")
        axis.plot(time, actual[:, index], ".", color=COLOURS[1], ms=3, label="seen")
    legend_above(figure, axes[0])
    return figure


def plot_quantile_fan(
    seen: Float[np.ndarray, "past d"],
    quantiles: Float[np.ndarray, "quantiles horizon d"],
    probabilities: Sequence[float],
    *,
    names: Sequence[str],
    time: Shaped[np.ndarray, " past_plus_horizon"] | None = None,
    label: str = "step",
    unit: str = "",
) -> Figure:
    """How sequences may go on: the end of what was seen, then bands between quantiles, one panel for each coordinate.

    Args:
        seen: the last steps; NaN where nothing was.
        quantiles: of each coming step, in the order of the probabilities.
        probabilities: in [0, 1]; each band joins two that are equally far from the ends, a single one is a line.
        time: of the steps seen and of those to come, numbers or dates; if left out the last step seen is 0.
        label: of the time axis.
        unit: of all coordinates.
    """
    time = np.arange(1 - len(seen), quantiles.shape[1] + 1) if time is None else time
    figure, axes, time = panels_in_time(names, 1.7, time, label, unit=unit)
    past, ahead = time[: len(seen)], time[len(seen) :]
    order = np.argsort(probabilities, kind="stable")
    for index, axis in enumerate(axes):
        for depth, (low, high) in enumerate(zip(order[: len(order) // 2], order[::-1], strict=False)):
            share = f"{100 * probabilities[low]:g} to {100 * probabilities[high]:g} %"
            bottom, top = quantiles[low, :, index], quantiles[high, :, index]
            # Inner bands are darker, also in the legend.
            alpha = min(0.18 + 0.17 * depth, 0.6)
            axis.fill_between(ahead, bottom, top, color=COLOURS[0], alpha=alpha, lw=0, label=share)
        if len(order) % 2:
            middle = order[len(order) // 2]
            share = f"{100 * probabilities[middle]:g} %"
            axis.plot(ahead, quantiles[middle, :, index], color=COLOURS[0], lw=1.2, marker="D", ms=2, label=share)
        axis.plot(past, seen[:, index], ".", color=COLOURS[1], ms=3, label="seen")
        axis.axvline(0.5 * (past[-1] + ahead[0]), color=INK, lw=0.8, ls=":")
    legend_above(figure, axes[0])
    return figure


def plot_whiteness(errors: Float[np.ndarray, "time d"], *, names: Sequence[str], most_lags: int = 20) -> Figure:
    """Autocorrelation of errors, one panel for each coordinate, with the 95 % bounds of white noise.

        r_k = mean_t e_t e_{t+k} / mean_t e_t^2,   e less its mean; bounds +- 1.96 / sqrt(n)

    Args:
        errors: NaN where nothing was seen.

    References:
        Box and Jenkins (1970), Time series analysis, Section 8.2.
    """
    figure, axes = panels(2.6 * len(names), 2.3, 1, len(names), sharey=True)
    for index, axis in enumerate(axes):
        error = errors[:, index]
        seen = np.isfinite(error)
        centred = np.where(seen, error - (error[seen].mean() if seen.any() else 0.0), 0.0)
        lags = np.arange(1, min(most_lags, max(len(error) - 1, 1)) + 1)
        power = float((centred**2).sum()) or 1.0
        values = [float((centred[lag:] * centred[:-lag]).sum()) / power for lag in lags]
        bound = 1.96 / np.sqrt(max(int(seen.sum()), 1))
        axis.bar(lags, values, color=COLOURS[0], width=0.6)
        for level in (-bound, bound):
            axis.axhline(level, color=INK, lw=0.8, ls=":")
        axis.set(xlabel="lag (steps)", ylim=(-1.0, 1.0))
        narrow_title(axis, names[index])
        place_times(axis, lags)
    axes[0].set_ylabel("autocorrelation")
    return figure


def plot_prediction_update_rolls(
    seen: Float[np.ndarray, "time notes"],
    predicted: Float[np.ndarray, "time notes"],
    updated: Float[np.ndarray, "time notes"],
    *,
    first: int = 1,
) -> Figure:
    """Piano rolls under one another: what came, the prediction, and the output after the update; low notes at the bottom.

    Args:
        seen: 0 or 1.
        predicted: probabilities before the update.
        updated: probabilities after it.
    """
    figure, axes = panels(7.0, 4.6, 3, boxed=True, sharex=True, sharey=True)
    extent = (first - 0.5, first + len(seen) - 0.5, -0.5, seen.shape[1] - 0.5)
    sounding = np.flatnonzero(seen.any(axis=0))
    for axis, roll, name in zip(axes, (seen, predicted, updated), _MOMENTS, strict=True):
        look = {"cmap": "Greys", "vmin": 0.0, "vmax": 1.0, "interpolation": "nearest"}
        axis.imshow(roll.T, origin="lower", aspect="auto", extent=extent, **look)
        axis.set_ylabel(f"{name}\nnote")
    if sounding.size:
        axes[0].set_ylim(sounding[0] - 3, sounding[-1] + 3)
    place_times(axes[-1], np.arange(first, first + len(seen)))
    axes[-1].set_xlabel("step")
    return figure


def plot_prediction_update_waves(
    seen: Float[np.ndarray, "time samples"],
    predicted: Float[np.ndarray, "time samples"],
    updated: Float[np.ndarray, "time samples"],
    *,
    first: int = 1,
) -> Figure:
    """Waveforms under one another, steps joined end to end: what came, the prediction, and the output after the update.

    Args:
        predicted: their means before the update.
        updated: their means after it.
    """
    figure, axes = panels(7.0, 3.6, 3, sharex=True, sharey=True)
    colours = (INK, COLOURS[0], COLOURS[1])
    for axis, wave, name, colour in zip(axes, (seen, predicted, updated), _MOMENTS, colours, strict=True):
        axis.plot(first - 0.5 + np.arange(wave.size) / seen.shape[1], wave.ravel(), color=colour, lw=0.6)
        axis.set_ylabel(name)
    place_times(axes[-1], np.arange(first, first + len(seen)))
    axes[-1].set_xlabel("step")
    return figure


def plot_iterations(
    numbers: Sequence[int],
    bounds: Float[np.ndarray, " numbers"],
    errors: Float[np.ndarray, " numbers"],
    improvement: Float[np.ndarray, " iterations"],
) -> Figure:
    """Bound against the iterations of training, and what each iteration of one model gains over the prior estimate.

    Args:
        numbers: iterations with which models were trained.
        bounds: negative bound per step of each, in nats.
        errors: their standard errors; NaN for none.
        improvement: of the bound after 0, 1, ... iterations over that of the prior estimate, in percent.

    References:
        Marino (thesis), Fig. 4.4.
    """
    figure, (left, right) = panels(7.0, 2.9, 1, 2)
    left.errorbar(numbers, bounds, 2.0 * np.nan_to_num(errors), color=COLOURS[0], marker="o", ms=4, capsize=2)
    left.set(xscale="log", xlabel="iterations in training", ylabel="negative bound, nats per step")
    left.set_xticks(list(numbers), [str(number) for number in numbers])
    left.minorticks_off()
    right.plot(np.arange(len(improvement)), improvement, color=COLOURS[1], marker="o", ms=4)
    right.set(xlabel="iteration", ylabel="improvement over the prior, %")
    return figure
