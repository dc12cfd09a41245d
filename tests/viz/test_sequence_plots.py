"""Figures of sequences: predictions one step ahead, and the fan of a forecast."""

import numpy as np
from matplotlib.dates import date2num

from homeostat.viz import (
    BeliefBand,
    plot_learning,
    plot_one_step,
    plot_posterior_bands,
    plot_prediction_update,
    plot_quantile_fan,
)

RANDOM = np.random.default_rng(0)


def places(line):
    return np.asarray(line.get_xdata()).tolist()


def test_a_fan_joins_quantiles_that_are_equally_far_from_the_ends():
    levels = (0.75, 0.05, 0.5, 0.25, 0.95)
    quantiles = np.array([np.full((4, 2), level) for level in levels])
    figure = plot_quantile_fan(
        RANDOM.normal(size=(6, 2)), quantiles, levels, names=("pulse", "pressure"), label="hours"
    )
    axis = figure.axes[0]
    for band, (low, high) in zip(axis.collections, ((0.05, 0.95), (0.25, 0.75)), strict=True):
        heights = np.asarray(band.get_paths()[0].vertices)[:, 1]
        assert (heights.min(), heights.max()) == (low, high)
        assert band.get_label() == f"{100 * low:g} to {100 * high:g} %"
    median, seen = axis.lines[0], axis.lines[1]
    assert np.asarray(median.get_ydata()).tolist() == [0.5] * 4 and places(median) == [1, 2, 3, 4]
    assert places(seen)[-1] == 0 and [one.get_title(loc="left") for one in figure.axes] == ["pulse", "pressure"]
    single = plot_quantile_fan(np.zeros((1, 1)), np.zeros((1, 3, 1)), (0.5,), names=("x",))
    assert len(single.axes[0].collections) == 0


def test_steps_have_their_own_times_and_probabilities_no_band():
    seen = RANDOM.random((5, 1))
    when = np.array([0.5, 1.0, 3.0, 3.5, 9.0])
    figure = plot_one_step(seen, 0.5 * seen, None, names=("note",), time=when, label="hours")
    axis = figure.axes[0]
    assert len(axis.collections) == 0 and axis.get_xlabel() == "hours"
    assert all(places(line) == when.tolist() for line in axis.lines)
    band = plot_one_step(seen, seen, 9 * np.ones_like(seen), names=("x",), limits=(0.0, 1.0)).axes[0].collections[0]
    heights = np.asarray(band.get_paths()[0].vertices)[:, 1]
    assert (heights.min(), heights.max()) == (0.0, 1.0)


def test_updates_begin_at_the_step_that_was_predicted_first():
    bands = [BeliefBand(name, np.zeros((3, 1)), np.ones((3, 1))) for name in ("prediction", "update")]
    figure = plot_prediction_update(*bands, np.ones((3, 1)), names=("x",), time=np.arange(2, 5), called="seen")
    axis = figure.axes[0]
    assert places(axis.lines[0]) == [2, 3, 4]
    assert "seen" in axis.get_legend_handles_labels()[1]


def ticks(axis):
    """Texts of the ticks of the time axis, as they are drawn."""
    axis.figure.draw_without_rendering()
    return [tick.get_text() for tick in axis.get_xticklabels()]


def test_dates_stand_on_the_time_axis_of_every_figure():
    dates = np.datetime64("2020-01-31", "us") + np.arange(50) * np.timedelta64(1, "D")
    band, how = BeliefBand("belief", np.zeros((50, 2)), np.ones((50, 2))), {"names": ("x", "y"), "label": "date"}
    figures = [
        plot_one_step(band.mean, band.mean, None, **how, time=dates, unit="metres"),
        plot_prediction_update(band, band, **how, time=dates),
        plot_posterior_bands([band], **how, time=dates),
        plot_quantile_fan(np.zeros((40, 2)), np.zeros((1, 10, 2)), (0.5,), **how, time=dates),
    ]
    for figure in figures:
        assert {"Feb", "Mar"} <= {*ticks(figure.axes[-1])}
        assert figure.axes[-1].get_xlabel() == "date"
    assert figures[0].get_supylabel() == "metres"
    last, border = figures[-1].axes[0].lines[0], figures[-1].axes[0].lines[-1]
    np.testing.assert_array_equal(places(last), date2num(dates[40:]))
    # Between the last step seen and the first to come.
    np.testing.assert_allclose(places(border), date2num(dates[39]) + 0.5)


def test_steps_are_whole_numbers():
    figure = plot_posterior_bands([BeliefBand("belief", np.zeros((4, 1)), np.ones((4, 1)))], names=("x",))
    assert all(float(text) % 1 == 0 for text in ticks(figure.axes[0]))


def test_curves_differ_in_more_than_their_colours():
    curves = {"training": [(0, 2.0), (1, 1.0)], "validation": [(0, 3.0), (1, 2.0)]}
    one, other = plot_learning({"free energy": curves}, label="nats").axes[0].lines
    assert one.get_linestyle() != other.get_linestyle() and one.get_marker() != other.get_marker()
