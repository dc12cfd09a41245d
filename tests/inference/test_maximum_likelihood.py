"""The maximum of the likelihood: the evidence is the filter's, the maximum is one, and lies above what EM reaches."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy

from homeostat.inference import Parts, expectation_maximization, filter, maximum_likelihood
from homeostat.inference.filters import Kalman, log_evidence
from homeostat.models.sequential import (
    ContinuousParameters,
    LinearDynamics,
    LinearGaussian,
    LinearGaussianParameters,
    Structural,
    TimedAction,
    Trend,
)
from homeostat.results import BadInputError
from tolerances import ALGEBRA, FINITE_DIFFERENCES

TIME, LENGTHS = 30, jnp.array([30, 17])


def _linear() -> LinearGaussian:
    dynamics = LinearDynamics(jnp.array([[0.8, 0.3], [-0.2, 0.7]]), jnp.array([[0.5], [-0.3]]), 0.4 * jnp.eye(2))
    noise = jnp.array([[0.5, 0.0], [0.2, 0.4]])
    return LinearGaussian(jnp.ones(2), jnp.eye(2), dynamics, jnp.array([[1.0, 0.0], [0.5, 1.0]]), noise, jnp.ones(2))


@pytest.fixture(scope="module")
def data() -> tuple[jax.Array, jax.Array]:
    actions = jr.normal(jr.key(1), (2, TIME - 1, 1))
    sample = eqx.filter_jit(jax.vmap(lambda u, k: _linear().sample(u, key=k).observations))
    holes = jr.bernoulli(jr.key(3), 0.2, (2, TIME, 2))
    return jnp.where(holes, jnp.nan, sample(actions, jr.split(jr.key(2), 2))), actions


def test_the_evidence_is_that_of_the_filter(data):
    observations, actions = data
    expected = filter(Kalman(), _linear(), observations[0], actions[0], key=jr.key(0)).free_energy_nats
    assert jnp.abs(eqx.filter_jit(log_evidence)(_linear(), observations[0], actions[0]) + expected) < ALGEBRA


def test_it_ends_above_expectation_maximisation(data):
    observations, actions = data
    start = eqx.tree_at(lambda model: model.dynamics.matrix, _linear(), 0.5 * jnp.eye(2))
    parts = Parts(emission_matrix=True, emission_offset=True, emission_noise=True)
    learned = expectation_maximization(start, observations, actions, lengths=LENGTHS, parts=parts, num_steps=50)
    seen = []
    best = maximum_likelihood(
        LinearGaussianParameters.of(learned.model, start_is_learned=False),
        observations,
        actions,
        lengths=LENGTHS,
        num_steps=40,
        callback=lambda step, nats: seen.append((step, nats)),
    )
    path = best.log_evidence_nats
    assert [nats for _, nats in seen] == path[1:].tolist()
    assert jnp.abs(path[0] - learned.log_evidence_nats[-1]) < ALGEBRA * jnp.abs(path[0])
    assert path[-1] > path[0] + 0.1


def test_a_continuous_model_of_equal_steps_is_a_discrete_one_and_starts_where_it_stays():
    parameters = ContinuousParameters.start(3, 2, key=jr.key(0))
    model = parameters.model()
    step = model.dynamics.discretise(0.7)
    discrete = eqx.tree_at(lambda model: model.dynamics, model, step, is_leaf=lambda leaf: leaf is model.dynamics)
    values = jr.normal(jr.key(1), (8, 2))
    timed = eqx.filter_jit(log_evidence)(model, values, TimedAction(jnp.full(7, 0.7)))
    assert jnp.abs(timed - eqx.filter_jit(log_evidence)(discrete, values)) < ALGEBRA
    covariance = step.matrix @ step.matrix.T + step.scale_tril @ step.scale_tril.T
    assert jnp.abs(covariance - jnp.eye(3)).max() < ALGEBRA


def test_steps_of_different_durations_are_learned_from():
    """An Ornstein-Uhlenbeck process seen without noise is a regression of each value on the one before it."""
    times = np.cumsum(1.0 + 0.5 * np.sin(np.arange(200.0)))
    draws, values = np.random.default_rng(0).normal(size=200), np.zeros(200)
    for t in range(1, 200):
        kept = np.exp(-0.3 * (times[t] - times[t - 1]))
        values[t] = kept * values[t - 1] + np.sqrt(1.0 - kept**2) * draws[t]
    actions = TimedAction(jnp.diff(jnp.asarray(times))[None])
    found = maximum_likelihood(ContinuousParameters.start(1, 1, key=jr.key(0)), values[None, :, None], actions)
    rate, gain, level = (
        float(jnp.squeeze(leaf))
        for leaf in (
            0.5 * jnp.exp(2.0 * found.parameters.log_diffusion),
            found.parameters.emission_matrix,
            found.parameters.emission_offset,
        )
    )

    def energy(vector):
        kept = np.exp(-np.exp(vector[0]) * np.diff(times))
        scales = np.exp(vector[1]) * np.sqrt(np.concatenate([[1.0], 1.0 - kept**2]))
        centred = values - vector[2]
        residuals = np.concatenate([centred[:1], centred[1:] - kept * centred[:-1]]) / scales
        return 0.5 * residuals @ residuals + np.log(scales).sum()

    assert found.converged
    peak = scipy.optimize.minimize(energy, [0.0, 0.0, 0.0], method="BFGS").x
    assert np.abs(np.array([np.log(rate), np.log(abs(gain)), level]) - peak).max() < FINITE_DIFFERENCES


def test_bad_input_is_refused():
    start = Structural((Trend(jnp.zeros(())),), jnp.zeros(()))
    with pytest.raises(BadInputError, match="observed numbers"):
        maximum_likelihood(start, np.full((1, 5, 1), np.nan))
    model = _linear()
    singular = eqx.tree_at(lambda model: model.dynamics.scale_tril, model, jnp.zeros((2, 2)))
    with pytest.raises(BadInputError, match="noise in each coordinate"):
        LinearGaussianParameters.of(singular, start_is_learned=False)
    with pytest.raises(BadInputError, match="dim, size >= 1"):
        ContinuousParameters.start(0, 1, key=jr.key(0))
