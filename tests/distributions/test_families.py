"""Families beyond their laws: bounds, supports, floors, and the messages of bad input."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.stats

from homeostat.distributions import (
    Categorical,
    CategoricalParams,
    Delta,
    DiagonalGaussian,
    DiagonalGaussianParams,
    FullGaussian,
    SquashedGaussian,
)
from homeostat.results import BadInputError
from tolerances import ALGEBRA, FINITE_DIFFERENCES


def test_delta_has_log_density_zero_and_fits_the_mean():
    family = Delta(2)
    point = family(family.init()._replace(loc=jnp.array([1.0, -2.0])))
    assert float(point.log_prob(jnp.array([1.0, -2.0]))) == 0.0
    fitted = family.fit(jnp.array([[0.0, 0.0], [4.0, 8.0]]), jnp.array([0.75, 0.25]))
    np.testing.assert_allclose(fitted.loc, [1.0, 2.0], rtol=ALGEBRA)


def test_categorical_support_lists_every_point_once():
    family = Categorical(3, (2, 2))
    support = np.asarray(family.support())
    assert support.shape == (81, 2, 2)
    assert family.size == len({tuple(row) for row in support.reshape(81, 4)}) == 81
    np.testing.assert_array_equal(support[1], [[0, 0], [0, 1]])
    np.testing.assert_array_equal(Categorical(4).support(), [0, 1, 2, 3])


def test_categorical_fit_is_frequencies_with_a_floor():
    family = Categorical(3, minimum_probability=1e-3)
    fitted = family.fit(jnp.array([0, 0, 1]), jnp.array([0.25, 0.25, 0.5]))
    np.testing.assert_allclose(jnp.exp(fitted.logits), [0.5, 0.5, 1e-3], rtol=ALGEBRA)


def test_categorical_entries_are_independent():
    logits = jnp.log(jnp.array([[0.2, 0.8], [0.5, 0.5]]))
    q = Categorical(2, (2,))(CategoricalParams(logits))
    np.testing.assert_allclose(jnp.exp(q.log_prob(jnp.array([1, 0]))), 0.4, rtol=ALGEBRA)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 5.0)])
def test_squashed_gaussian_density_by_quadrature(low, high):
    family = SquashedGaussian(1, low=low, high=high)
    q = family(DiagonalGaussianParams(jnp.array([0.3]), jnp.array([-0.5])))
    # Midpoints, because the density vanishes at the ends.
    count = 20_000
    grid = low + (high - low) * (jnp.arange(count) + 0.5) / count
    density = jnp.exp(eqx.filter_jit(jax.vmap(q.log_prob))(grid[:, None]))
    np.testing.assert_allclose(jnp.mean(density) * (high - low), 1.0, rtol=FINITE_DIFFERENCES)
    # By hand: y = atanh(2 (x - low) / (high - low) - 1), p(x) = N(y) dy/dx.
    unit = 2.0 * (np.asarray(grid) - low) / (high - low) - 1.0
    slope = 2.0 / (high - low) / (1.0 - unit**2)
    np.testing.assert_allclose(density, scipy.stats.norm(0.3, np.exp(-0.5)).pdf(np.arctanh(unit)) * slope, rtol=1e-8)


def test_squashed_gaussian_has_an_interval_for_each_variable(key):
    low, high = np.array([-2.0, 0.0]), np.array([1.0, 10.0])
    family = SquashedGaussian(2, low=low, high=high)
    params = DiagonalGaussianParams(jnp.array([0.3, -0.7]), jnp.array([-0.5, 0.2]))
    samples = eqx.filter_jit(jax.vmap(family(params).sample))(jr.split(key, 64))
    # p(x) = prod_i N(y_i) dy_i/dx_i with y_i = atanh(2 (x_i - low_i) / (high_i - low_i) - 1).
    unit = 2.0 * (np.asarray(samples) - low) / (high - low) - 1.0
    scale = np.exp(np.asarray(params.log_scale))
    log_normal = scipy.stats.norm(np.asarray(params.loc), scale).logpdf(np.arctanh(unit))
    expected = np.sum(log_normal + np.log(2.0 / (high - low) / (1.0 - unit**2)), axis=1)
    np.testing.assert_allclose(
        eqx.filter_jit(jax.vmap(family(params).log_prob))(samples), expected, rtol=ALGEBRA, atol=ALGEBRA
    )
    fitted = family.fit(samples, jnp.full(64, 1.0 / 64))
    np.testing.assert_allclose(fitted.loc, np.arctanh(unit).mean(0), atol=ALGEBRA)
    np.testing.assert_allclose(jnp.exp(fitted.log_scale), np.arctanh(unit).std(0), atol=ALGEBRA)


def test_squashed_gaussian_stays_finite_at_its_edges(key):
    family = SquashedGaussian(1, low=-2.0, high=2.0)
    wide = DiagonalGaussianParams(jnp.zeros(1), jnp.array([5.0]))  # Nearly every sample saturates.
    samples = eqx.filter_jit(jax.vmap(family(wide).sample))(jr.split(key, 256))
    assert float(jnp.max(jnp.abs(samples))) <= 2.0
    assert bool(jnp.all(jnp.isfinite(eqx.filter_jit(jax.vmap(family(wide).log_prob))(samples))))
    edges = family.fit(jnp.array([[-2.0], [2.0]]), jnp.array([0.5, 0.5]))
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in edges)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DiagonalGaussian(0), "at least one variable, got dim=0"),
        (lambda: FullGaussian(-1), "at least one variable, got dim=-1"),
        (lambda: Categorical(0), "at least one class, got num_classes=0"),
        (lambda: SquashedGaussian(1, low=1.0, high=1.0), r"low < high, got low=1.0 and high=1.0"),
        (lambda: SquashedGaussian(2, low=(0.0, 1.0), high=1.0), r"low < high, got low=\(0.0, 1.0\) and high=1.0"),
        (lambda: SquashedGaussian(3, low=(0.0, 1.0)), "one bound, or one for each of 3 variables"),
    ],
)
def test_bad_families(build, message):
    with pytest.raises(BadInputError, match=message):
        build()
