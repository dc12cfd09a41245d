"""The linear members against dense formulas, scikit-learn, and the engines."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.stats
import sklearn.decomposition

from homeostat.distributions import Cubature, FullGaussian
from homeostat.inference import fit_factor_analysis, fit_probabilistic_pca, infer
from homeostat.inference.engines import NaturalGradient
from homeostat.models.static import FactorAnalysis, ProbabilisticPCA
from homeostat.objectives import Evidence, FreeEnergy
from tolerances import ALGEBRA, AUTODIFF, FLOAT32

OBSERVED, FACTORS, ROWS = 6, 2, 200


def factor_analysis(key):
    loadings_key, offset_key, scale_key = jr.split(key, 3)
    return FactorAnalysis(
        jr.normal(loadings_key, (OBSERVED, FACTORS)),
        jr.normal(offset_key, (OBSERVED,)),
        0.5 * jr.normal(scale_key, (OBSERVED,)) - 0.5,
    )


def principal_components(key):
    full = factor_analysis(key)
    return ProbabilisticPCA(full.loadings, full.offset, jnp.asarray(-0.7))


@pytest.fixture(params=[factor_analysis, principal_components], ids=["factor analysis", "principal components"])
def model(request, key):
    return request.param(key)


@pytest.fixture
def rows(key):
    model = factor_analysis(key)

    def draw(k):
        state_key, noise_key = jr.split(k)
        return model.emission(model.initial().sample(state_key)).sample(noise_key)

    return eqx.filter_jit(jax.vmap(draw))(jr.split(jr.fold_in(key, 1), ROWS))


def test_posterior_and_evidence_are_the_dense_formulas(model, rows):
    loadings, noise = np.asarray(model.loadings), np.diag(np.asarray(model.noise_scale) ** 2)
    spread = loadings @ loadings.T + noise
    np.testing.assert_allclose(model.covariance(), spread, rtol=ALGEBRA)
    gain = loadings.T @ np.linalg.inv(spread)
    for row in rows[:3]:
        posterior = model.posterior(row)
        np.testing.assert_allclose(posterior.mean, gain @ (row - model.offset), rtol=ALGEBRA, atol=ALGEBRA)
        np.testing.assert_allclose(posterior.covariance_matrix, np.eye(FACTORS) - gain @ loadings, atol=ALGEBRA)
        expected = scipy.stats.multivariate_normal(model.offset, spread).logpdf(row)
        np.testing.assert_allclose(model.log_evidence(row), expected, rtol=ALGEBRA)


def test_bayes_rule_holds_everywhere(model, rows, key):
    state = jr.normal(key, (FACTORS,))
    joint = model.initial().log_prob(state) + model.emission(state).log_prob(rows[0])
    split = model.log_evidence(rows[0]) + model.posterior(rows[0]).log_prob(state)
    np.testing.assert_allclose(joint, split, rtol=ALGEBRA)


def test_one_natural_gradient_step_is_the_exact_posterior(model, rows, key):
    objective, family = FreeEnergy(model, Cubature()), FullGaussian(FACTORS)
    found = infer(objective, NaturalGradient(1.0), family, Evidence(rows[0]), key=key, num_steps=1)
    exact = model.posterior(rows[0])
    got = family(found.params)
    np.testing.assert_allclose(got.mean, exact.mean, rtol=0.0, atol=ALGEBRA)
    np.testing.assert_allclose(got.covariance_matrix, exact.covariance_matrix, rtol=0.0, atol=ALGEBRA)
    bound = objective(got, Evidence(rows[0]), key=key)
    np.testing.assert_allclose(bound, -model.log_evidence(rows[0]), rtol=ALGEBRA)


def test_principal_components_are_scikit_learns(rows):
    model = fit_probabilistic_pca(rows, FACTORS)
    # scikit-learn divides the covariance by n - 1; with rows stretched accordingly it is the one of maximum likelihood.
    mean = np.asarray(rows).mean(axis=0)
    stretched = mean + (np.asarray(rows) - mean) * np.sqrt((ROWS - 1) / ROWS)
    oracle = sklearn.decomposition.PCA(FACTORS).fit(stretched)
    np.testing.assert_allclose(model.offset, mean, rtol=ALGEBRA)
    np.testing.assert_allclose(model.covariance(), oracle.get_covariance(), rtol=ALGEBRA, atol=ALGEBRA)
    evidence = eqx.filter_jit(eqx.filter_vmap(model.log_evidence))(rows)
    np.testing.assert_allclose(evidence, oracle.score_samples(np.asarray(rows)), rtol=ALGEBRA)
    lengths = jnp.linalg.norm(model.loadings, axis=0)
    assert lengths[0] > lengths[1]


def test_principal_components_maximise_the_likelihood(rows):
    model = fit_probabilistic_pca(rows, FACTORS)
    slopes = eqx.filter_jit(eqx.filter_grad(lambda m: jnp.mean(jax.vmap(m.log_evidence)(rows))))(model)
    for leaf in jax.tree.leaves(slopes):
        np.testing.assert_allclose(leaf, 0.0, atol=ALGEBRA)


def test_factor_analysis_is_scikit_learns(rows):
    learned = fit_factor_analysis(rows, FACTORS, num_steps=3000)
    oracle = sklearn.decomposition.FactorAnalysis(FACTORS, svd_method="lapack", tol=1e-14, max_iter=20_000)
    oracle.fit(np.asarray(rows))
    np.testing.assert_allclose(learned.log_evidence_nats[-1], oracle.score(np.asarray(rows)), atol=AUTODIFF)
    np.testing.assert_allclose(learned.model.covariance(), oracle.get_covariance(), atol=AUTODIFF)
    evidence = eqx.filter_jit(eqx.filter_vmap(learned.model.log_evidence))(rows)
    np.testing.assert_allclose(evidence.mean(), learned.log_evidence_nats[-1], rtol=ALGEBRA)


def test_no_step_of_em_lowers_the_evidence_even_with_an_entry_that_never_varies(rows):
    still = jnp.concatenate([rows, jnp.full((ROWS, 1), 3.0)], axis=1)
    path = fit_factor_analysis(still, FACTORS, num_steps=50).log_evidence_nats
    assert path.shape == (51,)
    assert np.all(np.diff(path) > -ALGEBRA)
    assert path[-1] > path[0] + 0.01


@pytest.mark.parametrize("units", [[1e3, 1e3, 1e-3, 1.0, 1e-3, 1e-5], [1e-5] * 6])
def test_the_unit_of_an_entry_changes_nothing_else(rows, units):
    """In c x + a the loadings and noises are c times as large, and log p differs by -log c."""
    units = np.asarray(units)
    shift, order = np.array([0.0, 5e3, 1.0, -7.0, 0.0, 0.3]), np.array([3, 1, 0, 5, 4, 2])
    plain = fit_factor_analysis(rows, FACTORS, num_steps=50)
    moved = fit_factor_analysis((rows * units[None, :] + shift[None, :])[:, order], FACTORS, num_steps=50)
    evidence = plain.log_evidence_nats - np.log(units).sum()
    np.testing.assert_allclose(moved.log_evidence_nats, evidence, rtol=AUTODIFF)
    noise = plain.model.noise_scale * units
    np.testing.assert_allclose(moved.model.noise_scale, noise[order], rtol=AUTODIFF)
    covariance = plain.model.covariance() * np.outer(units, units)
    np.testing.assert_allclose(moved.model.covariance(), covariance[np.ix_(order, order)], rtol=1e-4)


@pytest.mark.slow
def test_single_precision_holds_for_images(key):
    """784 entries of which most hardly vary, in 32 bits: EM still rises, and agrees with itself in 64 bits."""
    side_key, noise_key, weight_key = jr.split(key, 3)
    weights = jr.normal(weight_key, (3, 784)) * (jnp.arange(784) % 4 == 0)[None, :]
    rows = jr.normal(side_key, (64, 3)) @ weights + 0.01 * jr.normal(noise_key, (64, 784))
    double = fit_factor_analysis(rows, 3, num_steps=5)
    single = fit_factor_analysis(rows.astype(jnp.float32), 3, num_steps=5)
    assert single.log_evidence_nats.dtype == jnp.float32
    np.testing.assert_allclose(single.log_evidence_nats, double.log_evidence_nats, rtol=FLOAT32)
    assert np.all(np.diff(single.log_evidence_nats) > -FLOAT32 * np.abs(double.log_evidence_nats[-1]))


def test_fewer_rows_than_components_give_a_proper_model(rows):
    wide = jnp.concatenate([rows[:3], 2.0 * rows[3:6]], axis=1)
    for model in (fit_probabilistic_pca(wide, 4), fit_factor_analysis(wide, 4, num_steps=5).model):
        assert model.loadings.shape == (2 * OBSERVED, 4)
        assert np.all(np.isfinite(eqx.filter_jit(eqx.filter_vmap(model.log_evidence))(wide)))
