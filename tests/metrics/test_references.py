"""Scores without latents by hand and by library, weights, turns, and outputs of a filter on a linear model."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.stats import norm

from homeostat.core import AbstractLearner
from homeostat.inference import SequenceBatch, filter
from homeostat.inference.filters import Kalman
from homeostat.metrics import (
    count_weights,
    independent_bernoulli_nats,
    independent_discretized_nats,
    independent_gaussian_nats,
    predictions_and_updates,
    take_turns,
    update_seconds,
    word_frequencies,
)
from homeostat.models.sequential import LinearDynamics, LinearGaussian, speech_density, video_density
from homeostat.nn import MLP
from tolerances import MONTE_CARLO_STANDARD_ERRORS


def test_independent_entries_score_what_they_should():
    train, test = np.array([[1, 0], [1, 0], [0, 0]]), np.array([[1, 0], [0, 0], [1, 0]])
    frequency = np.array([3.0, 1.0]) / 5.0
    expected = -np.mean(np.sum(np.log(np.where(test, frequency, 1.0 - frequency)), axis=1))
    assert independent_bernoulli_nats(train, test) == pytest.approx(expected)
    np.testing.assert_allclose(word_frequencies(train.astype(float)), [0.75, 0.25])
    rows = np.random.default_rng(0).standard_normal((50, 3))
    scale = np.sqrt(rows.var(axis=0) + 1e-5)
    expected = -norm(rows.mean(axis=0), scale).logpdf(rows[:7]).sum(axis=1).mean()
    assert independent_gaussian_nats(rows, rows[:7]) == pytest.approx(expected)


def test_discretised_entries_score_their_entropy():
    values = np.round(np.random.default_rng(1).standard_normal((400, 3)) / 0.01) * 0.01
    entropy = 1.5 * np.log(2.0 * np.pi * np.e * values.var(axis=0).mean()) - 3.0 * np.log(0.01)
    assert independent_discretized_nats(speech_density(3, 0.01), values, values) == pytest.approx(entropy, abs=0.05)
    grey = np.random.default_rng(2).integers(0, 256, (20, 16, 16)) / 256.0
    assert 0.0 < independent_discretized_nats(video_density(16, 16), grey, grey) / 256.0 < np.log(256.0) + 1.0


def test_weights_are_counted_without_being_made(key):
    assert count_weights(lambda: MLP(3, 2, 5, 1, key=key)) == 5 * (3 + 1) + 2 * (5 + 1)


def test_turns_are_taken_in_order():
    calls, advanced = [], []
    functions = [lambda name=name: calls.append(name) for name in "ab"]
    seconds = take_turns(functions, 2, lambda: advanced.append(1))
    assert seconds.shape == (2, 2) and np.all(seconds >= 0.0)
    assert calls == list("ababab") and len(advanced) == 6


class Counting(AbstractLearner):
    """Adds the batch to its state."""

    def init(self, *, key):
        return jnp.zeros(())

    def update(self, state, batch, *, key):
        return state + jnp.sum(batch), state


def test_updates_of_every_learner_are_timed(key):
    seconds = update_seconds([Counting, Counting], jnp.ones(3), key=key, updates=2, repeats=2)
    assert seconds.shape == (2,) and np.all(seconds > 0.0)


def test_outputs_before_and_after_updates_are_those_of_the_exact_filter(key):
    """x = z + noise: the means are those of the beliefs, the variances have the emission's added."""
    one = jnp.ones((1, 1))
    model = LinearGaussian(jnp.zeros(1), one, LinearDynamics(0.8 * one, None, 0.5 * one), one, 0.3 * one)
    values = jr.normal(jr.key(1), (1, 4, 1))
    draws = 4_000
    found = predictions_and_updates(
        Kalman(), model, SequenceBatch(values, mask=jnp.ones((1, 4), bool)), key=key, num_samples=draws
    )
    exact = filter(Kalman(), model, values[0], key=key)
    for mean, scale, beliefs in (
        (found.predicted, found.predicted_scale, exact.predictions),
        (found.updated, found.updated_scale, exact.beliefs),
    ):
        spread = jnp.abs(beliefs.scale_tril[1:, :, 0])
        assert jnp.all(jnp.abs(mean - beliefs.loc[1:]) < MONTE_CARLO_STANDARD_ERRORS * spread / draws**0.5)
        np.testing.assert_allclose(scale**2, spread**2 + 0.09, rtol=0.15)
    np.testing.assert_allclose(found.mean, exact.beliefs.loc)
