"""Gaps of a mean-field posterior on a linear-Gaussian model, where every part of them is known."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from homeostat.distributions import Cubature, DiagonalGaussian, MonteCarlo
from homeostat.inference import infer
from homeostat.inference.engines import Gradient, NaturalGradient
from homeostat.metrics import ReferenceOptimum, inference_gaps
from homeostat.objectives import Evidence, FreeEnergy
from homeostat.results import BadInputError
from problems import linear_model
from tolerances import ALGEBRA, AUTODIFF, MONTE_CARLO_STANDARD_ERRORS

OBSERVATIONS = jnp.linspace(-1.0, 2.0, 3)[None, :] + 0.5 * jr.normal(jr.key(5), (3, 3))
EXACT = ReferenceOptimum(
    num_starts=2, num_steps=60, expectation=Cubature(), num_polish_steps=20, polish_expectation=Cubature()
)


def precision(model) -> np.ndarray:
    """Of the posterior, the same for every observation."""
    prior = np.linalg.inv(model.prior_factor @ model.prior_factor.T)
    return prior + np.asarray(model.weights.T @ (model.weights / model.noise[:, None] ** 2))


def evidence(model) -> jax.Array:
    covariance = model.prior_factor @ model.prior_factor.T
    marginal = model.weights @ covariance @ model.weights.T + jnp.diag(model.noise**2)
    centred = OBSERVATIONS - (model.weights @ model.prior_mean)[None, :]
    return jax.vmap(lambda x: jax.scipy.stats.multivariate_normal.logpdf(x, jnp.zeros(3), marginal))(centred)


def test_gaps_add_up_and_agree_with_their_closed_forms(key):
    model = linear_model()
    found = inference_gaps(
        model,
        Gradient(optax.sgd(0.02)),
        DiagonalGaussian(2),
        OBSERVATIONS,
        key=key,
        num_steps=5,
        num_samples=2_000,
        long_run=EXACT,
        batch_size=2,
        chunk=500,
    )
    np.testing.assert_allclose(found.inference_nats, found.approximation_nats + found.amortization_nats, atol=ALGEBRA)
    np.testing.assert_allclose(found.approximation_nats, found.richer_family_nats + found.remaining_nats, atol=ALGEBRA)
    # The best independent normals keep the diagonal of the precision; a full covariance leaves nothing.
    matrix = precision(model)
    expected = 0.5 * (np.log(np.diagonal(matrix)).sum() - np.linalg.slogdet(matrix)[1])
    np.testing.assert_allclose(
        found.optimum.flat[:, 2:], np.tile(-0.5 * np.log(np.diagonal(matrix)), (3, 1)), atol=AUTODIFF
    )
    np.testing.assert_allclose(found.log_likelihood_nats, evidence(model), atol=AUTODIFF)
    np.testing.assert_allclose(found.remaining_nats, 0.0, atol=AUTODIFF)
    error = MONTE_CARLO_STANDARD_ERRORS * found.approximation_stderr_nats
    assert jnp.all(abs(found.approximation_nats - expected) < error) and jnp.all(error < expected)
    # Five small steps leave much to be gained, and more than the noise.
    assert jnp.all(found.amortization_nats > MONTE_CARLO_STANDARD_ERRORS * found.amortization_stderr_nats)
    assert jnp.all(found.pareto_k < 0.5) and jnp.all(abs(found.optimum.last_change_per_nat) < 1e-3)
    assert jnp.all(abs(found.optimum.spread_nats) < AUTODIFF) and found.optimum.polished.shape == (3,)
    means = found.means()
    np.testing.assert_allclose(means.inference_nats.value, found.inference_nats.mean(), atol=ALGEBRA)
    total = means.amortization_nats.value + means.richer_family_nats.value + means.remaining_nats.value
    np.testing.assert_allclose(means.inference_nats.value, total, atol=ALGEBRA)


def test_a_bad_optimisation_shows_and_does_not_hide_behind_its_start(key):
    # One start, at the optimum, thrown about by steps that are far too long.
    model, family, evidence = linear_model(), DiagonalGaussian(2), Evidence(OBSERVATIONS[0])
    exact = FreeEnergy(model, Cubature())
    optimum = infer(exact, NaturalGradient(rate=1.0), family, evidence, key=key, num_steps=10)
    wild = ReferenceOptimum(
        num_starts=1, num_steps=20, learning_rate=3.0, expectation=MonteCarlo(1), num_polish_steps=0
    )
    found = eqx.filter_jit(wild)(model, family, evidence, first=optimum.params, key=key)
    ended = family(ravel_pytree(family.init())[1](found.flat))
    assert exact(ended, evidence, key=key) > optimum.energy_nats + 0.1
    assert float(abs(found.last_change_per_nat)) > 1e-3
    assert not bool(found.polished) and float(found.spread_nats) == 0.0


def test_options_are_checked():
    with pytest.raises(BadInputError, match="20 steps"):
        ReferenceOptimum(num_steps=5)
