"""Gaussian families: natural parameters, moments, structure, and the longest step inside the domain."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.stats

from homeostat.distributions import DiagonalGaussian, FullGaussian, gaussian_moments
from tolerances import ALGEBRA

DIM = 4


@pytest.fixture
def covariance(key):
    root = jr.normal(key, (DIM, DIM))
    return root @ root.T + jnp.eye(DIM)


@pytest.fixture
def mean(key):
    return jr.normal(jr.fold_in(key, 1), (DIM,))


@pytest.mark.parametrize("family", [DiagonalGaussian(DIM), FullGaussian(DIM)])
def test_natural_parameters_go_there_and_back(family, mean, covariance):
    params = family.from_moments(mean, covariance)
    natural = family.natural(params)
    for there, back in zip(params, family.from_natural(natural), strict=True):
        np.testing.assert_allclose(back, there, rtol=ALGEBRA, atol=ALGEBRA)
    np.testing.assert_allclose(natural.shift, family.multiply(natural.precision, mean), rtol=ALGEBRA, atol=ALGEBRA)


def test_full_natural_parameters_are_the_textbook_ones(mean, covariance):
    natural = FullGaussian(DIM).natural(FullGaussian(DIM).from_moments(mean, covariance))
    np.testing.assert_allclose(natural.precision, np.linalg.inv(covariance), rtol=ALGEBRA, atol=ALGEBRA)
    np.testing.assert_allclose(natural.shift, np.linalg.solve(covariance, mean), rtol=ALGEBRA, atol=ALGEBRA)


def test_full_density_is_scipys(mean, covariance, key):
    q = FullGaussian(DIM)(FullGaussian(DIM).from_moments(mean, covariance))
    points = jr.normal(key, (5, DIM))
    expected = scipy.stats.multivariate_normal(mean, covariance).logpdf(points)
    np.testing.assert_allclose(eqx.filter_jit(jax.vmap(q.log_prob))(points), expected, rtol=ALGEBRA)


def test_from_moments_keeps_what_the_structure_allows(mean, covariance):
    diagonal = gaussian_moments(DiagonalGaussian(DIM)(DiagonalGaussian(DIM).from_moments(mean, covariance)))
    np.testing.assert_allclose(diagonal.scale_tril, np.diag(np.sqrt(np.diag(covariance))), rtol=ALGEBRA)
    full = gaussian_moments(FullGaussian(DIM)(FullGaussian(DIM).from_moments(mean, covariance)))
    np.testing.assert_allclose(full.scale_tril @ full.scale_tril.T, covariance, rtol=ALGEBRA, atol=ALGEBRA)


def test_from_scale_tril_is_exact(mean, covariance):
    family, factor = FullGaussian(DIM), jnp.linalg.cholesky(covariance)
    np.testing.assert_allclose(family.scale_tril(family.from_scale_tril(mean, factor)), factor, rtol=ALGEBRA)


def test_structured_keeps_the_diagonal_or_the_symmetric_part(key):
    matrix = jr.normal(key, (DIM, DIM))
    np.testing.assert_allclose(DiagonalGaussian(DIM).structured(matrix), np.diag(matrix), rtol=ALGEBRA)
    np.testing.assert_allclose(FullGaussian(DIM).structured(matrix), 0.5 * (matrix + matrix.T), rtol=ALGEBRA)


@pytest.mark.parametrize("keep", [0.01, 0.3])
def test_longest_step_stops_at_the_promised_share(covariance, key, keep):
    change = jr.normal(key, (DIM, DIM))
    change = -2.0 * covariance + 0.3 * (change + change.T)
    step = FullGaussian(DIM).longest_step(covariance, change, keep)
    ratios = np.linalg.eigvals(np.linalg.solve(covariance, covariance + step * change)).real
    np.testing.assert_allclose(ratios.min(), keep, rtol=1e-8)
    # A whole step that stays inside is not shortened.
    assert float(FullGaussian(DIM).longest_step(covariance, 0.5 * covariance, keep)) == pytest.approx(1.0, abs=ALGEBRA)


def test_longest_step_of_independent_precisions():
    precision, change = jnp.array([1.0, 2.0]), jnp.array([-4.0, 1.0])
    step = DiagonalGaussian(2).longest_step(precision, change, 0.2)
    np.testing.assert_allclose(precision + step * change, [0.2, 2.2], rtol=ALGEBRA)


@pytest.mark.parametrize("family", [DiagonalGaussian(2, 0.1), FullGaussian(2, 0.1)])
def test_equal_samples_keep_the_smallest_spread(family):
    fitted = family.fit(jnp.ones((8, 2)), jnp.full(8, 0.125))
    np.testing.assert_allclose(gaussian_moments(family(fitted)).scale_tril, 0.1 * np.eye(2), rtol=ALGEBRA, atol=ALGEBRA)
