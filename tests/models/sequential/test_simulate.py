"""Imagined futures against the moments of linear-Gaussian models, with and without a memory."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from homeostat.core import PlanningContext, Snapshot
from homeostat.inference.filters import History, Particle, ParticleBelief
from homeostat.models.sequential import first_snapshot, imagine, observed
from homeostat.objectives import PathEnergy
from problems import remembering
from sequential_catalogue import linear_gaussian
from tolerances import MONTE_CARLO_STANDARD_ERRORS

NUMBER = 4_000
ACTIONS = jnp.array([[0.5], [-1.0], [2.0]])
NOW = Snapshot(jnp.array([1.0, -0.5]), jnp.array([0.3, 0.2, -0.4]), jnp.array([0.7, 0.1]))


def remembered_moments(model, actions):
    """Mean and covariance of z_{t+1}, z_{t+2}, ... from NOW, with the observations on the way integrated out."""
    a, b, e, g = model.keep, model.from_state, model.from_observation, model.from_action
    f, c, d = model.predict, model.observe, model.read
    spread, noise = jnp.diag(model.state_scale**2), jnp.diag(model.noise**2)
    mean = a @ NOW.carry + b @ NOW.state + e @ NOW.observation + g @ actions[0]
    cov = jnp.zeros((3, 3))
    moments = []
    for action in [*actions[1:], jnp.zeros(1)]:
        moments.append((np.asarray(f @ mean), np.asarray(f @ cov @ f.T + spread)))
        moved = a + b @ f + e @ (c @ f + d)
        mean = moved @ mean + g @ action
        drawn = b + e @ c
        cov = moved @ cov @ moved.T + drawn @ spread @ drawn.T + e @ noise @ e.T
    return moments


def assert_moments(samples, mean, covariance):
    samples = np.asarray(samples)
    error = np.sqrt(np.diag(covariance) / len(samples))
    assert np.all(np.abs(samples.mean(0) - mean) < MONTE_CARLO_STANDARD_ERRORS * error)
    # The variance of a product of two Gaussians is at most twice the product of their variances.
    bound = np.sqrt(2.0 * np.outer(np.diag(covariance), np.diag(covariance)) / len(samples))
    assert np.all(np.abs(np.cov(samples.T) - covariance) < MONTE_CARLO_STANDARD_ERRORS * bound)


def test_a_model_with_a_memory_goes_on(key):
    model = remembering()
    futures = jax.jit(jax.vmap(lambda k: imagine(model, NOW, ACTIONS, key=k)))(jr.split(key, NUMBER))
    assert futures.observation.shape == (NUMBER, 3, 2), "the carry reads what was observed"
    for t, (mean, covariance) in enumerate(remembered_moments(model, ACTIONS)):
        assert_moments(futures.state[:, t], mean, covariance)


def test_a_markov_model_needs_its_state_alone(key):
    model = linear_gaussian()
    start = Snapshot(jnp.array([1.0, -1.0]))
    futures = jax.jit(jax.vmap(lambda k: imagine(model, start, ACTIONS, key=k)))(jr.split(key, NUMBER))
    assert futures.carry is None and futures.observation is None
    mean, cov = start.state, jnp.zeros((2, 2))
    for t, action in enumerate(ACTIONS):
        moved = model.transition(mean, action)
        matrix = model.dynamics.matrix
        mean, cov = moved.mean, matrix @ cov @ matrix.T + moved.covariance_matrix
        assert_moments(futures.state[:, t], np.asarray(mean), np.asarray(cov))
    first = jax.jit(jax.vmap(lambda k: observed(model, first_snapshot(model, key=k), key=k)))(jr.split(key, NUMBER))
    initial = model.initial()
    assert_moments(first.state, np.asarray(initial.mean), np.asarray(initial.covariance_matrix))


def test_paths_of_a_model_with_a_memory_cost_what_its_moments_say(key):
    model = remembering()
    history = History(NOW.carry[None], NOW.observation[None])
    belief = ParticleBelief(NOW.state[None], jnp.zeros(1), history)
    context = PlanningContext(model, Particle(1), belief)
    energy = PathEnergy(lambda state, action: jnp.sum(state**2) + 0.1 * jnp.sum(action**2), num_paths=64)
    values = eqx.filter_jit(jax.vmap(lambda k: energy.pointwise(ACTIONS, context, key=k)))(jr.split(key, 200))
    exact = sum(m @ m + np.trace(c) for m, c in remembered_moments(model, ACTIONS)) + 0.1 * np.sum(ACTIONS**2)
    assert abs(np.mean(values) - exact) < MONTE_CARLO_STANDARD_ERRORS * np.std(values) / np.sqrt(200)
