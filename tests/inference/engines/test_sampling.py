"""Sampling engines against closed-form optima."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import pytest

import catalogue
import references
from homeostat.core import AbstractObjective
from homeostat.distributions import Categorical, DiagonalGaussian, Enumeration, FullGaussian, gaussian_moments
from homeostat.inference import infer
from homeostat.inference.engines import MPPI, CrossEntropy, Enumerate
from homeostat.objectives import Evidence, FreeEnergy
from homeostat.results import BadInputError
from homeostat.testing import assert_zero_mean
from tolerances import ALGEBRA, MONTE_CARLO_STANDARD_ERRORS


class Table(AbstractObjective):
    """U(x) of every point of a small grid."""

    energies: jax.Array

    def pointwise(self, value, args, *, key):
        return self.energies[tuple(jnp.atleast_1d(value))]

    def __call__(self, distribution, args, *, key):
        points = Enumeration().points(distribution, key=key)
        energies = jax.vmap(lambda x: self.pointwise(x, args, key=key) + distribution.log_prob(x))(points.values)
        return points.weights @ energies


def test_path_integral_converges_to_the_posterior(key):
    # Self-normalised importance sampling: started at the prior with U = -log p(x | z), the weighted sample is the posterior.
    model, evidence = catalogue.linear_model(), catalogue.evidence()
    exact = references.conjugate(model, evidence.observation)

    class Likelihood(AbstractObjective):
        def pointwise(self, value, args, *, key):
            return -model.emission(value).log_prob(args.observation)

        def __call__(self, distribution, args, *, key):
            return jnp.zeros(())

    family = FullGaussian(2)
    prior = family.from_scale_tril(model.prior_mean, model.prior_factor)
    engine = MPPI(population=4000)

    def once(k):
        posterior = infer(Likelihood(), engine, family, evidence, key=k, params=prior, throw=False)
        moments = gaussian_moments(posterior.distribution)
        return moments.loc, moments.scale_tril @ moments.scale_tril.T

    means, covariances = eqx.filter_jit(jax.vmap(once))(jr.split(key, 64))
    # The bias of self-normalisation, O(1 / population), is far below the standard errors here.
    assert_zero_mean(means - exact.mean[None, :], MONTE_CARLO_STANDARD_ERRORS, "posterior mean")
    assert_zero_mean(covariances - exact.covariance[None, :, :], MONTE_CARLO_STANDARD_ERRORS, "posterior covariance")


def test_path_integral_weights_are_boltzmann():
    weights = MPPI(4, 2.0).weights(jnp.array([0.0, 2.0, 4.0, jnp.inf]))
    expected = np.exp([0.0, -1.0, -2.0, -np.inf])
    np.testing.assert_allclose(weights, expected / expected.sum(), rtol=ALGEBRA)


def test_cross_entropy_keeps_exactly_the_elites():
    weights = CrossEntropy(5, 2).weights(jnp.array([3.0, 1.0, 1.0, 1.0, jnp.inf]))
    assert float(jnp.sum(weights)) == pytest.approx(1.0, abs=ALGEBRA)
    assert int(jnp.sum(weights > 0)) == 2  # Ties do not enlarge the elite.
    assert float(weights[0]) == 0.0
    assert float(weights[4]) == 0.0


@pytest.mark.parametrize("family", [DiagonalGaussian(2), FullGaussian(2)])
def test_cross_entropy_finds_the_minimum(family, key):
    model, evidence = catalogue.linear_model(), catalogue.evidence()
    posterior = infer(FreeEnergy(model), CrossEntropy(512, 32), family, evidence, key=key, num_steps=40, throw=False)
    mode = references.conjugate(model, evidence.observation).mean
    spread = np.sqrt(np.asarray(jnp.diagonal(gaussian_moments(posterior.distribution).scale_tril) ** 2))
    assert np.all(np.abs(np.asarray(posterior.params.loc) - mode) < ALGEBRA + MONTE_CARLO_STANDARD_ERRORS * spread)
    assert np.all(spread < 1e-3 * np.sqrt(np.diag(references.conjugate(model, evidence.observation).covariance)))


def test_impossible_points_get_no_weight(key):
    class Fence(AbstractObjective):
        def pointwise(self, value, args, *, key):
            return jnp.where(value[0] > 0.0, jnp.log(value[0]) ** 2, jnp.nan)

        def __call__(self, distribution, args, *, key):
            return jnp.zeros(())

    for engine in (CrossEntropy(64, 8), MPPI(64)):
        posterior = infer(Fence(), engine, DiagonalGaussian(1), None, key=key, num_steps=10)
        assert float(posterior.params.loc[0]) > 0.0
        # A q that reaches the impossible has an infinite energy, and no undefined one.
        assert float(posterior.path_nats[0]) == jnp.inf
        assert not bool(jnp.any(jnp.isnan(posterior.path_nats)))
        assert bool(jnp.isfinite(posterior.path_nats[-1]))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_exhaustive_is_boltzmann(temperature, key):
    energies = jnp.array([0.3, -1.0, 2.0, jnp.inf])
    posterior = infer(Table(energies), Enumerate(temperature), Categorical(4), None, key=key, throw=False)
    expected = np.exp(-np.asarray(energies) / temperature)
    probabilities = jax.nn.softmax(posterior.params.logits)
    np.testing.assert_allclose(probabilities, expected / expected.sum(), rtol=ALGEBRA, atol=ALGEBRA)


def test_exhaustive_reaches_the_evidence(key):
    model, evidence = catalogue.mixture_model(), catalogue.evidence(2)
    joint = [
        float(model.initial().log_prob(jnp.asarray(z)) + model.emission(jnp.asarray(z)).log_prob(evidence.observation))
        for z in range(3)
    ]
    posterior = infer(FreeEnergy(model, Enumeration()), Enumerate(), Categorical(3), evidence, key=key)
    np.testing.assert_allclose(posterior.energy_nats, -np.log(np.sum(np.exp(joint))), rtol=ALGEBRA)


def test_exhaustive_finds_the_best_plan_and_the_marginals(key):
    energies = jr.normal(key, (3, 3))
    family = Categorical(3, (2,))
    cold = infer(Table(energies), Enumerate(1e-3), family, None, key=key)
    best = np.unravel_index(int(np.argmin(energies)), (3, 3))
    np.testing.assert_array_equal(jnp.argmax(cold.params.logits, axis=-1), best)
    warm = infer(Table(energies), Enumerate(), family, None, key=key)
    joint = np.exp(-np.asarray(energies))
    joint /= joint.sum()
    marginals = np.stack([joint.sum(1), joint.sum(0)])
    np.testing.assert_allclose(jax.nn.softmax(warm.params.logits), marginals, rtol=ALGEBRA)


def test_exhaustive_refuses_an_infinite_support(key):
    with pytest.raises(BadInputError, match="Expected a Categorical family for Enumerate, got DiagonalGaussian"):
        infer(Table(jnp.zeros(3)), Enumerate(), DiagonalGaussian(1), None, key=key)


def test_bad_options():
    with pytest.raises(BadInputError, match="elites=9 and population=8"):
        CrossEntropy(8, 9)
    for engine in (MPPI, Enumerate):
        with pytest.raises(BadInputError, match="temperature above zero, got 0.0"):
            engine(temperature=0.0)


def test_population_is_drawn_from_the_family(key):
    # At infinite temperature every sample weighs the same, so the fit returns the family it was drawn from.
    family = DiagonalGaussian(1)
    start = family.from_moments(jnp.array([2.0]), jnp.array([[4.0]]))

    def once(k):
        engine = MPPI(100, 1e12)
        evidence = Evidence(jnp.zeros(3), dist.Normal(jnp.zeros(1), jnp.ones(1)).to_event(1))
        model = catalogue.linear_model(1)
        return infer(FreeEnergy(model), engine, family, evidence, key=k, params=start, throw=False).params.loc

    means = eqx.filter_jit(jax.vmap(once))(jr.split(key, 400))
    assert_zero_mean(means - 2.0, MONTE_CARLO_STANDARD_ERRORS, "an indifferent fit keeps the mean")
