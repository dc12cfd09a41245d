"""Divergences against numpyro, against Monte Carlo and against the textbook."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions.kl import kl_divergence

from homeostat.distributions import closed_form_divergence, gaussian_moments, is_gaussian
from homeostat.results import BadInputError
from homeostat.testing import assert_zero_mean
from tolerances import ALGEBRA, MONTE_CARLO_STANDARD_ERRORS


def diagonal(seed):
    loc, scale = jr.normal(jr.key(seed), (2, 3))
    return dist.Normal(loc, jnp.exp(0.3 * scale)).to_event(1)


def full(seed):
    root = jr.normal(jr.key(seed), (3, 3))
    return dist.MultivariateNormal(root[0], covariance_matrix=root @ root.T + jnp.eye(3))


def textbook(q, p):
    (m, a), (n, b) = ((np.asarray(g.loc), np.asarray(g.scale_tril)) for g in map(gaussian_moments, (q, p)))
    s, t = a @ a.T, b @ b.T
    trace = np.trace(np.linalg.solve(t, s)) + (n - m) @ np.linalg.solve(t, n - m) - len(m)
    return 0.5 * (trace + np.linalg.slogdet(t)[1] - np.linalg.slogdet(s)[1])


@pytest.mark.parametrize("q", [diagonal(1), full(2)])
@pytest.mark.parametrize("p", [diagonal(3), full(4)])
def test_gaussians_by_the_textbook(q, p):
    np.testing.assert_allclose(closed_form_divergence(q, p), textbook(q, p), rtol=ALGEBRA)
    assert float(closed_form_divergence(q, q)) == pytest.approx(0.0, abs=ALGEBRA)


def test_agrees_with_numpyro_where_it_has_one():
    np.testing.assert_allclose(closed_form_divergence(full(1), full(2)), kl_divergence(full(1), full(2)), rtol=ALGEBRA)
    gamma = [dist.Gamma(a, b) for a, b in ((2.0, 1.0), (3.0, 0.5))]
    np.testing.assert_allclose(closed_form_divergence(*gamma), kl_divergence(*gamma), rtol=ALGEBRA)


@pytest.mark.parametrize("shape", [(4,), (2, 3)])
def test_choices_by_the_definition(shape):
    logits = jr.normal(jr.key(0), (2, *shape))
    q = dist.Categorical(logits=logits[0]).to_event(len(shape) - 1)
    p = dist.Categorical(probs=jax.nn.softmax(logits[1])).to_event(len(shape) - 1)
    first, second = np.asarray(jax.nn.softmax(logits))
    np.testing.assert_allclose(closed_form_divergence(q, p), np.sum(first * np.log(first / second)), rtol=ALGEBRA)


def test_an_excluded_choice_adds_nothing():
    q = dist.Categorical(probs=jnp.array([0.0, 1.0]))
    p = dist.Categorical(probs=jnp.array([0.5, 0.5]))
    np.testing.assert_allclose(closed_form_divergence(q, p), np.log(2.0), rtol=ALGEBRA)
    assert float(closed_form_divergence(p, q)) == np.inf


@pytest.mark.parametrize(("q", "p"), [(diagonal(1), full(2)), (full(2), diagonal(1))])
def test_mixed_gaussians_by_monte_carlo(q, p, key):
    samples = eqx.filter_jit(jax.vmap(q.sample))(jr.split(key, 20_000))
    ratios = eqx.filter_jit(jax.vmap(lambda z: q.log_prob(z) - p.log_prob(z)))(samples)
    assert_zero_mean(ratios - closed_form_divergence(q, p), MONTE_CARLO_STANDARD_ERRORS, "KL divergence")


def test_none_where_no_closed_form_is_known():
    uniform = dist.Uniform(-jnp.ones(3), jnp.ones(3)).to_event(1)
    assert closed_form_divergence(uniform, diagonal(1)) is None


def test_what_counts_as_a_gaussian():
    assert is_gaussian(diagonal(1))
    assert is_gaussian(full(1))
    assert not is_gaussian(dist.Normal(jnp.zeros(3), 1.0))  # Three Gaussians, not one vector.
    assert not is_gaussian(dist.Normal(jnp.zeros((2, 3)), 1.0).to_event(1))
    with pytest.raises(BadInputError, match="Expected a Gaussian over one vector, got Uniform"):
        gaussian_moments(dist.Uniform())
