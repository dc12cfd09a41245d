"""Masses of bins: they sum to one, agree with SciPy, and stay finite far from the mean, in both precisions."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.special
import scipy.stats

from homeostat.distributions import DiscretizedNormal
from homeostat.results import BadInputError
from tolerances import ALGEBRA, AUTODIFF, FINITE_DIFFERENCES, FLOAT32, MONTE_CARLO_STANDARD_ERRORS

LEVELS = np.arange(256) / 255.0


def pixel(loc, scale, dtype=float):
    return DiscretizedNormal(jnp.asarray(loc, dtype), jnp.asarray(scale, dtype), 1.0 / 255.0, 0.0, 1.0)


def reference(centre, half):
    """log(Phi(z + h) - Phi(z - h)) by scaled complementary error functions, for |z| > h."""
    near, far = np.abs(centre) - half, np.abs(centre) + half
    scaled = scipy.special.erfcx(near / np.sqrt(2.0))
    removed = scipy.special.erfcx(far / np.sqrt(2.0)) * np.exp(0.5 * (near**2 - far**2))
    return -0.5 * near**2 + np.log(0.5 * (scaled - removed))


@pytest.mark.parametrize("scale", [1e-3, 0.03, 0.3, 3.0, 100.0])
@pytest.mark.parametrize("loc", [-1.0, 0.0, 0.3, 0.7, 1.02])
def test_masses_sum_to_one(loc, scale):
    total = jnp.sum(jnp.exp(pixel(loc, scale).log_prob(jnp.asarray(LEVELS))))
    np.testing.assert_allclose(total, 1.0, rtol=ALGEBRA)


@pytest.mark.parametrize("loc", [0.2, 0.9])
def test_masses_are_differences_of_scipys_distribution_function(loc):
    expected = np.diff(scipy.stats.norm(loc, 0.1).cdf((np.arange(257) - 0.5) / 255.0))
    expected[0] = scipy.stats.norm(loc, 0.1).cdf(0.5 / 255.0)
    expected[-1] = scipy.stats.norm(loc, 0.1).sf(254.5 / 255.0)
    np.testing.assert_allclose(jnp.exp(pixel(loc, 0.1).log_prob(jnp.asarray(LEVELS))), expected, atol=ALGEBRA)


@pytest.mark.parametrize("half", [0.02, 0.049, 0.051, 0.3, 2.0])
def test_the_tails_keep_their_precision(half):
    centre = half + np.array([0.01, 0.5, 2.0, 4.9, 5.1, 10.0, 40.0, 300.0, 1e5])
    unit = DiscretizedNormal(jnp.zeros(()), jnp.ones(()), 2.0 * half)
    for sign in (1.0, -1.0):
        np.testing.assert_allclose(unit.log_prob(jnp.asarray(sign * centre)), reference(centre, half), rtol=ALGEBRA)


def test_a_narrow_bin_is_density_times_width():
    centre, width = np.array([0.0, 0.3, 3.0, 30.0]), 1e-7
    unit = DiscretizedNormal(jnp.zeros(()), jnp.ones(()), width)
    expected = scipy.stats.norm.logpdf(centre) + np.log(width)
    np.testing.assert_allclose(unit.log_prob(jnp.asarray(centre)), expected, rtol=ALGEBRA)


def test_open_ends_have_no_edge():
    inner = DiscretizedNormal(jnp.asarray(0.3), jnp.asarray(0.1), 0.1)
    value = jnp.asarray([-0.5, 0.3, 1.2])
    cdf = scipy.stats.norm(0.3, 0.1).cdf
    np.testing.assert_allclose(jnp.exp(inner.log_prob(value)), cdf(value + 0.05) - cdf(value - 0.05), atol=ALGEBRA)
    half_open = DiscretizedNormal(jnp.asarray(0.3), jnp.asarray(0.1), 0.1, high=0.4)
    np.testing.assert_allclose(jnp.exp(half_open.log_prob(jnp.asarray(0.4))), 1.0 - cdf(0.35), rtol=ALGEBRA)


def test_single_precision_agrees_with_double():
    loc, scale = np.linspace(-2.0, 3.0, 11)[:, None], np.array([1e-3, 0.03, 0.5, 20.0])[None, :]
    loc, scale = np.broadcast_arrays(loc, scale)
    for level in (0.0, 17.0 / 255.0, 1.0):
        double = pixel(loc, scale).log_prob(jnp.asarray(level))
        single = pixel(loc, scale, jnp.float32).log_prob(jnp.asarray(level, jnp.float32))
        assert single.dtype == jnp.float32
        # The scale of 1e-3 makes half a rounding error of a value near 1 matter this much.
        np.testing.assert_allclose(single, double, rtol=FLOAT32, atol=FLOAT32)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("level", [0.0, 128.0 / 255.0, 1.0])
def test_derivatives_are_finite_far_out(dtype, level):
    def log_mass(loc, log_scale):
        return pixel(loc, jnp.exp(log_scale), dtype).log_prob(jnp.asarray(level, dtype))

    loc = jnp.asarray([-1e4, -30.0, 0.0, level, 0.5, 1.0, 30.0, 1e4], dtype)
    for log_scale in jnp.asarray([-6.0, 0.0, 6.0], dtype):
        slopes = jax.vmap(jax.grad(log_mass, (0, 1)), (0, None))(loc, log_scale)
        bends = jax.vmap(jax.hessian(log_mass), (0, None))(loc, log_scale)
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((slopes, bends)))
        # Log-concave in the mean.
        assert np.all(bends <= jnp.finfo(dtype).eps * jnp.exp(-2.0 * log_scale))


def test_derivatives_agree_with_finite_differences():
    def log_mass(loc, log_scale, level):
        return pixel(loc, jnp.exp(log_scale), float).log_prob(level)

    step = 1e-6
    for loc, log_scale, level in [
        (0.4, -2.0, 0.5),
        (0.5, -2.0, 0.5),
        (0.1, -3.5, 0.9),
        (0.2, 0.5, 0.0),
        (0.2, -1.0, 1.0),
    ]:
        level = jnp.asarray(round(level * 255.0) / 255.0)
        slopes = jax.grad(log_mass, (0, 1))(loc, log_scale, level)
        by_loc = (log_mass(loc + step, log_scale, level) - log_mass(loc - step, log_scale, level)) / (2.0 * step)
        by_scale = (log_mass(loc, log_scale + step, level) - log_mass(loc, log_scale - step, level)) / (2.0 * step)
        np.testing.assert_allclose(slopes, (by_loc, by_scale), rtol=FINITE_DIFFERENCES, atol=AUTODIFF)


def test_samples_lie_on_the_grid_with_its_frequencies(key):
    family = DiscretizedNormal(jnp.asarray(0.1), jnp.asarray(0.4), 0.25, 0.0, 1.0)
    values = family.sample(key, (20_000,))
    grid = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    assert set(np.unique(values)) <= set(grid)
    probability = np.exp(family.log_prob(jnp.asarray(grid)))
    frequency = np.mean(np.asarray(values)[:, None] == grid, axis=0)
    error = np.sqrt(probability * (1.0 - probability) / values.size)
    assert np.all(np.abs(frequency - probability) < MONTE_CARLO_STANDARD_ERRORS * error)
    offset = DiscretizedNormal(jnp.asarray(0.1), jnp.asarray(0.4), 0.25, high=0.9).sample(key, (100,))
    steps = (0.9 - np.asarray(offset)) / 0.25
    np.testing.assert_allclose(steps, np.round(steps), atol=ALGEBRA)


def test_moments_are_those_of_the_gaussian_beneath():
    event = DiscretizedNormal(jnp.asarray([0.1, 0.2]), jnp.asarray(0.3), 0.1).to_event(1)
    assert event.event_shape == (2,)
    assert event.log_prob(jnp.zeros(2)).shape == ()
    np.testing.assert_array_equal(event.mean, [0.1, 0.2])
    np.testing.assert_allclose(event.variance, 0.09, rtol=ALGEBRA)


def test_it_passes_through_transformations(key):
    locs, keys = jr.normal(key, (3,)), jr.split(key, 3)
    many = jax.jit(jax.vmap(lambda loc: pixel(loc, 0.1)))(locs)
    single = jnp.stack([pixel(loc, 0.1).log_prob(jnp.asarray(0.2)) for loc in locs])
    np.testing.assert_allclose(jax.vmap(lambda d: d.log_prob(jnp.asarray(0.2)))(many), single, rtol=ALGEBRA)
    drawn = jax.vmap(lambda d, k: d.sample(k))(many, keys)
    np.testing.assert_allclose(drawn, [pixel(loc, 0.1).sample(k) for loc, k in zip(locs, keys, strict=True)])


@pytest.mark.parametrize(
    ("bin_width", "low", "high"),
    [(0.0, None, None), (-1.0, 0.0, 1.0), (0.3, 0.0, 1.0), (0.5, 1.0, 0.0), (1.0, 0.0, 0.0)],
)
def test_an_impossible_grid_is_refused(bin_width, low, high):
    with pytest.raises(BadInputError, match="Expected"):
        DiscretizedNormal(jnp.zeros(()), jnp.ones(()), bin_width, low, high)
