"""Fisher information against the covariance of the score, by Monte Carlo and by hand."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import pytest

from homeostat.distributions import fisher_information
from homeostat.testing import assert_zero_mean
from tolerances import ALGEBRA, MONTE_CARLO_STANDARD_ERRORS

VALUE = jnp.array([0.4, -0.3])
WEIGHTS = jnp.array([[1.0, 0.5], [-0.3, 0.8], [0.2, 0.1]])

CONDITIONALS = {
    "location": lambda z: dist.Normal(jnp.tanh(WEIGHTS @ z), 0.7).to_event(1),
    "scale": lambda z: dist.Normal(jnp.zeros(3), jnp.exp(0.5 * WEIGHTS @ z)).to_event(1),
    "both": lambda z: dist.Normal(WEIGHTS @ z, 0.5 + (WEIGHTS @ z) ** 2).to_event(1),
    "logits": lambda z: dist.Bernoulli(logits=WEIGHTS @ z**2).to_event(1),
    "image": lambda z: dist.Normal(jnp.outer(WEIGHTS @ z, jnp.ones(2)), 0.7).to_event(2),
}


@pytest.mark.parametrize("name", CONDITIONALS)
def test_is_the_covariance_of_the_score(name, key):
    conditional = CONDITIONALS[name]

    def square(k):
        sample = conditional(VALUE).sample(k)
        score = jax.grad(lambda z: conditional(z).log_prob(sample))(VALUE)
        return jnp.outer(score, score)

    squares = jax.jit(jax.vmap(square))(jr.split(key, 20_000))
    information = fisher_information(conditional, VALUE)
    assert_zero_mean(squares - information[None, :, :], MONTE_CARLO_STANDARD_ERRORS, "Fisher information")
    assert float(jnp.linalg.eigvalsh(information)[0]) >= -ALGEBRA


def test_of_a_linear_gaussian_is_gauss_newton():
    information = fisher_information(lambda z: dist.Normal(WEIGHTS @ z, 0.5).to_event(1), VALUE)
    np.testing.assert_allclose(information, 4.0 * WEIGHTS.T @ WEIGHTS, rtol=ALGEBRA)


def test_is_none_where_the_form_is_unknown():
    assert fisher_information(lambda z: dist.Gamma(jnp.exp(z), 1.0).to_event(1), VALUE) is None
