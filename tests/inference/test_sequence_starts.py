"""Starts of switching dynamics and of dynamics behind counts, on sequences of systems that are known."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from homeostat.inference import Parts, SequenceBatch, expectation_maximization, filter, start_counts, start_switching
from homeostat.inference.filters import InteractingModels, Kalman
from homeostat.models.sequential import (
    GeneralizedLinear,
    LinearDynamics,
    LinearGaussian,
    SwitchingLinear,
    TransitionMatrix,
)
from homeostat.models.static import PoissonCounts
from homeostat.results import BadInputError

SEQUENCES, TIME = 4, 250


def turn(angle, radius=0.97):
    return radius * jnp.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def draw(model, key):
    """Sequences of states and observations."""

    def one(key):
        first_key, key = jr.split(key)

        def step(state, key):
            move_key, see_key = jr.split(key)
            return model.transition(state).sample(move_key), (state, model.emission(state).sample(see_key))

        return jax.lax.scan(step, model.initial().sample(first_key), jr.split(key, TIME))[1]

    return eqx.filter_jit(jax.vmap(one))(jr.split(key, SEQUENCES))


@eqx.filter_jit
def filtered(method, model, values):
    return jax.vmap(lambda x: filter(method, model, x, key=jr.key(0), throw=False))(values)


def linear(values, dim, key):
    size = values.shape[2]
    dynamics, loadings = LinearDynamics(0.9 * jnp.eye(dim), None, 0.5 * jnp.eye(dim)), jr.normal(key, (size, dim))
    start = LinearGaussian(jnp.zeros(dim), jnp.eye(dim), dynamics, loadings, jnp.eye(size))
    parts = Parts(initial=True, emission_matrix=True, emission_offset=True, emission_noise=True)
    return expectation_maximization(start, values, parts=parts, num_steps=40).model


def test_regimes_are_those_that_made_the_sequences(key):
    """Slow and fast rotations behind three outputs: nats of a step and regimes of new sequences, as the truth would have them."""
    keys = jr.split(key, 4)
    loadings, noise = jnp.array([[1.0, 0.0], [0.5, 1.0], [-0.6, 0.8]]), 0.2 * jnp.eye(3)
    regimes = tuple(
        LinearGaussian(jnp.zeros(2), jnp.eye(2), LinearDynamics(turn(angle), None, 0.3 * jnp.eye(2)), loadings, noise)
        for angle in (0.15, 0.7)
    )
    chain = TransitionMatrix.from_probabilities(jnp.array([[0.97, 0.03], [0.03, 0.97]]))
    truth = SwitchingLinear(jnp.zeros(2), chain, regimes)
    values, (states, later) = draw(truth, keys[0])[1], draw(truth, keys[1])
    found = linear(values, 2, keys[2])
    start = start_switching(found, SequenceBatch(values), 2, key=keys[3], num_starts=3)

    def share(model):
        """Steps at which the more probable regime is the true one, whatever it is called."""
        guesses = filtered(InteractingModels(), model, later).beliefs.log_probabilities.argmax(axis=-1)
        right = float(jnp.mean(guesses == states[..., 0]))
        return max(right, 1.0 - right)

    def nats(method, model):
        return float(filtered(method, model, later).info.free_energy_nats.mean())

    assert share(start) > share(truth) - 0.03
    best, one = nats(InteractingModels(), truth), nats(Kalman(), found)
    assert one - best > 0.3, "one linear model explains the sequences badly"
    assert nats(InteractingModels(), start) < best + 0.15 * (one - best)
    with pytest.raises(BadInputError, match="stretches"):
        start_switching(found, SequenceBatch(values[:1, :30]), 2, key=key)


def test_dynamics_behind_counts_are_found(key):
    keys = jr.split(key, 3)
    loadings, dynamics = jr.normal(keys[0], (6, 2)), LinearDynamics(turn(0.3), None, 0.2 * jnp.eye(2))
    truth = GeneralizedLinear(jnp.zeros(2), jnp.eye(2), dynamics, loadings, PoissonCounts((6,), 0.5 * jnp.ones(6)))
    counts = draw(truth, keys[1])[1]
    level = jnp.log(counts.mean(axis=(0, 1)))
    start = start_counts(PoissonCounts((6,), level), SequenceBatch(counts), 2, key=keys[2])
    found = np.linalg.eigvals(np.asarray(start.dynamics.matrix))
    np.testing.assert_allclose(np.abs(np.angle(found)), 0.3, atol=0.08)
    np.testing.assert_allclose(np.abs(found), 0.97, atol=0.03)
    # The loadings are those of the truth up to a change of the coordinates of the state.
    residual = np.linalg.lstsq(np.asarray(start.emission_matrix), np.asarray(loadings), rcond=None)[1]
    assert residual.sum() < 0.05 * float(jnp.sum(loadings**2))
