"""Free energies against exact evidence."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import pytest

import catalogue
import references
from homeostat.distributions import Cubature, DiagonalGaussian, Enumeration, FullGaussian, MonteCarlo
from homeostat.objectives import Evidence, FreeEnergy, ImportanceWeighted
from homeostat.results import BadInputError
from homeostat.testing import assert_zero_mean
from tolerances import ALGEBRA, MONTE_CARLO_STANDARD_ERRORS

MODEL = catalogue.linear_model()
EVIDENCE = catalogue.evidence()
EXACT = references.conjugate(MODEL, EVIDENCE.observation)
POSTERIOR = dist.MultivariateNormal(jnp.asarray(EXACT.mean), covariance_matrix=jnp.asarray(EXACT.covariance))


def test_exact_posterior_gives_the_evidence(key):
    np.testing.assert_allclose(
        FreeEnergy(MODEL, Cubature())(POSTERIOR, EVIDENCE, key=key), -EXACT.log_evidence, rtol=ALGEBRA
    )


def test_gap_is_the_divergence_to_the_posterior(key):
    family = DiagonalGaussian(2)
    q = family(family.from_moments(jnp.array([0.3, -0.8]), jnp.diag(jnp.array([0.5, 1.5]))))
    gap = FreeEnergy(MODEL, Cubature())(q, EVIDENCE, key=key) + EXACT.log_evidence
    covariance = np.diag([0.5, 1.5])
    offset = np.array([0.3, -0.8]) - EXACT.mean
    divergence = 0.5 * (
        np.trace(EXACT.precision @ covariance)
        + offset @ EXACT.precision @ offset
        - 2.0
        - np.linalg.slogdet(EXACT.precision @ covariance)[1]
    )
    np.testing.assert_allclose(gap, divergence, rtol=ALGEBRA)


def test_divergence_without_a_closed_form_shares_the_points(key):
    # A uniform prior has no closed form: F = E[-log p(x|z)] + E[log q] + log volume.
    model = catalogue.BoundedModel(MODEL.weights, jnp.ones(3))
    q = dist.Uniform(-0.5 * jnp.ones(2), 0.5 * jnp.ones(2)).to_event(1)
    value = FreeEnergy(model, MonteCarlo(8))(q, EVIDENCE, key=key)
    points = MonteCarlo(8).points(q, key=key).values
    errors = eqx.filter_jit(jax.vmap(lambda z: -model.emission(z).log_prob(EVIDENCE.observation)))(points)
    np.testing.assert_allclose(value, jnp.mean(errors) + np.log(4.0), rtol=ALGEBRA)


def test_prior_of_the_evidence_replaces_the_models(key):
    prior = dist.Normal(jnp.ones(2), 0.3 * jnp.ones(2)).to_event(1)
    evidence = Evidence(EVIDENCE.observation, prior)
    moved = eqx.tree_at(lambda m: (m.prior_mean, m.prior_factor), MODEL, (jnp.ones(2), 0.3 * jnp.eye(2)))
    family = FullGaussian(2)
    q = family(family.init())
    for objective in (FreeEnergy, ImportanceWeighted):
        np.testing.assert_allclose(
            objective(MODEL)(q, evidence, key=key), objective(moved)(q, EVIDENCE, key=key), rtol=ALGEBRA
        )


def test_curvature_of_a_linear_model_is_the_posterior_precision(key):
    curvature = FreeEnergy(MODEL).curvature(jnp.zeros(2), EVIDENCE, key=key)
    np.testing.assert_allclose(curvature, EXACT.precision, rtol=ALGEBRA, atol=ALGEBRA)


def test_curvature_without_fisher_is_the_hessian(key):
    class GammaModel(catalogue.LinearModel):
        def emission(self, state):
            return dist.Gamma(jnp.exp(self.weights @ state), self.noise).to_event(1)

    model = GammaModel(MODEL.weights, MODEL.prior_mean, MODEL.prior_factor, MODEL.noise)
    evidence = Evidence(jnp.array([0.5, 1.0, 2.0]))
    value = jnp.array([0.2, -0.1])
    objective = FreeEnergy(model)
    hessian = eqx.filter_jit(jax.hessian(lambda z: objective.pointwise(z, evidence, key=key)))(value)
    np.testing.assert_allclose(objective.curvature(value, evidence, key=key), hessian, rtol=ALGEBRA)


def test_importance_weighting_tightens_the_bound(key):
    family = DiagonalGaussian(2)
    q = family(family.from_moments(jnp.asarray(EXACT.mean) + 0.3, 0.5 * jnp.eye(2)))
    keys = jr.split(key, 4000)

    def bounds(count):
        objective = ImportanceWeighted(MODEL, count)
        return eqx.filter_jit(jax.vmap(lambda k: objective(q, EVIDENCE, key=k)))(keys)

    free_energy = float(FreeEnergy(MODEL, Cubature())(q, EVIDENCE, key=key))
    values = [bounds(count) for count in (1, 4, 16)]
    means = [float(jnp.mean(value)) for value in values]
    assert free_energy > means[1] > means[2] > -EXACT.log_evidence
    # One sample is the free energy itself, on average.
    assert_zero_mean(values[0] - free_energy, MONTE_CARLO_STANDARD_ERRORS, "K = 1 is the free energy")
    # The average of the weights themselves is the evidence, for any K.
    weights = jnp.exp(-values[2] - EXACT.log_evidence)
    assert_zero_mean(weights - 1.0, MONTE_CARLO_STANDARD_ERRORS, "importance weights estimate the evidence")


def test_importance_weights_at_the_posterior_are_constant(key):
    log_weights = ImportanceWeighted(MODEL, 16).log_weights(POSTERIOR, EVIDENCE, key=key)
    np.testing.assert_allclose(log_weights, np.full(16, EXACT.log_evidence), rtol=ALGEBRA)


def test_free_energy_of_a_choice_is_exact(key):
    model, evidence = catalogue.mixture_model((2,)), catalogue.evidence(2)
    points = Enumeration().points(model.initial(), key=key).values
    joint = eqx.filter_jit(
        jax.vmap(lambda z: model.initial().log_prob(z) + model.emission(z).log_prob(evidence.observation))
    )(points)
    q = model.initial()
    expected = sum(
        float(jnp.exp(q.log_prob(z)) * (q.log_prob(z) - log_joint)) for z, log_joint in zip(points, joint, strict=True)
    )
    np.testing.assert_allclose(FreeEnergy(model, Enumeration())(q, evidence, key=key), expected, rtol=ALGEBRA)


def test_bad_number_of_samples():
    with pytest.raises(BadInputError, match="at least one sample, got num_samples=0"):
        ImportanceWeighted(MODEL, 0)


@pytest.mark.parametrize("shape", [(), (1,), (2, *EVIDENCE.observation.shape)])
def test_an_observation_of_the_wrong_shape_is_refused(shape, key):
    with pytest.raises(BadInputError, match="Expected an observation of shape"):
        FreeEnergy(MODEL, Cubature())(POSTERIOR, Evidence(jnp.zeros(shape)), key=key)
