"""Regressions of uncertain steps, against weighted least squares in NumPy."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from homeostat.models.sequential import ConjugatePrior, RegressionEmissions
from tolerances import ALGEBRA

COUNT, WIDTH, DIM, STATES = 12, 5, 2, 3


def steps(key):
    """Roots of E[(v, z') (v, z')^T]: a mean and some spread."""
    mean_key, root_key = jr.split(key)
    means, spreads = jr.normal(mean_key, (COUNT, WIDTH, 1)), 0.3 * jr.normal(root_key, (COUNT, WIDTH, 4))
    return jnp.concatenate([means, spreads], axis=2)


def test_the_most_probable_regression_is_weighted_least_squares(key):
    root_key, weight_key = jr.split(key)
    roots, weights = steps(root_key), jr.uniform(weight_key, (COUNT, STATES))
    start = RegressionEmissions(jnp.broadcast_to(jnp.eye(WIDTH), (STATES, WIDTH, WIDTH)), DIM)
    centre = eqx.filter_jit(lambda model: model.centre(roots))(start)
    prior = ConjugatePrior(centre, 2.0)
    found = eqx.filter_jit(lambda model: model.maximise(roots, weights, prior))(start)
    moments = np.einsum("nij,nkj->nik", roots, roots)
    for state in range(STATES):
        total = np.einsum("n,nij->ij", weights[:, state], moments) + 2.0 * moments.mean(axis=0)
        number, split = weights[:, state].sum() + 2.0, WIDTH - DIM
        matrix = np.linalg.solve(total[:split, :split], total[:split, split:]).T
        noise = (total[split:, split:] - matrix @ total[:split, split:]) / number
        np.testing.assert_allclose(found.coefficients[state], matrix, rtol=ALGEBRA, atol=ALGEBRA)
        np.testing.assert_allclose(found.scale_trils[state] @ found.scale_trils[state].T, noise, rtol=ALGEBRA)
    # The log density of the centre's moments is that of the mean of all.
    residual = np.concatenate([-np.asarray(found.coefficients[0]), np.eye(DIM)], axis=1)
    spread = residual @ moments.mean(axis=0) @ residual.T
    covariance = np.asarray(found.scale_trils[0] @ found.scale_trils[0].T)
    expected = -0.5 * np.trace(np.linalg.solve(covariance, spread)) - 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]
    np.testing.assert_allclose(found(jnp.asarray(0)).log_prob(centre.root[0]), expected, rtol=ALGEBRA)
    np.testing.assert_allclose(centre.divergence(centre), 0.0, atol=ALGEBRA)
    assert found.divergence(centre) > 0.0
