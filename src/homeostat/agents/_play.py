"""Whole episodes of an agent that does not learn any more."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from .._scan import scan
from ..core import AbstractAgent
from ..environments import AbstractWorlds
from ..results import BadInputError
from ..typing import Key, PyTree
from ._flat import flat_state, to_action

CHUNK = 100
"""Steps in one compiled piece of an evaluation."""


class Played(NamedTuple):
    """Finished episodes, in the order of worlds.

    Attributes:
        returns: sum of rewards of each, without discount.
        steps: length of each.
        terminal: whether its task ended, rather than its time.
    """

    returns: np.ndarray
    steps: np.ndarray
    terminal: np.ndarray


def play(
    worlds: AbstractWorlds, agent: AbstractAgent, num_episodes: int, *, key: Key, most_steps: int = 1_000_000
) -> Played:
    """Let an agent act until every world has finished its share of episodes.

    The first episodes of every world count, as many in each, so that short episodes are not preferred to long ones.

    Args:
        worlds: where.
        agent: reads states as `flat_state` makes them.
        num_episodes: rounded up to a multiple of the worlds.
        key: of worlds and agent.
        most_steps: of each world, after which an environment is taken not to end.

    Raises:
        BadInputError: no episodes are asked for, or they do not end.
    """
    if num_episodes < 1:
        raise BadInputError(f"Expected at least one episode, got {num_episodes}.")
    share = -(-num_episodes // worlds.num_worlds)
    begin_key, *keys = jr.split(key, 1 + -(-most_steps // CHUNK))
    now, found = _begin(worlds, agent, begin_key), []
    for chunk_key in keys:
        now, steps = _advance(worlds, agent, now, chunk_key)
        found.append(jax.tree.map(np.asarray, steps))
        if np.sum([piece.over.sum(axis=0) for piece in found], axis=0).min() >= share:
            return _episodes(found, share)
    raise BadInputError(
        f"Expected episodes that end, got worlds in which {most_steps:,} steps were not enough for {share}: put a `TimeLimit` around the "
        f"environment (max_episode_steps in Gymnasium)."
    )


class _Steps(NamedTuple):
    reward: Any
    over: Any
    terminal: Any
    idle: Any


class _Now(NamedTuple):
    worlds: PyTree
    observation: PyTree
    over: Any
    agents: PyTree


@eqx.filter_jit
def _begin(worlds: AbstractWorlds, agent: AbstractAgent, key: Key) -> _Now:
    state, observation = worlds.init(key=key)
    agents = jax.vmap(lambda k: agent.init(key=k))(jr.split(key, worlds.num_worlds))
    return _Now(state, observation, jnp.zeros(worlds.num_worlds, bool), agents)


@eqx.filter_jit
def _advance(worlds: AbstractWorlds, agent: AbstractAgent, now: _Now, key: Key) -> tuple[_Now, _Steps]:
    num, spec = worlds.num_worlds, worlds.action_spec

    def act(agent_state: PyTree, observation: PyTree, key: Key) -> tuple[Any, PyTree]:
        decision, after = agent.act(agent_state, flat_state(worlds.observation_spec, observation), key=key)
        return to_action(spec, decision.action), after

    def step(now: _Now, key: Key) -> tuple[_Now, _Steps]:
        act_key, step_key, fresh_key = jr.split(key, 3)
        actions, agents = jax.vmap(act)(now.agents, now.observation, jr.split(act_key, num))
        state, found = worlds.step(now.worlds, actions, key=step_key)
        fresh = jax.vmap(lambda k: agent.init(key=k))(jr.split(fresh_key, num))

        def restart(new: Any, old: Any) -> Any:
            return jnp.where(now.over.reshape(-1, *[1] * (old.ndim - 1)), new, old)

        over = found.terminal | found.truncated
        after = _Now(state, found.observation, over, jax.tree.map(restart, fresh, agents))
        return after, _Steps(found.reward, over, found.terminal, now.over)

    return scan(step, now, jr.split(key, CHUNK))


def _episodes(pieces: list[_Steps], share: int) -> Played:
    steps = jax.tree.map(lambda *parts: np.concatenate(parts), *pieces)
    returns, lengths, terminal = [], [], []
    for world in range(steps.over.shape[1]):
        start = 0
        for end in np.flatnonzero(steps.over[:, world])[:share]:
            inside = slice(start, end + 1)
            returns.append(steps.reward[inside, world].sum(dtype=np.float64))
            lengths.append(int((~steps.idle[inside, world]).sum()))
            terminal.append(bool(steps.terminal[end, world]))
            start = end + 1
    return Played(np.asarray(returns), np.asarray(lengths), np.asarray(terminal))
