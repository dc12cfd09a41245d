"""Plots of inference show the numbers they are given."""

import numpy as np
from matplotlib.patches import Rectangle

from homeostat.viz import PathOnSurface, plot_energies, plot_energy_surface, plot_gaps, plot_reconstructions


def test_surface_marks_its_minimum_and_every_path():
    across, along = np.linspace(-2, 2, 21), np.linspace(-1, 1, 11)
    energy = (across[None, :] - 0.4) ** 2 + 3 * (along[:, None] + 0.2) ** 2
    points = np.stack([np.linspace(-1, 0.4, 6), np.linspace(0.8, -0.2, 6)], axis=1)
    figure = plot_energy_surface(across, along, energy, [PathOnSurface("one", points)], labels=("a", "b"))
    whole, enlarged = figure.axes[:2]
    lines = {line.get_label(): line for line in whole.lines}
    np.testing.assert_allclose(lines["one"].get_xydata(), points)
    np.testing.assert_allclose(lines["least energy of the grid"].get_xydata(), [[0.4, -0.2]], atol=1e-12)
    np.testing.assert_allclose(lines["start"].get_xydata(), points[:1])
    assert enlarged.get_xlim()[0] < 0.4 < enlarged.get_xlim()[1]
    assert enlarged.get_xlim()[1] - enlarged.get_xlim()[0] < 1.0
    figure.canvas.draw()


def test_energies_are_medians_over_images():
    excess = np.array([[100.0, 10.0, 0.1], [200.0, 20.0, 0.2], [900.0, 90.0, 0.9]])
    figure = plot_energies({"one": excess})
    (axis,) = figure.axes
    np.testing.assert_allclose(axis.lines[0].get_ydata(), [200.0, 20.0, 0.2])
    np.testing.assert_allclose(axis.lines[1].get_ydata(), 1.0)
    figure.canvas.draw()


def test_gaps_count_every_image_even_those_below_zero():
    figure = plot_gaps({"one": np.array([-3.0, 0.0, 0.5, 40.0]), "two": np.array([1.0, 1.0, 2.0, 5.0])})
    for axis in figure.axes:
        assert sum(patch.get_height() for patch in axis.patches if isinstance(patch, Rectangle)) == 4
    assert "median 0.25" in figure.axes[0].get_title()
    figure.canvas.draw()


def test_reconstructions_colour_what_differs():
    image = np.zeros((1, 4, 4))
    image[0, :2] = 1.0
    told = np.zeros((1, 2, 4, 4))
    told[0, :, :, :2] = 1.0
    figure = plot_reconstructions(image, told, titles=["start", "step 1"], notes=np.array([[1.25, 2.0]]))
    assert len(figure.axes) == 3
    shown = np.asarray(figure.axes[1].images[0].get_array())
    np.testing.assert_array_equal(shown[0, 0], [1, 1, 1])
    np.testing.assert_array_equal(shown[3, 0], [1, 0, 0])
    np.testing.assert_array_equal(shown[0, 3], [0, 0, 1])
    assert figure.axes[1].get_xlabel() == "1.2"
    figure.canvas.draw()
