"""Laws of agents."""

import equinox as eqx
import jax
import jax.random as jr

from ..core import AbstractAgent
from ..typing import Key, Observation, PyTree
from ._assertions import assert_finite, assert_same_structure, check_transforms
from ._tolerances import Tolerances


def check_agent(
    agent: AbstractAgent, observation: Observation, *, key: Key, tolerances: Tolerances = Tolerances()
) -> None:
    """Run every law of `AbstractAgent` on `agent`.

    Laws: acting preserves the structure of the state and obeys the transform laws, among them that one key gives one decision;
    actions are finite; decisions have one structure from step to step; an episode runs inside one compiled scan.

    Args:
        agent: what to check.
        observation: something that it may see.
        key: random key.
        tolerances: see `Tolerances`.

    Raises:
        AssertionError: the first law that does not hold, in a sentence.
    """
    name = type(agent).__name__
    init_key, first, second, scan_key = jr.split(key, 4)
    state, static = eqx.partition(eqx.filter_jit(lambda k: agent.init(key=k))(init_key), eqx.is_array)

    def act(current: PyTree, k: Key) -> tuple[PyTree, PyTree, PyTree]:
        decision, after = agent.act(eqx.combine(current, static), observation, key=k)
        return decision.action, eqx.filter(decision.info, eqx.is_array), eqx.filter(after, eqx.is_array)

    compiled = check_transforms(act, (state, first), (state, second), tolerances, f"{name}.act")
    action, info, after = compiled(state, first)
    assert_same_structure(after, state, f"{name}.act: preserves the state's structure")
    assert_finite(action, f"{name}.act: action")
    next_action, next_info, _ = compiled(after, second)
    assert_same_structure((next_action, next_info), (action, info), f"{name}.act: decisions have one structure")

    def body(current: PyTree, k: Key) -> tuple[PyTree, PyTree]:
        action, _, after = act(current, k)
        return after, action

    _, actions = eqx.filter_jit(lambda start: jax.lax.scan(body, start, jr.split(scan_key, 3)))(after)
    assert_finite(actions, f"{name}: actions of a compiled episode")
