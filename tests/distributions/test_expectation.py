"""Rules for expectations: exact where they promise it, unbiased elsewhere."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import pytest

from homeostat.distributions import Antithetic, Categorical, Cubature, Enumeration, MeanPoint, MonteCarlo
from homeostat.results import BadInputError
from homeostat.testing import assert_zero_mean
from tolerances import ALGEBRA, MONTE_CARLO_STANDARD_ERRORS

MEAN = jnp.array([0.5, -1.0, 2.0])
FACTOR = jnp.array([[1.0, 0.0, 0.0], [0.3, 0.8, 0.0], [-0.2, 0.4, 0.5]])
GAUSSIAN = dist.MultivariateNormal(MEAN, scale_tril=FACTOR)


def expectation(rule, function, key=None, distribution=GAUSSIAN):
    points = rule.points(distribution, key=jr.key(0) if key is None else key)
    return points.weights @ eqx.filter_jit(jax.vmap(function))(points.values)


def test_cubature_is_exact_for_cubic_polynomials():
    covariance = FACTOR @ FACTOR.T
    # E[z_i z_j z_k] = m_i m_j m_k + m_i C_jk + m_j C_ik + m_k C_ij, for every triple at once.
    got = expectation(Cubature(), lambda z: jnp.einsum("i,j,k->ijk", z, z, z).ravel()).reshape(3, 3, 3)
    expected = np.einsum("i,j,k->ijk", MEAN, MEAN, MEAN)
    expected = expected + np.einsum("i,jk->ijk", MEAN, covariance)
    expected = expected + np.einsum("j,ik->ijk", MEAN, covariance) + np.einsum("k,ij->ijk", MEAN, covariance)
    np.testing.assert_allclose(got, expected, rtol=ALGEBRA, atol=ALGEBRA)
    squares = expectation(Cubature(), lambda z: jnp.outer(z, z).ravel()).reshape(3, 3)
    np.testing.assert_allclose(squares, covariance + np.outer(MEAN, MEAN), rtol=ALGEBRA, atol=ALGEBRA)


def test_cubature_is_not_exact_for_quartics():
    # E[z^4] = 3 for a standard Gaussian in one dimension; the two points +-1 give 1.
    standard = dist.Normal(jnp.zeros(1), jnp.ones(1)).to_event(1)
    got = expectation(Cubature(), lambda z: z[0] ** 4, distribution=standard)
    np.testing.assert_allclose(got, 1.0, rtol=ALGEBRA)


def test_the_mean_point_is_exact_for_linear_functions():
    got = expectation(MeanPoint(), lambda z: FACTOR @ z + 1.0)
    np.testing.assert_allclose(got, FACTOR @ MEAN + 1.0, rtol=ALGEBRA)


def test_antithetic_is_exact_for_linear_functions(key):
    np.testing.assert_allclose(expectation(Antithetic(3), lambda z: z, key), MEAN, rtol=ALGEBRA)


@pytest.mark.parametrize("rule", [MonteCarlo(4), Antithetic(2)])
def test_sampling_rules_are_unbiased(rule, key):
    draws = eqx.filter_jit(jax.vmap(lambda k: expectation(rule, lambda z: z[0] ** 2 * z[1], k)))(jr.split(key, 5000))
    covariance = FACTOR @ FACTOR.T
    exact = MEAN[0] ** 2 * MEAN[1] + MEAN[1] * covariance[0, 0] + 2.0 * MEAN[0] * covariance[0, 1]
    assert_zero_mean(draws - exact, MONTE_CARLO_STANDARD_ERRORS, "the rule is unbiased")


def test_pathwise_gradients_are_unbiased(key):
    # d/dm E[z_0^3] = 3 (m_0^2 + s_0^2).
    def estimate(k):
        def moment(mean):
            moved = dist.MultivariateNormal(mean, scale_tril=FACTOR)
            return expectation(MonteCarlo(2), lambda z: z[0] ** 3, k, moved)

        return jax.grad(moment)(MEAN)[0]

    draws = jax.jit(jax.vmap(estimate))(jr.split(key, 5000))
    exact = 3.0 * (MEAN[0] ** 2 + FACTOR[0, 0] ** 2)
    assert_zero_mean(draws - exact, MONTE_CARLO_STANDARD_ERRORS, "the pathwise gradient is unbiased")


def test_enumeration_is_exact_and_differentiable():
    family = Categorical(3, (2,))
    table = jnp.arange(9.0).reshape(3, 3) ** 2

    def mean(logits):
        q = family(family.init()._replace(logits=logits))
        return expectation(Enumeration(), lambda x: table[x[0], x[1]], distribution=q)

    logits = jr.normal(jr.key(3), (2, 3))
    first, second = np.asarray(jax.nn.softmax(logits))
    np.testing.assert_allclose(mean(logits), first @ np.asarray(table) @ second, rtol=ALGEBRA)
    # d/d logits_0 of first^T T second is (diag(first) - first first^T) T second.
    slope = (np.diag(first) - np.outer(first, first)) @ np.asarray(table) @ second
    np.testing.assert_allclose(eqx.filter_jit(jax.grad(mean))(logits)[0], slope, rtol=ALGEBRA, atol=ALGEBRA)
    points = Enumeration().points(family(family.init()), key=jr.key(0))
    np.testing.assert_array_equal(points.values, family.support())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MonteCarlo(0), "at least one sample, got num_samples=0"),
        (lambda: Cubature().points(dist.Gamma(jnp.ones(2)).to_event(1), key=jr.key(0)), "Expected a Gaussian"),
        (lambda: Antithetic().points(dist.Gamma(jnp.ones(2)).to_event(1), key=jr.key(0)), "Expected a Gaussian"),
        (lambda: Enumeration().points(GAUSSIAN, key=jr.key(0)), "finite support, got MultivariateNormal"),
        (
            lambda: Enumeration(8).points(Categorical(3, (2,))(Categorical(3, (2,)).init()), key=jr.key(0)),
            r"at most 8 points of support, got 3\^2",
        ),
    ],
)
def test_bad_input(build, message):
    with pytest.raises(BadInputError, match=message):
        build()
