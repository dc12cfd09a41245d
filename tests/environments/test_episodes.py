"""Models as worlds, probe problems with exact values, and how episodes end."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from homeostat.agents import BeliefAgent, rollout
from homeostat.control import ActionSequences, ModelPredictive
from homeostat.core import AbstractAgent, Bounded, Decision
from homeostat.environments import AutoReset, Simulated, TimedState, TimeLimit
from homeostat.inference.engines import Enumerate
from homeostat.inference.filters import Forward
from homeostat.models.sequential import CategoricalEmissions, ControlledTransitions, HiddenMarkov
from homeostat.objectives import PathEnergy
from homeostat.results import BadInputError
from sequential_catalogue import linear_gaussian
from tolerances import ALGEBRA, MONTE_CARLO_STANDARD_ERRORS
from worlds import GOAL, Plane

NUMBER = 3_000


@final
class Script(AbstractAgent[jax.Array]):
    """Actions from a list, whatever is seen."""

    actions: jax.Array

    def init(self, *, key):
        return jnp.zeros((), int)

    def act(self, state, observation, *, key):
        return Decision(self.actions[state], ()), state + 1


def test_a_simulated_model_has_the_moments_of_its_closed_form(key):
    model, actions = linear_gaussian(), jnp.array([[0.5], [-1.0], [2.0]])
    world = Simulated(model, lambda state, action, after: jnp.sum(after) - action[0], Bounded((1,)))
    run = jax.jit(jax.vmap(lambda k: rollout(world, Script(actions), key=k, num_steps=3).trajectory))
    steps = run(jr.split(key, NUMBER))
    mean, cov = np.asarray(model.initial().mean), np.asarray(model.initial().covariance_matrix)
    matrix = np.asarray(model.dynamics.matrix)
    emission, noise = np.asarray(model.emission_matrix), np.asarray(model.emission_scale_tril)
    for t, action in enumerate(actions):
        seen = np.asarray(steps.observation[:, t])
        expected = np.asarray(model.emission(jnp.asarray(mean)).mean)
        spread = emission @ cov @ emission.T + noise @ noise.T
        error = np.sqrt(np.diag(spread) / NUMBER)
        assert np.all(np.abs(seen.mean(0) - expected) < MONTE_CARLO_STANDARD_ERRORS * error)
        bound = np.sqrt(2.0 * np.outer(np.diag(spread), np.diag(spread)) / NUMBER)
        assert np.all(np.abs(np.cov(seen.T) - spread) < MONTE_CARLO_STANDARD_ERRORS * bound)
        moved = model.transition(jnp.asarray(mean), action)
        mean, cov = np.asarray(moved.mean), matrix @ cov @ matrix.T + np.asarray(moved.covariance_matrix)
        error = np.sqrt(np.sum(cov) / NUMBER)
        got = np.mean(steps.reward[:, t])
        assert abs(got - (mean.sum() - action[0])) < MONTE_CARLO_STANDARD_ERRORS * error


def chain(transitions, start, reward):
    """A finite decision process that is seen exactly: transitions [actions, states, states], reward(s, a, s')."""
    states = transitions.shape[1]
    emissions = CategoricalEmissions(jnp.log(jnp.eye(states) + 1e-12))
    model = HiddenMarkov(jnp.log(start + 1e-12), ControlledTransitions(jnp.log(transitions + 1e-12)), emissions)
    actions = Bounded((), 0, transitions.shape[0] - 1, True)
    return Simulated(model, lambda s, a, after: jnp.asarray(reward(s, a, after), float), actions)


def best_value(world, horizon):
    """Dynamic programming over the tables of the model."""
    transitions = np.exp(world.model.transitions.logits)
    actions, states, _ = transitions.shape
    reward = np.array(
        [[[world.reward_of(s, a, b) for b in range(states)] for s in range(states)] for a in range(actions)]
    )
    value = np.zeros(states)
    for _ in range(horizon):
        value = np.max(np.sum(transitions * (reward + value), axis=-1), axis=0)
    return np.exp(np.asarray(world.model.initial().logits)) @ value


STAY, SWAP = jnp.eye(2), jnp.eye(2)[::-1]
PROBES = {
    "one action": chain(STAY[None], jnp.array([1.0, 0.0]), lambda s, a, after: 1.0),
    "reward by what is seen": chain(STAY[None], jnp.array([0.5, 0.5]), lambda s, a, after: 2.0 * s - 1.0),
    "reward delayed": chain(SWAP[None], jnp.array([1.0, 0.0]), lambda s, a, after: s == 1),
    "reward by action": chain(jnp.stack([STAY, STAY]), jnp.array([1.0, 0.0]), lambda s, a, after: 2.0 * a - 1.0),
    "reward by both": chain(jnp.stack([STAY, SWAP]), jnp.array([0.5, 0.5]), lambda s, a, after: a == s),
}
"""Five problems, each of which fails an agent of which one part is broken.

References:
    Jones, "Debugging RL, without the agonizing pain", 2021; the probes of rejax.
"""


@pytest.mark.parametrize("name", [name for name in PROBES if name != "reward by both"])
def test_the_best_script_earns_the_exact_value(name, key):
    world, number = PROBES[name], 400
    actions = jnp.arange(world.action_spec.high + 1)
    scripts = jnp.stack([jnp.stack([a, b]) for a in actions for b in actions])

    def earned(script, k):
        return jnp.sum(rollout(world, Script(script), key=k, num_steps=2).trajectory.reward)

    run = jax.jit(jax.vmap(jax.vmap(earned, (None, 0)), (0, None)))
    returns = np.asarray(run(scripts, jr.split(key, number)))
    best = returns[np.argmax(returns.mean(axis=1))]
    error = MONTE_CARLO_STANDARD_ERRORS * best.std() / np.sqrt(number) + ALGEBRA
    np.testing.assert_allclose(best.mean(), best_value(world, 2), atol=error)


def test_only_who_looks_earns_everything(key):
    """a = s pays: the value is one a step."""
    world = PROBES["reward by both"]
    run = jax.jit(jax.vmap(lambda k: rollout(world, Mirror(), key=k, num_steps=2).trajectory.reward))
    np.testing.assert_allclose(np.sum(run(jr.split(key, 50)), axis=1), 2.0, atol=ALGEBRA)
    assert best_value(world, 2) == pytest.approx(2.0)


@final
class Mirror(AbstractAgent[tuple]):
    """a = x."""

    def init(self, *, key):
        return ()

    def act(self, state, observation, *, key):
        return Decision(observation, ()), state


def test_model_predictive_control_on_a_probe(key):
    """Reward by action, as a cost of the state that an action leads to: the planner takes the action that pays."""
    world = chain(jnp.stack([STAY, SWAP]), jnp.array([1.0, 0.0]), lambda s, a, after: after == 1)
    planner = ModelPredictive(
        PathEnergy(lambda state, action: -jnp.asarray(state == 1, float), num_paths=1, temperature=0.01),
        Enumerate(),
        ActionSequences(jnp.arange(2), 2),
    )
    agent = BeliefAgent(world.model, Forward(), planner)
    steps = eqx.filter_jit(lambda k: rollout(world, agent, key=k, num_steps=4).trajectory)(key)
    np.testing.assert_allclose(steps.reward, 1.0, atol=ALGEBRA)
    assert best_value(world, 4) == pytest.approx(4.0)
    np.testing.assert_array_equal(steps.decision.action, [1, 0, 0, 0])


def test_the_end_of_time_is_not_the_end_of_the_task(key):
    world, agent = TimeLimit(Plane(GOAL), 3), Script(jnp.tile(jnp.array([1.0, -1.0]), (8, 1)))
    steps = eqx.filter_jit(lambda k: rollout(world, agent, key=k, num_steps=4))(key).trajectory
    np.testing.assert_array_equal(steps.truncated, [False, False, True, True])
    assert not steps.terminal.any(), "the goal is farther than four steps"
    with pytest.raises(BadInputError, match="at least one step"):
        TimeLimit(Plane(GOAL), 0)


def test_a_new_episode_follows_the_last(key):
    world, agent = AutoReset(TimeLimit(Plane(GOAL), 3)), Script(jnp.tile(jnp.array([1.0, -1.0]), (8, 1)))
    start = TimedState(jnp.zeros(2), jnp.zeros((), jnp.int32))
    steps = eqx.filter_jit(lambda k: rollout(world, agent, key=k, num_steps=8, state=start))(key).trajectory
    np.testing.assert_array_equal(steps.state.steps, [0, 1, 2, 3, 0, 1, 2, 3])
    np.testing.assert_array_equal(steps.truncated, [False, False, True, False] * 2)
    np.testing.assert_allclose(steps.reward[3], 0.0, atol=ALGEBRA)
    np.testing.assert_allclose(steps.state.world[4], 0.0, atol=ALGEBRA)


def test_the_agent_begins_anew_with_the_world(key):
    """Its state is a counter, which starts from zero in every episode."""
    world, agent = AutoReset(TimeLimit(Plane(GOAL), 3)), Script(jnp.arange(16.0).reshape(8, 2))
    episode = eqx.filter_jit(lambda k: rollout(world, agent, key=k, num_steps=6))(key)
    np.testing.assert_array_equal(episode.trajectory.decision.action[:, 0], [0, 2, 4, 6, 0, 2])
    assert int(episode.agent_state) == 2
