"""Plots of perception show the numbers they are given."""

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex, to_rgb

from homeostat.viz import (
    BoundCurve,
    CalibrationSummary,
    ComparisonRow,
    PathOnSurface,
    RateDistortionSeries,
    SettingCurve,
    plot_active_units,
    plot_bound_by_setting,
    plot_bound_progress,
    plot_calibration_summary,
    plot_comparison,
    plot_energy_surface,
    plot_gradient_norms,
    plot_learning,
    plot_rate_distortion,
    plot_reconstructions_over_iterations,
    plot_samples,
    plot_sheets,
)
from homeostat.viz._style import MISSING
from tolerances import AUTODIFF


def test_bound_surface_marks_the_maximum_paths_and_single_estimates():
    across, along = np.linspace(-2, 2, 21), np.linspace(-1, 1, 11)
    bound = -((across[None, :] - 0.4) ** 2) - 3 * (along[:, None] + 0.2) ** 2
    points = np.stack([np.linspace(-1, 0.4, 6), np.linspace(0.8, -0.2, 6)], axis=1)
    direct = PathOnSurface("direct", np.asarray([[0.2, -0.1]]))
    paths, optimum = [PathOnSurface("iterative", points)], "highest bound of the grid"
    figure = plot_energy_surface(across, along, -bound, paths, [direct], labels=("z1", "z2"), optimum=optimum)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    np.testing.assert_allclose(lines["iterative"].get_xydata(), points)
    np.testing.assert_allclose(lines["highest bound of the grid"].get_xydata(), [[0.4, -0.2]], atol=1e-12)
    np.testing.assert_allclose(lines["direct"].get_xydata(), [[0.2, -0.1]])
    legend = {text.get_text() for text in figure.axes[0].get_legend().get_texts()}
    assert {"iterative", "direct", "highest bound of the grid", "start"} == legend
    figure.canvas.draw()


def test_progress_is_below_the_best_against_steps_and_seconds():
    curve = BoundCurve(
        "one", np.asarray([-95.0, -86.0, -85.0, -85.0]), np.full(4, 0.25), np.asarray([0.0, 0.1, 0.2, 0.3])
    )
    figure = plot_bound_progress([curve], best_nats=-85.0, trained_steps=2, floor_nats=0.01)
    by_step, by_time = figure.axes
    np.testing.assert_allclose(by_step.lines[0].get_xydata(), [[0, 10.0], [1, 1.0], [2, 0.01], [3, 0.01]])
    # Time zero has no place on a logarithmic axis.
    np.testing.assert_allclose(by_time.lines[0].get_xydata(), [[0.1, 1.0], [0.2, 0.01], [0.3, 0.01]])
    (band,) = (c for c in by_step.collections if isinstance(c, PolyCollection))
    heights = band.get_paths()[0].vertices
    np.testing.assert_allclose(sorted({*heights[heights[:, 0] == 0.0, 1]}), [9.5, 10.5])
    assert any("trained with 2" in text.get_text() for text in by_step.texts)
    figure.canvas.draw()


@pytest.mark.parametrize("channels", [(), (3,)])
def test_reconstructions_end_with_the_data(channels):
    rng = np.random.default_rng(0)
    images, told = rng.random((2, 4, 5, *channels)), rng.random((2, 3, 4, 5, *channels))
    figure = plot_reconstructions_over_iterations(images, told, iterations=[0, 1, 16])
    grid = np.asarray(figure.axes).reshape(2, 5)
    assert [axis.get_title() for axis in grid[0]] == ["0", "1", "16", "", "data"]
    np.testing.assert_allclose(grid[1, 2].images[0].get_array(), told[1, 2])
    np.testing.assert_allclose(grid[1, 4].images[0].get_array(), images[1])
    assert not grid[0, 3].images
    figure.canvas.draw()


