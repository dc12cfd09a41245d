"""Antialiased images against areas by counting, and their gradients against finite differences."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from environments.drawing import areas, turned
from homeostat.environments import Antialiased, SpriteGrid, outline
from homeostat.environments._antialiased import signed_distance
from homeostat.results import BadInputError
from tolerances import FINITE_DIFFERENCES, FLOAT32

POSES = [(0, 1.0, 0.4, 30.3, 25.9), (1, 0.7, 2.0, 18.2, 40.7), (2, 0.9, 5.5, 33.3, 47.1), (2, 0.5, 3.0, 20.0, 20.0)]

WORST_PIXEL = (0.25, 0.07, 0.45)
"""What is promised of the worst pixel of a square (at its corners), an ellipse, and a heart (at its two cusps)."""

MEAN_ERROR = 7e-4
"""What is promised of the mean error over the 4,096 pixels of an image."""


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("size", [64, 96])
def test_pixels_are_covered_areas(pose, size):
    shape, scale, angle, x, y = pose
    vertices = turned(outline(shape), scale, angle, (x, y)) * size / 64
    expected = areas(vertices, size, per_pixel=16)
    drawn = np.asarray(Antialiased(size=size).image(jnp.asarray(shape), *map(jnp.asarray, (scale, angle, x, y))))
    assert drawn.shape == (size, size)
    error = np.abs(drawn - expected)
    assert error.max() < WORST_PIXEL[shape]
    assert error.mean() < MEAN_ERROR
    np.testing.assert_allclose(drawn.sum(), expected.sum(), rtol=0.011)


@pytest.mark.parametrize("pose", POSES)
def test_gradients_agree_with_finite_differences(pose):
    """Of a smooth function of the image, along every pose parameter."""
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(64, 64)))
    weights = jax.scipy.signal.convolve(weights, jnp.ones((5, 5)) / 25, mode="same")
    shape = jnp.asarray(pose[0])

    def score(parameters):
        return jnp.sum(weights * Antialiased(edge_width=2.0).image(shape, *parameters))

    point = jnp.asarray(pose[1:])
    gradient = eqx.filter_jit(jax.grad(score))(point)
    assert jnp.all(jnp.isfinite(gradient))
    # Slopes differ between cells of the distance table, so the step has to stay within one.
    step = 1e-5
    for axis in range(4):
        shift = step * jnp.eye(4)[axis]
        difference = (score(point + shift) - score(point - shift)) / (2 * step)
        np.testing.assert_allclose(gradient[axis], difference, rtol=FINITE_DIFFERENCES, atol=FINITE_DIFFERENCES)


def test_gradients_lead_back_to_a_displaced_sprite():
    """Descending the squared error from two pixels off: position, scale and angle come back."""
    render = Antialiased(edge_width=3.0)
    shape = jnp.asarray(2)
    truth = jnp.asarray([0.8, 1.0, 30.0, 34.0])
    target = render.image(shape, *truth)
    unit = jnp.asarray([0.1, 0.3, 2.0, 2.0])

    def error(parameters):
        return jnp.sum((render.image(shape, *parameters) - target) ** 2)

    @jax.jit
    def descend(start):
        def step(parameters, _):
            slope = unit * jax.grad(error)(parameters)
            return parameters - 0.003 * unit * slope, None

        return jax.lax.scan(step, start, length=400)[0]

    found = descend(truth + jnp.asarray([0.1, 0.3, 2.0, -1.5]))
    np.testing.assert_allclose(found, truth, atol=0.02)


@pytest.mark.parametrize("shape", [0, 1, 2])
def test_gradients_are_finite_everywhere(shape):
    """On the lattice, on table boundaries, at the border of the canvas and outside it."""
    places = jnp.asarray([-40.0, 0.0, 0.5, 16.0, 32.0, 47.75, 64.0, 90.0])
    angles = jnp.asarray([0.0, np.pi / 4, np.pi / 2, 3.0])

    def total(scale, angle, x, y):
        image = Antialiased().image(jnp.asarray(shape), scale, angle, x, y)
        return jnp.sum(image * jnp.arange(64.0)[:, None])

    for scale in (0.5, 1.0):
        slopes = eqx.filter_jit(
            jax.vmap(
                jax.vmap(jax.grad(total, argnums=(0, 1, 2, 3)), in_axes=(None, None, 0, 0)),
                in_axes=(None, 0, None, None),
            )
        )(jnp.asarray(scale), angles, places, places[::-1])
        assert all(bool(jnp.all(jnp.isfinite(slope))) for slope in slopes)


def test_a_sprite_leaving_the_canvas_is_cut_off():
    expected = areas(turned(outline(0), 1.0, 0.3, (2.0, 61.0)), 64, per_pixel=16)
    drawn = Antialiased().image(jnp.asarray(0), 1.0, 0.3, 2.0, 61.0)
    assert np.abs(np.asarray(drawn) - expected).max() < WORST_PIXEL[0]
    assert not np.any(np.asarray(Antialiased().image(jnp.asarray(0), 1.0, 0.3, -30.0, 32.0)))


def test_larger_sprites_need_to_be_announced():
    expected = areas(turned(outline(1), 1.8, 0.3, (32.0, 32.0)), 64, per_pixel=16)
    drawn = Antialiased(max_scale=2.0).image(jnp.asarray(1), 1.8, 0.3, 32.0, 32.0)
    assert np.abs(np.asarray(drawn) - expected).max() < WORST_PIXEL[1]


def test_single_precision_is_close_to_double():
    arguments = (0.83, 1.234, 30.7, 28.1)
    double = np.asarray(Antialiased().image(jnp.asarray(2), *map(jnp.asarray, arguments)))
    assert double.dtype == np.float64
    with jax.enable_x64(False):
        single = np.asarray(Antialiased().image(jnp.asarray(2), *map(jnp.asarray, arguments)))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, double, atol=FLOAT32)


def test_integer_latents_are_drawn_where_real_ones_are():
    latents = jnp.asarray([2, 3, 11, 8, 25])
    grid = SpriteGrid()
    np.testing.assert_allclose(
        Antialiased().render(latents, grid), Antialiased().render(latents.astype(float), grid), atol=FLOAT32
    )


def test_signed_distance_of_a_square():
    square = np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    points = np.array([[0.0, 0.0], [0.5, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, -3.0]])
    expected = [-1.0, -0.5, 1.0, np.sqrt(2.0), 2.0]
    np.testing.assert_allclose(signed_distance(square, points[:, 0], points[:, 1]), expected, atol=1e-12)


@pytest.mark.parametrize("wrong", [{"size": 0}, {"size": 6.5}, {"edge_width": 0.0}, {"max_scale": -1.0}])
def test_bad_arguments(wrong):
    # The run-time check of annotations that tests switch on may speak first about a wrong type.
    with pytest.raises((BadInputError, TypeError)):
        Antialiased(**wrong)


def test_unknown_shapes_have_no_outline():
    with pytest.raises(BadInputError, match="heart"):
        outline(3)
