"""The agent with a model, and the loop that runs it, against the same calls written out."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from homeostat.agents import BeliefAgent, rollout
from homeostat.agents._belief_agent import BeliefAgentState
from homeostat.control import ConstantAction, TargetState, active_inference
from homeostat.core import PlanningContext
from homeostat.inference.filters import GaussianBelief, Kalman
from homeostat.results import BadInputError
from tolerances import ALGEBRA
from worlds import GOAL, Plane, plane

MOVES = jnp.asarray(list(itertools.product((-1, 0, 1), repeat=2)), jnp.int32)
PLANNER = active_inference(TargetState(GOAL, 0.5), ConstantAction(MOVES, 2))


def test_rollout_is_a_loop_written_out(key):
    """The scan against the same five calls in Python, and what it records."""
    environment, model, agent = Plane(GOAL), plane(), BeliefAgent(plane(), Kalman(), PLANNER)
    episode = eqx.filter_jit(rollout)(environment, agent, key=key, num_steps=3)
    act, update = eqx.filter_jit(PLANNER.act), eqx.filter_jit(Kalman().update)
    _, agent_key, scan_key = jr.split(key, 3)
    state, belief, carry = jnp.zeros(2), Kalman().init(model, key=agent_key), PLANNER.init()
    for t, step_key in enumerate(jr.split(scan_key, 3)):
        observe_key, agent_key, move_key = jr.split(step_key, 3)
        update_key, act_key, predict_key = jr.split(agent_key, 3)
        observation = environment.observation(state, key=observe_key)
        belief, info = update(model, belief, observation, key=update_key)
        decision, carry = act(PlanningContext(model, Kalman(), belief), carry, key=act_key)
        step = jax.tree.map(lambda leaf, t=t: leaf[t], episode.trajectory)
        np.testing.assert_allclose(step.state, state, atol=ALGEBRA)
        np.testing.assert_allclose(step.observation, observation, atol=ALGEBRA)
        np.testing.assert_allclose(step.decision.info.belief.mean, belief.mean, atol=ALGEBRA)
        np.testing.assert_allclose(step.decision.info.filtering.free_energy_nats, info.free_energy_nats, atol=ALGEBRA)
        np.testing.assert_array_equal(step.decision.action, decision.action)
        after = environment.transition(state, decision.action, key=move_key)
        np.testing.assert_allclose(step.reward, environment.reward(state, decision.action, after), atol=ALGEBRA)
        belief = Kalman().predict(model, belief, decision.action, key=predict_key)
        state = after
    np.testing.assert_allclose(episode.state, state, atol=ALGEBRA)
    np.testing.assert_allclose(episode.agent_state.belief.mean, belief.mean, atol=ALGEBRA)


def test_rollout_maps_over_episodes_and_keeps_what_it_is_told(key):
    def one(key, goal):
        planner = eqx.tree_at(lambda a: a.objective.preference.target, PLANNER, goal)
        agent = BeliefAgent(plane(), Kalman(), planner)
        return rollout(
            Plane(goal),
            agent,
            key=key,
            num_steps=5,
            keep=lambda step: step.decision.info.control.explanation.terms,
            agent_state=agent.init_at(GaussianBelief(jnp.zeros(2), jnp.eye(2))),
            state=jnp.ones(2),
        )

    goals = jnp.array([[2.0, 2.0], [-3.0, 1.0], [1.0, 1.0]])
    episodes = jax.jit(jax.vmap(one))(jr.split(key, 3), goals)
    assert episodes.trajectory.risk_nats.shape == (3, 5, 2)
    assert isinstance(episodes.agent_state, BeliefAgentState)
    np.testing.assert_allclose(episodes.state, goals, atol=ALGEBRA)
    single = jax.jit(one)(jr.split(key, 3)[1], goals[1])
    np.testing.assert_allclose(single.trajectory.risk_nats, episodes.trajectory.risk_nats[1], atol=ALGEBRA)
    with pytest.raises(BadInputError, match="at least one step"):
        rollout(Plane(GOAL), BeliefAgent(plane(), Kalman(), PLANNER), key=key, num_steps=0)
