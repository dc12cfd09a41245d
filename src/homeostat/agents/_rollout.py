"""`rollout`: an agent in a world. Observe, decide, act."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from .._scan import scan
from ..core import AbstractAgent, AbstractEnvironment, Decision
from ..results import BadInputError
from ..typing import Array, Bool, Key, Observation, PyTree, Scalar, State


class Transition(NamedTuple):
    """One step of an episode.

    Attributes:
        state: of the environment, before the action; None where only its owner knows it.
        observation: what the agent saw of it.
        decision: action, and why.
        reward: of the transition that followed.
        terminal: whether the task ended in the state that followed.
        truncated: whether the episode was cut off there, though the task goes on.
    """

    state: State
    observation: Observation
    decision: Decision
    reward: Scalar
    terminal: Bool[Array, ""]
    truncated: Bool[Array, ""]


class Rollout(NamedTuple):
    """An episode.

    Attributes:
        trajectory: what `keep` kept of every step, with a leading time axis; a `Transition` by default.
        state: of the environment, after the last action.
        agent_state: of the agent, before it observes that state.
    """

    trajectory: PyTree
    state: State
    agent_state: PyTree


def keep_all(transition: Transition) -> Transition:
    """Everything."""
    return transition


@eqx.filter_jit
def rollout(
    environment: AbstractEnvironment,
    agent: AbstractAgent,
    *,
    key: Key,
    num_steps: int,
    state: State | None = None,
    agent_state: PyTree | None = None,
    keep: Callable[[Transition], PyTree] = keep_all,
) -> Rollout:
    """Run an agent for a number of steps; the world goes on after a terminal state.

    Where it begins a new episode then (`AutoReset`), so does the agent.

    Compiled once for each kind of world and agent. Unbatched: for many episodes, `eqx.filter_vmap` over keys (and agents, states).

    Args:
        environment: the world.
        agent: who acts in it.
        key: split over time.
        num_steps: number of actions.
        state: where the world starts; drawn by the environment by default.
        agent_state: where the agent starts; `agent.init` by default.
        keep: what to record of a step, to save memory.

    Returns:
        The episode.

    Raises:
        BadInputError: `num_steps` is not positive.
    """
    if num_steps < 1:
        raise BadInputError(f"Expected at least one step, got num_steps={num_steps}.")
    state_key, agent_key, scan_key = jr.split(key, 3)
    state = environment.initial(key=state_key) if state is None else state
    agent_state = agent.init(key=agent_key) if agent_state is None else agent_state

    def step(now, step_key):
        state, agent_state = now
        observe_key, act_key, move_key = jr.split(step_key, 3)
        observation = environment.observation(state, key=observe_key)
        decision, agent_state = agent.act(agent_state, observation, key=act_key)
        after = environment.transition(state, decision.action, key=move_key)
        reward = environment.reward(state, decision.action, after)
        ends = environment.terminal(after), environment.truncated(after)
        if environment.resets:
            over = environment.terminal(state) | environment.truncated(state)
            fresh = agent.init(key=jr.fold_in(step_key, 3))
            agent_state = jax.tree.map(lambda new, old: jnp.where(over, new, old), fresh, agent_state)
        return (after, agent_state), keep(Transition(state, observation, decision, reward, *ends))

    (state, agent_state), trajectory = scan(step, (state, agent_state), jr.split(scan_key, num_steps))
    return Rollout(trajectory, state, agent_state)


def rollout_gymnasium(
    environment: Any,
    agent: AbstractAgent,
    *,
    key: Key,
    num_steps: int,
    seed: int | None = None,
    keep: Callable[[Transition], PyTree] = keep_all,
) -> Rollout:
    """Run an agent in a `gymnasium.Env` for a number of steps: the environment on the host, the agent compiled.

    After the end of an episode the environment is reset, and the agent begins anew.

    Args:
        environment: any Gymnasium environment; see `spec_of` for its specs.
        agent: who acts in it; its actions are members of the environment's action space.
        key: of the agent, split over time.
        num_steps: number of actions.
        seed: of the environment.
        keep: what to record of a step.

    Returns:
        The steps, as `rollout` returns them; states of the environment are None.

    Raises:
        BadInputError: `num_steps` is not positive.
    """
    if num_steps < 1:
        raise BadInputError(f"Expected at least one step, got num_steps={num_steps}.")
    act, dtype = eqx.filter_jit(agent.act), environment.action_space.dtype
    agent_state, kept, over = None, [], True
    observation, _ = environment.reset(seed=seed)
    for step_key in jr.split(key, num_steps):
        init_key, act_key = jr.split(step_key)
        agent_state = agent.init(key=init_key) if over else agent_state
        seen = jax.tree.map(jnp.asarray, observation)
        decision, agent_state = act(agent_state, seen, key=act_key)
        action = jax.tree.map(lambda leaf: np.asarray(leaf, dtype), decision.action)
        observation, reward, terminal, truncated, _ = environment.step(action)
        ends = jnp.asarray(terminal, bool), jnp.asarray(truncated, bool)
        kept.append(keep(Transition(None, seen, decision, jnp.asarray(reward, float), *ends)))
        over = bool(terminal or truncated)
        if over:
            observation, _ = environment.reset()
    return Rollout(jax.tree.map(lambda *leaves: jnp.stack(leaves), *kept), None, agent_state)
