"""Gaps, first passages and standard errors against closed forms."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import tolerances
from homeostat.metrics import amortization_gap, bootstrap, proportion, share_closed, steps_to
from homeostat.results import BadInputError


def test_bootstrap_of_a_mean_has_its_standard_error(key):
    data = jr.normal(jr.key(1), (400,))
    found = bootstrap(jnp.mean, data, key=key, num_resamples=2_000)
    np.testing.assert_allclose(found.value, np.mean(data), atol=tolerances.ALGEBRA)
    expected = np.std(data) / np.sqrt(400)
    # A standard deviation from n resamples has a relative error of 1 / sqrt(2 n).
    assert abs(found.stderr / expected - 1) < tolerances.MONTE_CARLO_STANDARD_ERRORS / np.sqrt(2 * 2_000)


def test_bootstrap_resamples_rows_together(key):
    data = jr.normal(jr.key(1), (50,))
    found = bootstrap(lambda pair: jnp.mean(pair[0] - pair[1]), (data, data - 2.0), key=key)
    np.testing.assert_allclose([found.value, found.stderr], [2.0, 0.0], atol=tolerances.ALGEBRA)
    with pytest.raises(BadInputError, match="common, positive number of rows"):
        bootstrap(jnp.mean, (data, data[:3]), key=key)


def test_proportion_has_the_binomial_error():
    found = proportion(jnp.arange(1000) < 950)
    np.testing.assert_allclose(found.value, 0.95, atol=tolerances.ALGEBRA)
    np.testing.assert_allclose(found.stderr, np.sqrt(0.95 * 0.05 / 1000), rtol=0.01)
    assert float(proportion(jnp.ones(20, bool)).stderr) > 0.0
    with pytest.raises(BadInputError, match="at least one trial"):
        proportion(jnp.zeros(0, bool))


def test_gap_and_its_share_closed(key):
    optimum = jr.normal(jr.key(2), (30,))
    slow, fast = optimum + jnp.linspace(1.0, 3.0, 30), optimum + jnp.linspace(0.1, 0.3, 30)
    gaps = [amortization_gap(energy, optimum, key=key) for energy in (slow, fast)]
    np.testing.assert_allclose(gaps[0].mean_nats.value, 2.0, atol=tolerances.ALGEBRA)
    np.testing.assert_allclose(gaps[0].median_nats.value, 2.0, atol=tolerances.ALGEBRA)
    np.testing.assert_allclose(
        gaps[0].mean_nats.stderr, np.std(np.linspace(1, 3, 30), ddof=1) / np.sqrt(30), atol=tolerances.ALGEBRA
    )
    closed = share_closed(gaps[0].nats, gaps[1].nats, key=key)
    np.testing.assert_allclose([closed.value, closed.stderr], [0.9, 0.0], atol=tolerances.ALGEBRA)
    with pytest.raises(BadInputError, match="one optimum for each energy"):
        amortization_gap(slow, optimum[:3], key=key)


def test_first_passage_counts_steps_and_caps_what_never_arrives():
    paths = jnp.asarray([[9.0, 5.0, 2.0, 3.0], [9.0, 8.0, 8.0, 8.0], [0.0, 1.0, 1.0, 1.0]])
    found = steps_to(paths, jnp.asarray([3.0, 3.0, 3.0]))
    assert found.steps.tolist() == [2.0, 4.0, 0.0]
    assert found.reached.tolist() == [True, False, True]
