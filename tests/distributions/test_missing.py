"""Densities of what was observed, and draws of what was not, against closed forms."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import pytest

from homeostat.distributions import Masked, complete, known_entries, partial_log_prob
from homeostat.results import BadInputError
from tolerances import ALGEBRA, MONTE_CARLO_STANDARD_ERRORS

MEAN = jnp.array([0.5, -1.0, 2.0])
FACTOR = jnp.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [-0.4, 0.3, 0.9]])
SEEN = np.array([0, 2])


@pytest.fixture
def gaussian():
    return dist.MultivariateNormal(MEAN, scale_tril=FACTOR)


@pytest.fixture
def value():
    return jnp.array([1.0, jnp.nan, 0.5])


def test_a_correlated_gaussian_is_marginalised(gaussian, value):
    covariance = np.asarray(FACTOR @ FACTOR.T)[np.ix_(SEEN, SEEN)]
    expected = dist.MultivariateNormal(MEAN[SEEN], covariance).log_prob(value[SEEN])
    assert jnp.abs(partial_log_prob(gaussian, *known_entries(value)) - expected) < ALGEBRA
    nothing = known_entries(jnp.full(3, jnp.nan))
    assert partial_log_prob(gaussian, *nothing) == 0.0


def test_missing_entries_of_a_gaussian_are_drawn_given_the_others(gaussian, value, key):
    covariance = np.asarray(FACTOR @ FACTOR.T)
    gain = np.linalg.solve(covariance[np.ix_(SEEN, SEEN)], covariance[SEEN, 1])
    mean = MEAN[1] + gain @ np.asarray(value - MEAN)[SEEN]
    variance = covariance[1, 1] - gain @ covariance[SEEN, 1]
    number = 4_000
    draws = eqx.filter_jit(jax.vmap(lambda k: complete(gaussian, *known_entries(value), key=k)))(jr.split(key, number))
    assert jnp.all(draws[:, SEEN] == value[None, SEEN])
    assert jnp.abs(jnp.mean(draws[:, 1]) - mean) < MONTE_CARLO_STANDARD_ERRORS * (variance / number) ** 0.5
    ratio = jnp.mean((draws[:, 1] - mean) ** 2) / variance
    assert jnp.abs(ratio - 1.0) < MONTE_CARLO_STANDARD_ERRORS * (2.0 / number) ** 0.5


ENTRYWISE = {
    "normal": lambda p: dist.Normal(p, 0.7),
    "Bernoulli": lambda p: dist.Bernoulli(logits=p),
    "Poisson": lambda p: dist.Poisson(jnp.exp(p)),
    "gamma": lambda p: dist.Gamma(jnp.exp(p), 1.0),
}


@pytest.mark.parametrize("name", ENTRYWISE)
def test_independent_entries_are_left_out_with_finite_gradients(name, key):
    def build(p):
        return ENTRYWISE[name](p).to_event(1)

    drawn = jnp.asarray(build(MEAN).sample(key), float)
    value, observed = known_entries(drawn.at[1].set(jnp.nan))
    expected = jnp.sum(build(MEAN).base_dist.log_prob(drawn)[SEEN])
    found, gradient = eqx.filter_jit(jax.value_and_grad(lambda p: partial_log_prob(build(p), value, observed)))(MEAN)
    assert jnp.abs(found - expected) < ALGEBRA
    assert jnp.all(jnp.isfinite(gradient))
    assert gradient[1] == 0.0
    assert jnp.all(jnp.isfinite(complete(build(MEAN), value, observed, key=key)))


def test_integers_come_with_a_mask(key):
    tokens = dist.Categorical(logits=jnp.zeros((3, 4))).to_event(1)
    value, observed = known_entries(Masked(jnp.array([1, 0, 3]), jnp.array([True, False, True])))
    assert jnp.abs(partial_log_prob(tokens, value, observed) - 2.0 * jnp.log(0.25)) < ALGEBRA
    completed = complete(tokens, value, observed, key=key)
    assert completed.dtype == value.dtype
    assert completed[0] == 1
    assert completed[2] == 3
    assert known_entries(jnp.array([1, 2])).observed is None
    with pytest.raises(BadInputError, match="one entry for every entry"):
        Masked(jnp.zeros(3), jnp.zeros(2, bool))


def test_a_joint_density_without_a_closed_form_counts_as_a_whole(key):
    """Of a mixture over vectors, nothing is known if an entry is not."""
    components = dist.Normal(jnp.zeros((2, 3)), 1.0).to_event(1)
    mixture = dist.MixtureSameFamily(dist.Categorical(logits=jnp.zeros(2)), components)
    whole, part = jnp.ones(3, bool), jnp.array([True, False, True])
    value = jnp.array([0.1, 0.2, 0.3])
    with jax.numpy_rank_promotion("allow"):
        assert jnp.abs(partial_log_prob(mixture, value, whole) - mixture.log_prob(value)) < ALGEBRA
        assert partial_log_prob(mixture, value, part) == 0.0
        assert jnp.all(complete(mixture, value, whole, key=key) == value)
        assert jnp.all(complete(mixture, value, part, key=key) != value)
