"""Linear-Gaussian models of rows with missing entries, against dense Gaussian marginals and complete data."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from homeostat.inference import (
    fit_factor_analysis,
    fit_incomplete_factor_analysis,
    fit_incomplete_probabilistic_pca,
    fit_probabilistic_pca,
)
from homeostat.models.static import FactorAnalysis, ProbabilisticPCA
from tolerances import ALGEBRA, AUTODIFF

RANDOM = np.random.default_rng(3)
OBSERVED, FACTORS, ROWS = 6, 2, 400
LOADINGS, OFFSET = RANDOM.normal(size=(OBSERVED, FACTORS)), RANDOM.normal(size=OBSERVED)
SCALES = np.exp(0.3 * RANDOM.normal(size=OBSERVED) - 0.7)
ROWS_OF_DATA = OFFSET + RANDOM.normal(size=(ROWS, FACTORS)) @ LOADINGS.T + SCALES * RANDOM.normal(size=(ROWS, OBSERVED))
KNOWN = RANDOM.random((ROWS, OBSERVED)) > 0.2
KNOWN[0] = False
MISSING = np.where(KNOWN, ROWS_OF_DATA, np.nan)
FITS = {
    "factor analysis": (fit_incomplete_factor_analysis, (FactorAnalysis, np.log(SCALES))),
    "principal components": (fit_incomplete_probabilistic_pca, (ProbabilisticPCA, -0.7)),
}


@pytest.fixture(params=FITS, scope="module")
def kind(request):
    """Fit and a model; and what it learns from the rows with a fifth of their entries missing."""
    fit, (model, noise) = FITS[request.param]
    return fit, model(*map(jnp.asarray, (LOADINGS, OFFSET, noise))), fit(MISSING, KNOWN, FACTORS, num_steps=200)


@eqx.filter_jit
def explained(model, rows, known):
    def one(row, seen):
        posterior = model.posterior(row, seen)
        return model.log_evidence(row, seen), posterior.mean, posterior.covariance_matrix

    return jax.vmap(one)(rows, known)


def marginal(model, row, seen):
    """log p(x_o), and mean and covariance of p(z | x_o), from the joint Gaussian of all."""
    mean, covariance = np.asarray(model.offset)[seen], np.asarray(model.covariance())[np.ix_(seen, seen)]
    loadings = np.asarray(model.loadings)[seen]
    gain = np.linalg.solve(covariance, loadings).T
    nats = scipy.stats.multivariate_normal(mean, covariance).logpdf(row[seen]) if seen.any() else 0.0
    return nats, gain @ (row[seen] - mean), np.eye(FACTORS) - gain @ loadings


def test_posterior_and_evidence_are_those_of_the_marginal(kind):
    _, model, _ = kind
    found = explained(model, MISSING[:5], KNOWN[:5])
    for row, seen, *got in zip(MISSING[:5], KNOWN[:5], *found, strict=True):
        for value, expected in zip(got, marginal(model, row, seen), strict=True):
            np.testing.assert_allclose(value, expected, rtol=ALGEBRA, atol=ALGEBRA)
    assert not KNOWN[0].any() and found[0][0] == 0.0
    slope = eqx.filter_grad(lambda m: jnp.mean(explained(m, MISSING[:5], KNOWN[:5])[0]))(model)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))


def test_no_step_lowers_the_evidence_and_the_last_is_a_maximum(kind):
    _, _, found = kind
    path = np.asarray(found.log_evidence_nats)
    assert np.all(np.diff(path) > -ALGEBRA) and path[-1] > path[0] + 0.01
    np.testing.assert_allclose(explained(found.model, MISSING, KNOWN)[0].mean(), path[-1], rtol=ALGEBRA)
    slopes = eqx.filter_grad(lambda m: jnp.mean(explained(m, MISSING, KNOWN)[0]))(found.model)
    for leaf in jax.tree.leaves(slopes):
        # After 200 steps the slowest noise still moves in the fourth digit.
        np.testing.assert_allclose(leaf, 0.0, atol=1e-3)


def test_with_nothing_missing_every_step_is_that_of_complete_data():
    everything = np.ones_like(KNOWN)
    found = fit_incomplete_factor_analysis(ROWS_OF_DATA, everything, FACTORS, num_steps=20)
    complete = fit_factor_analysis(ROWS_OF_DATA, FACTORS, num_steps=20)
    np.testing.assert_allclose(found.log_evidence_nats, complete.log_evidence_nats, rtol=ALGEBRA)
    np.testing.assert_allclose(found.model.covariance(), complete.model.covariance(), atol=ALGEBRA)
    principal = fit_probabilistic_pca(ROWS_OF_DATA, FACTORS)
    found = fit_incomplete_probabilistic_pca(ROWS_OF_DATA, everything, FACTORS, num_steps=3).model
    np.testing.assert_allclose(found.covariance(), principal.covariance(), atol=ALGEBRA)
    np.testing.assert_allclose(jnp.abs(found.loadings), jnp.abs(principal.loadings), atol=ALGEBRA)


def test_a_fifth_missing_is_learned_better_than_with_means_filled_in(kind):
    """Factor analysis to within the error of 400 rows; both are nearer to the truth than with means filled in."""
    _, _, found = kind
    filled = np.where(KNOWN, ROWS_OF_DATA, np.nanmean(MISSING, axis=0))
    truth = LOADINGS @ LOADINGS.T + np.diag(SCALES**2)
    naive = fit_probabilistic_pca(filled, FACTORS)
    if isinstance(found.model, FactorAnalysis):
        naive = fit_factor_analysis(filled, FACTORS, num_steps=200).model

    def distance(model):
        return np.linalg.norm(model.covariance() - truth) / np.linalg.norm(truth)

    assert distance(found.model) < 0.12
    assert distance(found.model) < 0.6 * distance(naive)


def test_units_change_nothing_else(kind):
    fit, _, plain = kind
    units, shift = (np.array([1e3, 1e3, 1e-3, 1.0, 1e-3, 1e-5]), np.array([0.0, 5e3, 1.0, -7.0, 0.0, 0.3]))
    if fit is fit_incomplete_probabilistic_pca:
        units = np.full(OBSERVED, 1e-5)
    moved = fit(MISSING * units + shift, KNOWN, FACTORS, num_steps=200)
    evidence = plain.log_evidence_nats - (KNOWN.mean(axis=0) * np.log(units)).sum()
    np.testing.assert_allclose(moved.log_evidence_nats, evidence, rtol=AUTODIFF)
    covariance = plain.model.covariance() * np.outer(units, units)
    np.testing.assert_allclose(moved.model.covariance(), covariance, rtol=1e-4)


def test_blocks_of_rows_change_nothing(monkeypatch):
    whole = fit_incomplete_factor_analysis(MISSING, KNOWN, 3, num_steps=4)
    monkeypatch.setattr("homeostat.inference.learners._incomplete_factors._BLOCK_NUMBERS", 16 * 60)
    blocks = fit_incomplete_factor_analysis(MISSING[:, ::-1], KNOWN[:, ::-1], 3, num_steps=4, throw=False)
    np.testing.assert_allclose(blocks.log_evidence_nats, whole.log_evidence_nats, rtol=ALGEBRA)


def test_an_entry_that_no_row_knows_has_no_loadings():
    known = KNOWN & (np.arange(OBSERVED) != 2)
    found = fit_incomplete_factor_analysis(MISSING, known, FACTORS, num_steps=200)
    np.testing.assert_array_equal(found.model.loadings[2], 0.0)
    assert np.isfinite(found.log_evidence_nats).all()