def test_gradient_norms_have_one_line_for_each_iteration():
    norms = np.asarray([[8.0, 4.0, 2.0], [4.0, 2.0, 1.0]])
    figure = plot_gradient_norms(np.asarray([0.0, 100.0]), norms)
    axis = figure.axes[0]
    for iteration, line in enumerate(axis.lines):
        np.testing.assert_allclose(line.get_ydata(), norms[:, iteration])
    assert len(axis.lines) == 3 and len({to_hex(line.get_color()) for line in axis.lines}) == 3
    figure.canvas.draw()


def test_bounds_by_setting_have_two_standard_errors_and_a_reference():
    curves = [SettingCurve(name, np.asarray([-88.0, -86.0]), np.asarray([0.5, 0.25])) for name in ("a", "b")]
    reference = SettingCurve("direct", np.asarray([-87.0]), np.asarray([0.1]))
    figure = plot_bound_by_setting([2, 16], curves, xlabel="iterations", reference=reference)
    (axis,) = figure.axes
    bars = [c.lines[0] for c in axis.containers]
    np.testing.assert_allclose([bar.get_ydata() for bar in bars], [[-88.0, -86.0]] * 2)
    segments = axis.containers[0].lines[2][0].get_segments()
    np.testing.assert_allclose([segment[:, 1] for segment in segments], [[-89.0, -87.0], [-86.5, -85.5]])
    figure.canvas.draw()
    assert [label.get_text() for label in axis.get_xticklabels()] == ["2", "16"]


def test_comparison_writes_the_numbers_beside_the_points():
    rows = [
        ComparisonRow("one level", "direct", 84.314, 0.05, 84.14),
        ComparisonRow("one level", "iterative", 83.9, 0.04),
        ComparisonRow("one level", "one seed", 85.0, float("nan")),
    ]
    figure = plot_comparison(rows, xlabel="nats")
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.texts] == ["84.31 ± 0.05   (84.14)", "83.90 ± 0.04", "85.00"]
    np.testing.assert_allclose([c.lines[0].get_xdata()[0] for c in axis.containers], [84.314, 83.9, 85.0])
    figure.canvas.draw()
    names = ["one level: direct", "one level: iterative", "one level: one seed"]
    assert [label.get_text() for label in axis.get_yticklabels()] == names


def test_rate_distortion_draws_the_frontier_and_the_best_bound():
    rate, distortion = np.asarray([2.0, 4.0, 6.0]), np.asarray([7.0, 6.0, 4.0])
    series = RateDistortionSeries(
        "models", np.asarray([2.0, 1.0, 0.5]), rate, rate * 0.1, distortion, rate * 0.1, np.asarray([0, 2])
    )
    figure = plot_rate_distortion([series])
    (axis,) = figure.axes
    lines = {line.get_label(): line.get_xydata() for line in axis.lines}
    np.testing.assert_allclose(lines["R + D = 9.00, the best bound"].sum(axis=1), 9.0)
    assert any(np.array_equal(line, [[2.0, 7.0], [6.0, 4.0]]) for line in lines.values())
    assert [text.get_text() for text in axis.texts] == ["2", "1", "0.5"]
    figure.canvas.draw()


def test_active_units_are_counted_and_sorted():
    figure = plot_active_units([np.asarray([0.005, 0.8, -1e-4])], [np.asarray([0.1, 2.0, 0.0])])
    left, right = figure.axes
    np.testing.assert_allclose([patch.get_height() for patch in left.patches], [0.8, 0.005, 2e-4])
    np.testing.assert_allclose([patch.get_height() for patch in right.patches], [2.0, 0.1, 0.0])
    assert left.get_title() == "level 1: 1 of 3 units active"
    assert right.get_title() == "2.10 nats, 2.00 in active units"
    figure.canvas.draw()


def test_samples_stand_in_a_grid():
    images = np.arange(5)[:, None, None] * np.full((5, 2, 3), 0.2)
    figure = plot_samples(images, columns=3)
    sheet = np.asarray(figure.axes[0].images[0].get_array())
    assert sheet.shape == (2 * 3 + 1, 3 * 4 + 1)
    np.testing.assert_allclose(sheet[1:3, 5:8], 0.2)
    np.testing.assert_allclose(sheet[4:6, 5:8], 0.8)
    figure.canvas.draw()


