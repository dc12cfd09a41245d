"""Distributions of several levels: factorisation, conditional divergences, and posteriors that reuse the prior."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import pytest

from homeostat.distributions import (
    DiagonalGaussian,
    DiagonalGaussianParams,
    FullGaussian,
    Hierarchical,
    Ladder,
    level_divergences,
)
from homeostat.models.static import ConditionalLevel, NoSkip, Skip, StandardLevel
from homeostat.results import BadInputError
from problems import mapping
from tolerances import ALGEBRA, MONTE_CARLO_STANDARD_ERRORS


class Matrix(jax.tree_util.Partial):
    """A linear map, for which everything is known."""


def linear(matrix):
    return Matrix(lambda m, c: m @ c, matrix)


WEIGHTS = jnp.array([[0.7], [-0.4]])


@pytest.fixture
def linear_prior():
    """z^2 ~ N(0, 1), z^1 ~ N(W z^2, 0.5^2): a Gaussian whose covariance can be written down."""
    return Hierarchical((ConditionalLevel(linear(WEIGHTS), jnp.log(jnp.full(2, 0.5)), dim=2), StandardLevel(1)))


def joint_covariance():
    cross = WEIGHTS
    return jnp.block([[cross @ cross.T + 0.25 * jnp.eye(2), cross], [cross.T, jnp.eye(1)]])


def test_the_joint_density_is_that_of_the_dense_gaussian(linear_prior, key):
    dense = dist.MultivariateNormal(jnp.zeros(3), joint_covariance())
    points = jr.normal(key, (5, 3))
    np.testing.assert_allclose(
        eqx.filter_jit(jax.vmap(linear_prior.log_prob))(points),
        eqx.filter_jit(jax.vmap(dense.log_prob))(points),
        rtol=ALGEBRA,
    )
    samples = eqx.filter_jit(jax.vmap(linear_prior.sample))(jr.split(key, 20_000))
    error = MONTE_CARLO_STANDARD_ERRORS * 2.0 / np.sqrt(20_000)
    np.testing.assert_allclose(jnp.cov(samples.T), joint_covariance(), atol=error)


@pytest.mark.parametrize("wiring", [NoSkip(), Skip()])
def test_what_is_handed_down_is_what_the_wiring_says(wiring, key):
    first, second = jr.split(key)
    middle = ConditionalLevel(mapping(1, 4, key=first), None, mapping(1, 3, key=second), wiring, 2)
    width = 2 + 3 + (1 if isinstance(wiring, Skip) else 0)
    lowest = ConditionalLevel(mapping(width, 2, key=key), None, None, NoSkip(), 1)
    prior = Hierarchical((lowest, middle, StandardLevel(1)))
    value = jnp.array([0.3, -0.1, 0.2, 0.9])
    descent = prior.descend(value)
    np.testing.assert_allclose(
        prior.log_prob(value),
        sum(c.log_prob(v) for c, v in zip(descent.conditionals, prior.split(value), strict=True)),
        rtol=ALGEBRA,
    )
    # Only with a skip connection does the lowest level see the top besides through the middle one.
    moved = prior.descend(value.at[3].add(1.0))
    handed, again = (middle.descend(jnp.array([top]), value[1:3])[:2] for top in (0.9, 1.9))
    np.testing.assert_array_equal(handed, again)
    assert not jnp.allclose(descent.conditionals[1].mean, moved.conditionals[1].mean)


@pytest.mark.parametrize("kind", ["mean field", "ladder"])
def test_level_divergences_average_to_the_divergence(linear_prior, kind, key):
    params = DiagonalGaussianParams(jnp.array([0.2, -0.3, 0.5]), jnp.array([-0.5, -0.2, -0.8]))
    q = DiagonalGaussian(3)(params) if kind == "mean field" else Ladder(linear_prior.levels)(params)
    keys = jr.split(key, 20_000)
    samples = eqx.filter_jit(jax.vmap(q.sample))(keys)
    divergences = jnp.sum(eqx.filter_jit(jax.vmap(lambda z: level_divergences(q, linear_prior, z)))(samples), axis=1)
    log_ratio = eqx.filter_jit(jax.vmap(lambda z: q.log_prob(z) - linear_prior.log_prob(z)))(samples)
    difference = divergences - log_ratio
    assert abs(jnp.mean(difference)) < MONTE_CARLO_STANDARD_ERRORS * jnp.std(difference) / np.sqrt(20_000)
    assert jnp.std(divergences) < jnp.std(log_ratio)
    if kind == "mean field":
        moments = dist.MultivariateNormal(params.loc, jnp.diag(jnp.exp(2.0 * params.log_scale)))
        exact = dist.kl_divergence(moments, dist.MultivariateNormal(jnp.zeros(3), joint_covariance()))
        assert abs(jnp.mean(divergences) - exact) < MONTE_CARLO_STANDARD_ERRORS * jnp.std(divergences) / np.sqrt(20_000)


def test_a_full_gaussian_has_no_level_divergences(linear_prior):
    q = FullGaussian(3)(FullGaussian(3).init())
    assert level_divergences(q, linear_prior, jnp.zeros(3)) is None


def test_a_ladder_with_the_likelihood_as_message_is_the_exact_posterior_of_a_linear_chain(linear_prior):
    """z^1 observed with noise: the message is the likelihood at level 1; level 2 gets the one that its marginal has."""
    noise, observed = 0.3, jnp.array([0.8, -0.6])
    joint = joint_covariance()
    gain = joint[:, :2] @ jnp.linalg.inv(joint[:2, :2] + noise**2 * jnp.eye(2))
    mean, covariance = gain @ observed, joint - gain @ joint[:2, :]
    # What the data say of z^2 once z^1 is summed out: N(observed; W z^2, 0.5^2 + noise^2).
    total = 0.25 + noise**2
    precision = jnp.sum(WEIGHTS**2) / total
    above = (WEIGHTS[:, 0] @ observed) / total / precision
    params = DiagonalGaussianParams(
        jnp.append(observed, above), jnp.append(jnp.full(2, jnp.log(noise)), -0.5 * jnp.log(precision))
    )
    q = Ladder(linear_prior.levels)(params)
    exact = dist.MultivariateNormal(mean, covariance)
    points = jr.normal(jr.key(1), (6, 3))
    np.testing.assert_allclose(
        eqx.filter_jit(jax.vmap(q.log_prob))(points),
        eqx.filter_jit(jax.vmap(exact.log_prob))(points),
        rtol=1e3 * ALGEBRA,
    )


def test_misuse_is_refused(linear_prior):
    with pytest.raises(BadInputError, match="at least one level"):
        Hierarchical(())
    with pytest.raises(BadInputError, match="levels of a prior"):
        Ladder(())
    with pytest.raises(BadInputError, match="one sample at a time"):
        linear_prior.sample(jr.key(0), (3,))
    with pytest.raises(BadInputError, match="hierarchical"):
        Ladder(linear_prior.levels).given(dist.Normal(jnp.zeros(2), 1.0).to_event(1))
