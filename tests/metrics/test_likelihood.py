"""Importance-weighted likelihoods against the known evidence of a linear-Gaussian model, and units by hand."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import pytest

from homeostat.distributions import Cubature, DiagonalGaussian, FullGaussian
from homeostat.inference.engines import NaturalGradient
from homeostat.metrics import bits_per_dimension, evaluate, log_likelihood, pareto_shape, perplexity
from homeostat.metrics._likelihood import summarize_weights
from homeostat.results import BadInputError
from problems import LinearModel, linear_model
from tolerances import ALGEBRA, MONTE_CARLO_STANDARD_ERRORS

OBSERVATION = jnp.linspace(-1.0, 2.0, 3)


class Exact(NamedTuple):
    """Posterior and evidence of a linear model."""

    posterior: dist.Distribution
    evidence_nats: jax.Array


def exact(model: LinearModel, observation: jax.Array) -> Exact:
    covariance = model.prior_factor @ model.prior_factor.T
    marginal = model.weights @ covariance @ model.weights.T + jnp.diag(model.noise**2)
    predicted = dist.MultivariateNormal(model.weights @ model.prior_mean, covariance_matrix=marginal)
    gain = jnp.linalg.solve(marginal, model.weights @ covariance).T
    mean = model.prior_mean + gain @ (observation - model.weights @ model.prior_mean)
    posterior = dist.MultivariateNormal(mean, covariance_matrix=covariance - gain @ model.weights @ covariance)
    return Exact(posterior, predicted.log_prob(observation))


def wide(known: Exact) -> dist.Distribution:
    """A poor but covering proposal, whose weights have a variance."""
    spread = jnp.sqrt(jnp.diagonal(known.posterior.covariance_matrix))
    return dist.Normal(known.posterior.mean + 0.5 * spread, 1.7 * spread).to_event(1)


@eqx.filter_jit
def estimates(model, q, observation, keys, num_samples, chunk):
    return jax.vmap(lambda key: log_likelihood(model, q, observation, key=key, num_samples=num_samples, chunk=chunk))(
        keys
    )


def test_estimates_scatter_around_the_evidence_as_their_error_says(key):
    model = linear_model()
    known = exact(model, OBSERVATION)
    found = estimates(model, wide(known), OBSERVATION, jr.split(key, 300), 600, 200)
    errors = found.log_likelihood_nats - known.evidence_nats
    scatter = jnp.std(errors, ddof=1)
    # The mean is low by about half the squared error.
    bias = jnp.mean(errors) + 0.5 * jnp.mean(found.stderr_nats**2)
    assert abs(bias) < MONTE_CARLO_STANDARD_ERRORS * scatter / np.sqrt(300)
    # A standard deviation from n values has a relative error of 1 / sqrt(2 n).
    assert abs(jnp.mean(found.stderr_nats) / scatter - 1.0) < MONTE_CARLO_STANDARD_ERRORS / np.sqrt(2 * 300)
    assert abs(errors[0]) < MONTE_CARLO_STANDARD_ERRORS * found.stderr_nats[0]
    assert jnp.all(found.elbo_nats < found.log_likelihood_nats)
    assert jnp.all((found.effective_samples > 60) & (found.effective_samples < 600))
    elbo_scatter = jnp.std(found.elbo_nats, ddof=1)
    assert abs(jnp.mean(found.elbo_stderr_nats) / elbo_scatter - 1.0) < MONTE_CARLO_STANDARD_ERRORS / np.sqrt(2 * 300)


def test_the_exact_posterior_leaves_no_variance(key):
    model = linear_model()
    known = exact(model, OBSERVATION)
    found = log_likelihood(model, known.posterior, OBSERVATION, key=key, num_samples=100, chunk=30)
    np.testing.assert_allclose(found.log_likelihood_nats, known.evidence_nats, atol=ALGEBRA)
    np.testing.assert_allclose(found.elbo_nats, known.evidence_nats, atol=ALGEBRA)
    np.testing.assert_allclose([found.stderr_nats, found.elbo_stderr_nats], 0.0, atol=ALGEBRA)
    np.testing.assert_allclose(found.effective_samples, 100.0, atol=1e-6)


def draws(scale: float, shift: float):
    """Log weights with a heavy tail, at any height."""
    return lambda key: shift + scale * jr.normal(key) ** 2


@pytest.mark.parametrize("shift", [0.0, -3_000.0, 3_000.0])
@pytest.mark.parametrize("chunk", [1, 7, 64, 200, 1_000])
def test_streaming_equals_all_at_once(key, chunk, shift):
    log_weights = eqx.filter_jit(jax.vmap(draws(0.7, shift)))(
        eqx.filter_jit(jax.vmap(lambda i: jr.fold_in(key, i)))(jnp.arange(200))
    )
    found = summarize_weights(draws(0.7, shift), key=key, num_samples=200, chunk=chunk)
    weights = np.exp(np.asarray(log_weights - shift))
    expected = np.log(weights.mean()) + shift
    np.testing.assert_allclose(found.log_likelihood_nats, expected, rtol=ALGEBRA, atol=ALGEBRA)
    error = weights.std(ddof=1) / weights.mean() / np.sqrt(200)
    np.testing.assert_allclose(found.stderr_nats, error, rtol=ALGEBRA)
    np.testing.assert_allclose(found.effective_samples, weights.sum() ** 2 / (weights**2).sum(), rtol=ALGEBRA)
    np.testing.assert_allclose(found.pareto_k, pareto_shape(log_weights), atol=ALGEBRA)
    np.testing.assert_allclose(found.elbo_nats, log_weights.mean(), rtol=ALGEBRA)
    np.testing.assert_allclose(found.elbo_stderr_nats, log_weights.std(ddof=1) / np.sqrt(200), rtol=1e-8)


def test_a_zero_weight_counts_and_a_broken_one_shows(key):
    def sometimes(value):
        return lambda key: jnp.where(jr.uniform(key) < 0.25, value, 0.0)

    found = summarize_weights(sometimes(-jnp.inf), key=key, num_samples=400, chunk=1)
    share = jnp.exp(found.log_likelihood_nats)
    assert abs(share - 0.75) < MONTE_CARLO_STANDARD_ERRORS * np.sqrt(0.75 * 0.25 / 400)
    np.testing.assert_allclose(found.effective_samples, 400 * share, rtol=ALGEBRA)
    assert jnp.isnan(summarize_weights(sometimes(jnp.nan), key=key, num_samples=400, chunk=50).log_likelihood_nats)
    nowhere = summarize_weights(
        lambda key: jnp.where(jr.uniform(key) < 2.0, -jnp.inf, 0.0), key=key, num_samples=40, chunk=8
    )
    assert nowhere.log_likelihood_nats == -jnp.inf


def test_few_samples_have_no_tail_and_one_is_refused(key):
    assert jnp.isnan(summarize_weights(draws(1.0, 0.0), key=key, num_samples=24, chunk=24).pareto_k)
    with pytest.raises(BadInputError, match="two samples"):
        log_likelihood(linear_model(), linear_model().initial(), OBSERVATION, key=key, num_samples=1)


def test_evaluation_of_rows(key):
    model, data_key = linear_model(), jr.key(3)
    observations = OBSERVATION[None, :] + jr.normal(data_key, (5, 3))
    family = DiagonalGaussian(2)
    engine = NaturalGradient(rate=1.0)
    found = evaluate(
        model,
        engine,
        family,
        observations,
        key=key,
        num_steps=2,
        expectation=Cubature(),
        num_samples=2_000,
        batch_size=3,
        chunk=500,
    )
    known = eqx.filter_jit(jax.vmap(lambda x: exact(model, x).evidence_nats))(observations)
    likelihood = found.likelihood
    assert jnp.all(abs(likelihood.log_likelihood_nats - known) < MONTE_CARLO_STANDARD_ERRORS * likelihood.stderr_nats)
    # The correlated posterior is out of the family's reach.
    assert jnp.all(found.elbo_nats < known) and not jnp.any(found.failed)
    means = found.means()
    rows = likelihood.log_likelihood_nats
    np.testing.assert_allclose(means.log_likelihood_nats.stderr, jnp.std(rows, ddof=1) / np.sqrt(5), atol=ALGEBRA)
    pooled = np.sqrt(np.mean(np.asarray(likelihood.stderr_nats) ** 2) / 5)
    np.testing.assert_allclose(means.monte_carlo_stderr_nats, pooled, rtol=ALGEBRA)
    total = means.distortion_nats.value + means.rate_nats.value
    np.testing.assert_allclose(means.elbo_nats.value, -total, atol=ALGEBRA)
    assert float(means.reliable) == 1.0 and float(means.failed) == 0.0
    assert found.params.loc.shape == (5, 2)


def test_the_exact_family_is_exact_and_failed_rows_are_marked(key):
    observations = jnp.stack([OBSERVATION, jnp.full(3, jnp.nan)])
    found = evaluate(
        linear_model(), NaturalGradient(rate=1.0), FullGaussian(2), observations, key=key, num_samples=50, batch_size=4
    )
    expected = exact(linear_model(), OBSERVATION).evidence_nats
    np.testing.assert_allclose(found.likelihood.log_likelihood_nats[0], expected, atol=ALGEBRA)
    np.testing.assert_allclose(found.likelihood.stderr_nats[0], 0.0, atol=ALGEBRA)
    assert found.failed.tolist() == [False, True]
    assert bool(jnp.isnan(found.means().elbo_nats.value))
    with pytest.raises(BadInputError, match="positive number of rows"):
        evaluate(linear_model(), NaturalGradient(), FullGaussian(2), jnp.zeros((0, 3)), key=key)


def test_bits_by_hand():
    # Three dimensions, 6 bits in all.
    np.testing.assert_allclose(bits_per_dimension(6.0 * np.log(2.0), 3), 2.0, atol=ALGEBRA)
    # Uniform on [0, 1]: density 1, and 8 bits a dimension once it is spread over 256 bins.
    np.testing.assert_allclose(bits_per_dimension(0.0, 3072, log_bin_nats=float(np.log(256))), 8.0, atol=ALGEBRA)
    many = bits_per_dimension(jnp.asarray([0.0, 4.0 * np.log(2.0)]), 4)
    np.testing.assert_allclose(many, [0.0, 1.0], atol=ALGEBRA)
    with pytest.raises(BadInputError, match="positive number of dimensions"):
        bits_per_dimension(1.0, 0)


def test_perplexity_by_hand(key):
    # A vocabulary of eight equally likely words has a perplexity of eight, whatever the lengths.
    words = jnp.asarray([1.0, 5.0, 20.0])
    found = perplexity(-words * np.log(8.0), words)
    np.testing.assert_allclose([found.value, found.stderr], [8.0, 0.0], atol=ALGEBRA)
    # exp(mean of log 2 and log 8) = 4: documents count alike, not words.
    found = perplexity(jnp.asarray([-np.log(2.0), -10 * np.log(8.0)]), jnp.asarray([1, 10]))
    np.testing.assert_allclose(found.value, 4.0, atol=ALGEBRA)
    np.testing.assert_allclose(found.stderr, 4.0 * np.log(2.0), atol=ALGEBRA)
    rates = 5.0 + 0.1 * jr.normal(key, (300, 400))
    scatter = np.std([np.exp(row.mean()) for row in np.asarray(rates)])
    claimed = perplexity(-7.0 * rates[0], jnp.full(400, 7.0)).stderr
    assert abs(claimed / scatter - 1.0) < MONTE_CARLO_STANDARD_ERRORS * (1 / np.sqrt(2 * 300) + 1 / np.sqrt(2 * 400))
    with pytest.raises(BadInputError, match="at least one word"):
        perplexity(jnp.asarray([-1.0]), jnp.asarray([0.0]))
    with pytest.raises(BadInputError, match="one number of words"):
        perplexity(jnp.asarray([-1.0]), jnp.asarray([1.0, 2.0]))