def test_calibration_summary_colours_what_is_rejected():
    rng = np.random.default_rng(0)
    places = np.linspace(0.1, 0.9, 5)
    summary = CalibrationSummary(
        rng.random((40, 3)),
        np.asarray([0.5, 1e-6, 0.9]),
        np.asarray([False, True, False]),
        np.asarray([0.1] * 30 + [0.9] * 10),
        np.asarray([0.5, 0.9]),
        np.asarray([[0.5, 0.3, 0.5], [0.9, 0.6, 0.9]]),
        places,
        np.full(5, -0.1),
        np.full(5, 0.1),
    )
    figure = plot_calibration_summary(summary, ["a", "b", "c"], significance=0.01)
    ranks, cover, tests, weights = figure.axes
    assert [text.get_text() for text in ranks.get_legend().get_texts()] == ["b"]
    np.testing.assert_allclose([patch.get_height() for patch in tests.patches], -np.log10(summary.p_values))
    assert tests.patches[1].get_facecolor() != tests.patches[0].get_facecolor() == tests.patches[2].get_facecolor()
    covered = {line.get_label(): line.get_ydata() for line in cover.lines}
    np.testing.assert_allclose(covered["b"], [0.3, 0.6])
    assert weights.get_title() == "weights: 75 % below 0.7"
    figure.canvas.draw()


@pytest.mark.parametrize("shape", [(2, 2, 3), (2, 2, 3, 3)])
def test_missing_pixels_are_pink(shape):
    images = np.full(shape, 0.5)
    images[0, 0, 0] = np.nan
    figure = plot_samples(images)
    figure.canvas.draw()
    (image,) = figure.axes[0].images
    drawn = image.to_rgba(image.get_array())[1, 1, :3] if images.ndim == 3 else np.asarray(image.get_array())[1, 1]
    np.testing.assert_allclose(drawn, to_rgb(MISSING), atol=AUTODIFF)


def test_a_learning_curve_shows_what_is_lost_again_and_not_the_first_updates():
    training = [(0, 900.0), *((step, 4.0 - 0.01 * step) for step in range(1, 40))]
    validation = [(10, 4.3), (20, 4.4), (30, 4.9), (40, 5.2)]
    (axis,) = plot_learning({"free energy": {"training": training, "validation": validation}}, label="nats").axes
    low, high = axis.get_ylim()
    assert low < 3.61 and 5.2 < high < 10.0


def test_ticks_tell_whole_values():
    figure = plot_learning({"free energy": {"training": [(0, 18.83001), (10, 18.83002)]}}, label="nats")
    figure.canvas.draw()
    assert not figure.axes[0].yaxis.get_major_formatter().get_offset()


def test_sheets_name_columns_and_units_and_share_colours_of_one_kind():
    data, names = (
        np.asarray([[0.0, 3.0, np.nan], [1.0, 2.0, 0.5]]),
        ("a long name", "another long name", "and one more"),
    )
    sheets = {"data": data, "reconstruction": 0.5 * data, "residual": -0.5 * data}
    figure = plot_sheets(sheets, names=names, label="column", unit="count")
    panels, bars = figure.axes[:3], figure.axes[3:]
    assert [axis.get_title() for axis in panels] == [*sheets] and [bar.get_ylabel() for bar in bars] == ["count"] * 2
    assert [text.get_text() for text in panels[-1].get_xticklabels()] == [*names]
    assert [axis.images[0].get_clim() for axis in panels] == [(0.0, 3.0), (0.0, 3.0), (-1.5, 1.5)]
    centred = plot_sheets({"loadings": data}, names=names, label="column", unit="deviations", centred=True)
    assert centred.axes[0].images[0].get_clim() == (-3.0, 3.0)
    many = plot_sheets({"data": np.ones((30, 70))}, names=[*map(str, range(70))], label="entry", unit="count").axes[0]
    assert [text.get_text() for text in many.get_xticklabels()] == [*map(str, range(0, 64, 2))]
    assert many.get_xlabel() == "entry (the first 64 of 70)" and len(many.get_yticklabels()) <= 10
