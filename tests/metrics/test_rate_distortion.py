"""Rate and distortion: standard errors, the convex frontier and the bounds, on numbers worked out by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from homeostat.metrics import information_bounds, rate_distortion
from homeostat.results import BadInputError
from tolerances import ALGEBRA

# Rates rise from left to right; (4, 6) lies above the line from (2, 7) to (6, 4), (8, 5) is worse than (6, 4) in both.
RATES = np.asarray([0.0, 2.0, 4.0, 6.0, 8.0])
DISTORTIONS = np.asarray([12.0, 7.0, 6.0, 4.0, 5.0])
BETAS = np.asarray([16.0, 2.0, 1.0, 0.5, 0.25])


def spread(values):
    """Two rows about each value, one nat apart from it."""
    return jnp.asarray(values[:, None] + np.asarray([-1.0, 1.0]))


def test_points_and_errors():
    order = np.asarray([3, 0, 4, 1, 2])
    points = rate_distortion(jnp.asarray(BETAS[order]), spread(RATES[order]), spread(-DISTORTIONS[order]) * -1.0)
    np.testing.assert_allclose(points.rate_nats, RATES, atol=ALGEBRA)
    np.testing.assert_allclose(points.distortion_nats, DISTORTIONS, atol=ALGEBRA)
    np.testing.assert_allclose(points.betas, BETAS, atol=ALGEBRA)
    np.testing.assert_allclose(points.elbo_nats, [-12.0, -9.0, -10.0, -10.0, -13.0], atol=ALGEBRA)
    assert points.best == 1
    # Standard deviation sqrt(2) over two rows; in the bound, rate and distortion vary against each other and cancel.
    np.testing.assert_allclose(points.rate_stderr_nats, 1.0, atol=ALGEBRA)
    np.testing.assert_allclose(points.distortion_stderr_nats, 1.0, atol=ALGEBRA)
    np.testing.assert_allclose(points.elbo_stderr_nats, 0.0, atol=ALGEBRA)


def test_frontier_is_the_falling_convex_hull():
    points = rate_distortion(jnp.asarray(BETAS), spread(RATES), spread(DISTORTIONS))
    assert points.frontier.tolist() == [0, 1, 3]
    np.testing.assert_allclose(points.slopes, [-2.5, -0.75], atol=ALGEBRA)
    assert points.monotone.tolist() == [True, True, True, True, False]
    np.testing.assert_allclose(points.distortion_at(np.asarray([1.0, 4.0, 20.0])), [9.5, 5.5, 4.0], atol=ALGEBRA)
    assert points.distortion_at(np.asarray([-1.0]))[0] == np.inf


def test_frontier_of_random_points_supports_them_all():
    rng = np.random.default_rng(0)
    for _ in range(50):
        rates, distortions = rng.integers(0, 8, (2, 12)).astype(float)
        points = rate_distortion(jnp.ones(12), spread(rates), spread(distortions))
        vertices = points.frontier
        assert np.all(np.diff(points.rate_nats[vertices]) > 0) and np.all(np.diff(points.slopes) > 0)
        assert np.all(points.slopes < 0)
        inside = points.rate_nats >= points.rate_nats[vertices[0]]
        assert inside.all()
        assert np.all(points.distortion_nats >= points.distortion_at(points.rate_nats) - ALGEBRA)
        # For every weight of the rate, some vertex is best.
        for beta in (0.1, 1.0, 3.0):
            energy = points.distortion_nats + beta * points.rate_nats
            np.testing.assert_allclose(energy[vertices].min(), energy.min(), atol=ALGEBRA)
        assert np.all(points.monotone[vertices])


def test_information_lies_between_its_bounds():
    points = rate_distortion(jnp.asarray(BETAS), spread(RATES), spread(DISTORTIONS))
    found = information_bounds(points, entropy_nats=7.5)
    np.testing.assert_allclose(found.low, [0.0, 0.5, 1.5, 3.5, 2.5], atol=ALGEBRA)
    np.testing.assert_allclose(found.high, RATES, atol=ALGEBRA)


def test_bad_input_is_refused():
    with pytest.raises(BadInputError, match="one beta for each model"):
        rate_distortion(jnp.ones(2), spread(RATES), spread(DISTORTIONS))
    with pytest.raises(BadInputError, match="at least two rows"):
        rate_distortion(jnp.ones(1), jnp.ones((1, 1)), jnp.ones((1, 1)))
    with pytest.raises(BadInputError, match="finite"):
        rate_distortion(jnp.ones(1), jnp.full((1, 2), jnp.nan), jnp.ones((1, 2)))
