"""Baselines of rows against scikit-learn and SciPy, in any unit, and chosen without a look at what they are compared on."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal, nbinom, norm, poisson
from sklearn.covariance import ledoit_wolf

from homeostat.metrics import (
    StepTable,
    binary_row_baselines,
    chosen_rows,
    count_row_baselines,
    level_row_baselines,
    rate_row_baselines,
    rate_sequence_baselines,
    real_row_baselines,
)
from homeostat.metrics.baselines._gaussian import incomplete_gaussian
from tolerances import ALGEBRA, AUTODIFF

RANDOM = np.random.default_rng(5)
LOADINGS = RANDOM.normal(size=(2, 7))
NOISE = RANDOM.uniform(0.3, 2.0, size=7)


def factored(num):
    return RANDOM.normal(size=(num, 2)) @ LOADINGS + RANDOM.normal(size=(num, 7)) * NOISE


TRAIN, TEST = factored(400), factored(30)


def by_name(baselines):
    return {baseline.name: baseline for baseline in baselines}


@pytest.fixture(scope="module")
def real():
    return real_row_baselines(TRAIN)


def test_gaussians_are_those_of_libraries(real):
    found = by_name(real)
    columns = norm(TRAIN.mean(axis=0), TRAIN.std(axis=0)).logpdf(TEST).sum(axis=1)
    np.testing.assert_allclose(found["independent columns"].log_densities(TEST), columns, rtol=ALGEBRA)
    scale = TRAIN.std(axis=0)
    covariance = ledoit_wolf((TRAIN - TRAIN.mean(axis=0)) / scale)[0] * np.outer(scale, scale)
    # The floor adds 1e-6 of a column's variance.
    full = multivariate_normal(TRAIN.mean(axis=0), covariance + np.diag(1e-6 * scale**2)).logpdf(TEST)
    np.testing.assert_allclose(found["a full Gaussian"].log_densities(TEST), full, rtol=ALGEBRA)


def test_factors_are_found_and_come_first(real):
    """Two factors made the rows: nothing explains others as well, and the density is near the true one."""
    assert real[0].name == "factor analysis with 2 factors"
    true = multivariate_normal(np.zeros(7), LOADINGS.T @ LOADINGS + np.diag(NOISE**2)).logpdf(TEST)
    # 28 free numbers from 400 rows cost about 28 / 2 / 400 nats.
    assert np.mean(true - real[0].log_densities(TEST)) == pytest.approx(0.0, abs=0.15)
    held_out = [baseline.held_out_nats for baseline in real]
    assert held_out == sorted(held_out, reverse=True)


def test_few_rows_of_many_columns_shrink():
    rows = RANDOM.normal(size=(15, 7)) + 1e3
    covariance = ledoit_wolf((rows - rows.mean(axis=0)) / rows.std(axis=0))[0]
    assert np.linalg.eigvalsh(covariance).min() > 0.1
    (found,) = (each for name, each in by_name(real_row_baselines(rows)).items() if name == "a full Gaussian")
    expected = multivariate_normal(np.zeros(7), covariance + 1e-6 * np.eye(7)).logpdf(
        (TEST + 1e3 - rows.mean(axis=0)) / rows.std(axis=0)
    )
    np.testing.assert_allclose(
        found.log_densities(TEST + 1e3), expected - np.log(rows.std(axis=0)).sum(), rtol=AUTODIFF
    )


def test_units_change_no_difference_and_constants_add_nothing(real):
    factor = np.array([1e3, 1e-5, 1.0, -2.0, 1.0, 1e3, 1.0])
    offset = np.array([0.0, 0.0, 1.7e9, 5.0, -1.0, 1.7e9, 0.0])
    constant = np.full((len(TRAIN), 1), 4.0)

    def told(values):
        return np.concatenate([factor * values + offset, constant[: len(values)]], axis=1)

    other = by_name(real_row_baselines(told(TRAIN)))
    assert set(other) == {baseline.name for baseline in real}
    for baseline in real:
        before, after = baseline.log_densities(TEST), other[baseline.name].log_densities(told(TEST))
        # Beside 1.7e9, numbers of 64 bits have a resolution of 2e-7.
        np.testing.assert_allclose(after, before - np.log(np.abs(factor)).sum(), atol=1e-5)
        assert other[baseline.name].held_out_nats == pytest.approx(
            baseline.held_out_nats - np.log(np.abs(factor)).sum(), abs=1e-5
        )


def test_a_gaussian_of_incomplete_rows_has_the_greatest_likelihood():
    """Where only one column has holes, the maximum is that of a regression on the other (Anderson, 1957, closed form)."""
    rows = RANDOM.multivariate_normal([0.0, 0.0], [[1.0, 0.7], [0.7, 1.0]], size=300)
    rows[200:, 1] = np.nan
    x, (known_x, known_y) = rows[:, 0], rows[:200].T
    slope = np.cov(known_x, known_y, bias=True)[0, 1] / known_x.var()
    mean = np.array([x.mean(), known_y.mean() + slope * (x.mean() - known_x.mean())])
    rest = (known_y - known_y.mean() - slope * (known_x - known_x.mean())).var()
    covariance = x.var() * np.outer([1.0, slope], [1.0, slope]) + np.diag([0.0, rest])
    found = incomplete_gaussian(0.0, rows)(TEST[:, :2])
    np.testing.assert_allclose(found, multivariate_normal(mean, covariance).logpdf(TEST[:, :2]), rtol=1e-3)


def test_factors_of_incomplete_rows_are_those_that_made_them():
    rows = np.where(RANDOM.random(TRAIN.shape) < 0.1, np.nan, TRAIN)
    best, *others = real_row_baselines(rows)
    assert best.name == "factor analysis with 2 factors"
    assert {baseline.name for baseline in others} == {"a full Gaussian", "independent columns"}
    true = multivariate_normal(np.zeros(7), LOADINGS.T @ LOADINGS + np.diag(NOISE**2)).logpdf(TEST)
    assert np.mean(true - best.log_densities(TEST)) == pytest.approx(0.0, abs=0.2)


def test_columns_that_are_left_out_are_those_named():
    varies = np.array([True] * 6 + [False])
    some = by_name(real_row_baselines(TRAIN, varies=varies))["independent columns"].log_densities(TEST)
    np.testing.assert_allclose(
        some, norm(TRAIN.mean(axis=0), TRAIN.std(axis=0)).logpdf(TEST)[:, :6].sum(axis=1), rtol=ALGEBRA
    )


def test_whole_numbers_have_frequencies():
    binary = (RANDOM.random((40, 3)) < 0.3).astype(float)
    (independent,) = binary_row_baselines(binary)
    frequency = (binary.sum(axis=0) + 1.0) / 42.0
    # A fraction is the expectation over what is drawn from it.
    expected = 0.25 * np.log(frequency) + 0.75 * np.log(1.0 - frequency)
    np.testing.assert_allclose(independent.log_densities(np.full((1, 3), 0.25)), expected.sum(), rtol=ALGEBRA)

    levels = RANDOM.integers(0, 4, (40, 2)).astype(np.uint8)
    found = by_name(level_row_baselines(levels, 5))
    counts = np.array([[(levels[:, column] == level).sum() for level in range(5)] for column in range(2)])
    table = (counts + 0.2) / 41.0
    shown = np.array([[3, 0], [4, 2]])
    expected = np.log(table[0, shown[:, 0]]) + np.log(table[1, shown[:, 1]])
    np.testing.assert_allclose(found["independent columns, frequencies"].log_densities(shown), expected, rtol=ALGEBRA)
    every = np.stack(np.meshgrid(np.arange(5), np.arange(5)), axis=-1).reshape(-1, 2)
    for baseline in found.values():
        assert np.exp(baseline.log_densities(every)).sum() == pytest.approx(1.0, abs=ALGEBRA)
    normal = norm(levels[:, 0].mean(), np.sqrt(levels[:, 0].var() + 1.0 / 12.0))
    masses = np.diff(np.concatenate([[0.0], normal.cdf(np.arange(4) + 0.5), [1.0]]))
    one = level_row_baselines(levels[:, :1], 5)
    gaussian = by_name(one)["independent columns, rounded Gaussians"].log_densities(np.arange(5)[:, None])
    np.testing.assert_allclose(np.exp(gaussian), (40 * masses + 0.2) / 41.0, rtol=ALGEBRA)

    words = RANDOM.poisson(2.0, (40, 4))
    (same,) = count_row_baselines(words)
    share = (words.sum(axis=0) + 1.0) / (words.sum() + 4.0)
    np.testing.assert_allclose(same.log_densities(words[:3]), words[:3] @ np.log(share), rtol=ALGEBRA)


def test_many_rows_are_sampled_and_few_are_not_split():
    assert len(chosen_rows(100_000, 100)) == 20_000 and len(chosen_rows(100_000, 4096)) == 1024
    np.testing.assert_array_equal(chosen_rows(50, 10**9)[:3] >= 0, True)
    np.testing.assert_array_equal(chosen_rows(50, 3), np.arange(50))
    (only,) = real_row_baselines(TRAIN[:9])
    assert only.name == "independent columns" and np.isnan(only.held_out_nats)


def test_counts_are_scipys():
    counts = np.random.default_rng(0).negative_binomial(2, [0.2, 0.5], (400, 2)).astype(float)
    scattered, plain = rate_row_baselines(counts)
    assert "negative binomial" in scattered.name and "Poisson" in plain.name
    mean = (counts.sum(axis=0) + 0.5) / 401.0
    expected = poisson(mean).logpmf(counts).sum(axis=1)
    np.testing.assert_allclose(plain.log_densities(counts), expected, rtol=ALGEBRA)
    size = mean**2 / (((counts - mean) ** 2).mean(axis=0) - mean)
    expected = nbinom(size, size / (size + mean)).logpmf(counts).sum(axis=1)
    np.testing.assert_allclose(scattered.log_densities(counts), expected, rtol=1e-8)
    steps = rate_sequence_baselines(StepTable.of([counts]))
    np.testing.assert_allclose(steps[0].log_densities(StepTable.of([counts])), expected, rtol=1e-8)
