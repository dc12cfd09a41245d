"""Rules of fixed points integrate the polynomials that they promise."""

import jax.numpy as jnp
import numpyro.distributions as dist
import pytest

from homeostat.distributions import GaussHermite, SigmaPoints
from homeostat.results import BadInputError
from tolerances import ALGEBRA

FACTOR = jnp.array([[1.5, 0.0], [-0.4, 0.7]])
GAUSSIAN = dist.MultivariateNormal(jnp.array([1.0, -2.0]), scale_tril=FACTOR)


@pytest.mark.parametrize("rule", [SigmaPoints(), SigmaPoints(0.0), SigmaPoints(3.5), GaussHermite(2), GaussHermite(5)])
def test_mean_and_covariance_are_exact_and_odd_moments_vanish(rule, key):
    values, weights = rule.points(GAUSSIAN, key=key)
    centred = values - GAUSSIAN.loc[None, :]
    assert jnp.all(weights >= 0.0)
    assert jnp.abs(jnp.sum(weights) - 1.0) < ALGEBRA
    assert jnp.abs(weights @ centred).max() < ALGEBRA
    assert jnp.abs(centred.T @ (weights[:, None] * centred) - FACTOR @ FACTOR.T).max() < ALGEBRA
    assert jnp.abs(weights @ (centred[:, 0] ** 2 * centred[:, 1])) < ALGEBRA


def test_fourth_moments_are_those_of_the_rule(key):
    """E[e^4] = 3; E[e_1^2 e_2^2] = 1 by the grid; sigma points lie on the axes, so they give 0."""
    unit = dist.MultivariateNormal(jnp.zeros(2), scale_tril=jnp.eye(2))
    values, weights = SigmaPoints().points(unit, key=key)
    assert jnp.abs(weights @ values**4 - 3.0).max() < ALGEBRA
    assert jnp.abs(weights @ (values[:, 0] ** 2 * values[:, 1] ** 2)) < ALGEBRA
    values, weights = GaussHermite(3).points(unit, key=key)
    assert values.shape == (9, 2)
    assert jnp.abs(weights @ values**4 - 3.0).max() < ALGEBRA
    assert jnp.abs(weights @ (values[:, 0] ** 2 * values[:, 1] ** 2) - 1.0) < ALGEBRA


def test_a_large_grid_is_refused(key):
    with pytest.raises(BadInputError, match="at most 8 points"):
        GaussHermite(3, maximum_size=8).points(GAUSSIAN, key=key)
