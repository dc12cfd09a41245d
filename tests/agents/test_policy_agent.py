"""The agent that infers a distribution over actions for every observation, on an energy whose answer is known."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from homeostat.agents import FromInitial, FromNoise, FromPrevious, PolicyAgent, median_action
from homeostat.core import Decision
from homeostat.distributions import (
    Categorical,
    CategoricalParams,
    DiagonalGaussian,
    DiagonalGaussianParams,
    SquashedGaussian,
)
from homeostat.inference.engines import Direct, NaturalGradient
from homeostat.results import BadInputError
from problems import pulled
from tolerances import ALGEBRA, MONTE_CARLO_STANDARD_ERRORS


def test_a_direct_engine_is_a_policy_network(key):
    """pi(a | x) = N(x / 2, 0.1^2): what the network says is what is drawn."""
    engine = Direct(lambda x: jnp.concatenate([0.5 * x, jnp.full(2, jnp.log(0.1))]))
    agent = PolicyAgent(pulled(), engine, DiagonalGaussian(2))
    seen = jnp.array([1.0, -3.0])
    act = eqx.filter_jit(jax.vmap(lambda k: agent.act(agent.init(key=k), seen, key=k)[0]))
    decisions = act(jr.split(key, 500))
    assert isinstance(decisions, Decision)
    error = 0.1 / np.sqrt(500)
    np.testing.assert_allclose(np.mean(decisions.action, 0), 0.5 * seen, atol=MONTE_CARLO_STANDARD_ERRORS * error)
    steady = PolicyAgent(pulled(), engine, DiagonalGaussian(2), choose=median_action)
    np.testing.assert_allclose(steady.act(steady.init(key=key), seen, key=key)[0].action, 0.5 * seen, atol=ALGEBRA)


def test_inference_reaches_the_best_policy_and_starts_where_it_is_told(key):
    """E_q[|a - x / 2|^2 / 2 + log q] is least at N(x / 2, 1); one natural-gradient step of rate one is exact."""
    agent = PolicyAgent(
        pulled(), NaturalGradient(1.0), DiagonalGaussian(2), start=FromPrevious(), choose=median_action, num_steps=2
    )
    act, seen = eqx.filter_jit(agent.act), jnp.array([1.0, -3.0])
    decision, state = act(agent.init(key=key), seen, key=key)
    np.testing.assert_allclose(decision.action, 0.5 * seen, atol=ALGEBRA)
    np.testing.assert_allclose(state.log_scale, 0.0, atol=ALGEBRA)
    family, previous = agent.family, state
    np.testing.assert_array_equal(FromPrevious()(family, previous, key=key).loc, previous.loc)
    np.testing.assert_array_equal(FromInitial()(family, previous, key=key).loc, family.init().loc)
    drawn = eqx.filter_jit(jax.vmap(lambda k: FromNoise(0.5)(family, previous, key=k).loc))(jr.split(key, 400))
    np.testing.assert_allclose(np.std(drawn), 0.5, atol=MONTE_CARLO_STANDARD_ERRORS * 0.5 / np.sqrt(1600))


def test_medians_are_centres():
    squashed = SquashedGaussian(1, low=-2.0, high=4.0)(DiagonalGaussianParams(jnp.zeros(1), jnp.zeros(1)))
    np.testing.assert_allclose(median_action(squashed, key=jr.key(0)), 1.0, atol=ALGEBRA)
    choice = Categorical(3)(CategoricalParams(jnp.array([0.0, 2.0, 1.0])))
    assert int(median_action(choice, key=jr.key(0))) == 1
    with pytest.raises(BadInputError, match="at least one engine step"):
        PolicyAgent(pulled(), NaturalGradient(1.0), DiagonalGaussian(2), num_steps=0)
