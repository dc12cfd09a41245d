"""The variational filter takes any engine, and any model."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist
import optax
import pytest

from homeostat.core import AbstractMarkovModel
from homeostat.distributions import Antithetic, DiagonalGaussian, FullGaussian, MonteCarlo
from homeostat.inference import filter
from homeostat.inference.engines import (
    MPPI,
    Chain,
    CrossEntropy,
    Data,
    Direct,
    Estimate,
    Gradient,
    Iterative,
    LogGradient,
    NaturalGradient,
    Residual,
)
from homeostat.inference.filters import Kalman, MomentMatching, VariationalFilter
from homeostat.models.sequential import LinearDynamics, LinearGaussian, StateSpace
from tolerances import ALGEBRA, AUTODIFF

DIM, TIME = 2, 5
ENCODER = eqx.nn.MLP(DIM, 2 * DIM, 8, 1, key=jr.key(1))
NETWORK = eqx.nn.MLP(7 * DIM, 2 * DIM, 8, 1, key=jr.key(2))


def _observation(args):
    return args.observation


def _encode(args):
    return 0.1 * ENCODER(args.observation)


ENGINES = {
    "direct": (Direct(_encode), 1),
    "iterative": (Iterative(NETWORK, (Estimate(), LogGradient(), Data(_observation)), Residual(0.01)), 2),
    "gradient": (Gradient(optax.adam(0.05)), 5),
    "natural gradient": (NaturalGradient(rate=0.5, momentum=0.2), 5),
    "cross-entropy": (CrossEntropy(64, 16), 3),
    "path integral": (MPPI(64, 1.0), 2),
    "semi-amortized": (Chain((Direct(_encode), Gradient(optax.adam(0.05))), (1,)), 5),
}


@pytest.fixture
def model() -> LinearGaussian:
    dynamics = LinearDynamics(jnp.array([[0.9, 0.1], [0.0, 0.9]]), jnp.eye(DIM), 0.3 * jnp.eye(DIM))
    return LinearGaussian(jnp.zeros(DIM), jnp.eye(DIM), dynamics, jnp.eye(DIM), 0.5 * jnp.eye(DIM))


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_bounds_the_evidence(model, key, name):
    """Every belief is proper, and its free energy is no lower than the exact one given the same prediction."""
    engine, num_steps = ENGINES[name]
    actions = 0.3 * jr.normal(key, (TIME - 1, DIM))
    observations = model.sample(actions, key=key).observations
    method = VariationalFilter(engine, DiagonalGaussian(DIM), num_steps)
    result = filter(method, model, observations, actions, key=key)
    assert jnp.all(jnp.isfinite(result.beliefs.loc))
    assert jnp.all(jnp.diagonal(result.beliefs.scale_tril, axis1=1, axis2=2) > 0.0)
    exact = jax.vmap(lambda prediction, x: Kalman().update(model, prediction, x)[1].free_energy_nats)
    assert jnp.all(result.info.free_energy_nats > exact(result.predictions, observations) - ALGEBRA)


def test_gradient_descent_converges_to_the_kalman_filter(model, key):
    actions = 0.3 * jr.normal(key, (2, DIM))
    observations = model.sample(actions, key=key).observations
    schedule = optax.exponential_decay(0.1, 50, 0.5)
    method = VariationalFilter(Gradient(optax.adam(schedule)), FullGaussian(DIM), num_steps=1_500)
    result = filter(method, model, observations, actions, key=key)
    exact = filter(Kalman(), model, observations, actions, key=key)
    assert jnp.abs(result.beliefs.loc - exact.beliefs.loc).max() < AUTODIFF
    assert jnp.abs(result.info.free_energy_nats - exact.info.free_energy_nats).max() < AUTODIFF


class Pendulum(AbstractMarkovModel):
    """A damped pendulum whose noise grows with its speed, seen through a sine."""

    def initial(self):
        return dist.Normal(jnp.array([1.0, 0.0]), 0.1).to_event(1)

    def transition(self, state, action):
        angle, speed = state[0] + 0.1 * state[1], 0.99 * state[1] - 0.1 * jnp.sin(state[0]) + action[0]
        return dist.Normal(jnp.stack([angle, speed]), 0.01 + 0.01 * jnp.abs(state)).to_event(1)

    def emission(self, state):
        return dist.Normal(jnp.sin(state[:1]), 0.05).to_event(1)


def test_predictions_of_a_nonlinear_model_match_moments(key):
    """Cubature against a large Monte Carlo prediction, for a transition whose noise depends on the state."""
    model, action = Pendulum(), jnp.array([0.2])
    engine, family = NaturalGradient(), FullGaussian(DIM)
    cubature = VariationalFilter(engine, family)
    sampling = VariationalFilter(engine, family, propagation=MomentMatching(Antithetic(200_000)))
    belief = cubature.init(model)
    first = cubature.predict(model, belief, action, key=key)
    second = sampling.predict(model, belief, action, key=key)
    deviation = jnp.sqrt(jnp.diagonal(second.covariance))
    assert jnp.abs((first.loc - second.loc) / deviation).max() < 0.02
    assert jnp.abs((first.covariance - second.covariance) / jnp.outer(deviation, deviation)).max() < 0.02


def test_a_nonlinear_model_is_tracked(key):
    model = StateSpace(Pendulum().initial, Pendulum().transition, Pendulum())
    state_key, noise_key = jr.split(key)
    states = [jnp.array([1.0, 0.0])]
    for k in jr.split(state_key, 30):
        states.append(model.transition(states[-1], jnp.zeros(1)).sample(k))
    states = jnp.stack(states)
    noise_keys = jr.split(noise_key, states.shape[0])
    observations = eqx.filter_jit(jax.vmap(lambda z, k: model.emission(z).sample(k)))(states, noise_keys)
    method = VariationalFilter(NaturalGradient(rate=0.7), FullGaussian(DIM), num_steps=10)
    result = filter(method, model, observations, jnp.zeros((30, 1)), key=key)
    spread = jnp.sqrt(jnp.diagonal(result.beliefs.covariance, axis1=1, axis2=2))
    assert jnp.mean(((result.beliefs.loc - states) / spread) ** 2) < 3.0
    assert jnp.mean(jnp.abs(result.beliefs.loc[10:, 0] - states[10:, 0])) < 0.1


def test_random_expectations_use_the_key(model, key):
    observations = jnp.ones((2, DIM))
    method = VariationalFilter(
        NaturalGradient(rate=0.5, expectation=MonteCarlo(2)), DiagonalGaussian(DIM), 2, expectation=MonteCarlo(2)
    )
    run = lambda k: filter(method, model, observations, jnp.zeros((1, DIM)), key=k).free_energy_nats  # noqa: E731
    assert run(key) == run(key)
    assert run(key) != run(jr.key(1))
