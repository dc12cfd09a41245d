"""Free energies of whole sequences against a dense Gaussian, and ratio errors by hand."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from homeostat.inference import SequenceBatch
from homeostat.inference.filters import Kalman
from homeostat.metrics import SequenceEvaluation, evaluate_sequences, lead
from homeostat.models.sequential import LinearDynamics, LinearGaussian
from homeostat.results import BadInputError
from tolerances import ALGEBRA

VALUES = np.array([[0.3, -1.0, 2.0, 0.5], [1.5, np.nan, 0.2, 9.0]])[..., None]
LENGTHS = np.array([4, 3])


@pytest.fixture(scope="module")
def walk():
    """z_1 ~ N(0, 1), z' = 0.8 z + 0.5 e, x = z + 0.3 e."""
    one = jnp.ones((1, 1))
    return LinearGaussian(jnp.zeros(1), one, LinearDynamics(0.8 * one, None, 0.5 * one), one, 0.3 * one)


def dense_nats(values):
    """-log p of the observed entries of one sequence, from the covariance of all of them."""
    num = len(values)
    states = np.eye(num)
    for t in range(1, num):
        states[t, :t] = states[:t, t] = 0.8 * states[t - 1, :t]
        states[t, t] = 0.64 * states[t - 1, t - 1] + 0.25
    seen = ~np.isnan(values)
    return -multivariate_normal(np.zeros(seen.sum()), (states + 0.09 * np.eye(num))[np.ix_(seen, seen)]).logpdf(
        values[seen]
    )


def test_energies_of_ragged_sequences_are_those_of_a_dense_gaussian(walk, key):
    batch = SequenceBatch(jnp.asarray(VALUES), lengths=jnp.asarray(LENGTHS))
    found = evaluate_sequences(Kalman(), walk, batch, key=key)
    expected = [dense_nats(row[:length, 0]) for row, length in zip(VALUES, LENGTHS, strict=True)]
    np.testing.assert_allclose(found.free_energy_nats, expected, atol=ALGEBRA)
    np.testing.assert_array_equal(found.num_steps, [4, 2])
    np.testing.assert_array_equal(found.num_observed, [4, 2])
    means = found.means()
    np.testing.assert_allclose(means.elbo_nats.value, -np.mean(expected), atol=ALGEBRA)
    np.testing.assert_allclose(means.free_energy_per_step_nats.value, np.sum(expected) / 6.0, atol=ALGEBRA)
    np.testing.assert_allclose(means.bits_per_dimension.value, np.sum(expected) / 6.0 / np.log(2.0), atol=ALGEBRA)
    assert means.failed == 0.0


def test_a_mask_hides_what_it_says(walk, key):
    mask = jnp.asarray([[True, False, True, True], [True, True, True, False]])
    batch = SequenceBatch(jnp.asarray(VALUES), mask=mask)
    found = evaluate_sequences(Kalman(), walk, batch, key=key, batch_size=1)
    hidden = np.where(mask, VALUES[..., 0], np.nan)
    np.testing.assert_allclose(found.free_energy_nats, [dense_nats(row) for row in hidden], atol=ALGEBRA)
    np.testing.assert_array_equal(found.num_steps, [3, 2])


def test_leads_are_paired_and_weighted_by_length():
    steps = jnp.asarray([10, 30])
    first = SequenceEvaluation(jnp.asarray([5.0, 60.0]), steps, steps)
    second = SequenceEvaluation(jnp.asarray([15.0, 120.0]), steps, steps)
    found = lead(first, second)
    np.testing.assert_allclose(found.value, 70.0 / 40.0, atol=ALGEBRA)
    # Residuals 10 - 17.5 and 60 - 52.5.
    np.testing.assert_allclose(found.stderr, np.sqrt(2.0 * 2.0 * 7.5**2) / 40.0, atol=ALGEBRA)
    assert np.isnan(SequenceEvaluation(jnp.ones(1), jnp.ones(1, int), jnp.ones(1, int)).per_step().stderr)


def test_a_model_for_each_sequence_is_refused(walk, key):
    with pytest.raises(BadInputError, match="one by one"):
        evaluate_sequences(Kalman(), walk, SequenceBatch(jnp.asarray(VALUES), models=walk), key=key)
