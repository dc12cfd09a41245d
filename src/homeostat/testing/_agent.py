"""Laws of agents and of controllers."""

import equinox as eqx
import jax
import jax.random as jr

from ..core import AbstractAgent, AbstractController, PlanningContext
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


def check_controller(
    controller: AbstractController, context: PlanningContext, *, key: Key, tolerances: Tolerances = Tolerances()
) -> None:
    """Run every law of `AbstractController` on `controller`.

    Laws: acting preserves the structure of the carry and obeys the transform laws, among them that one key gives one
    decision; actions and their evidence are finite.

    Args:
        controller: what to check.
        context: a model with its filter and a belief.
    """
    name = type(controller).__name__
    first, second = jr.split(key)
    carry, static = eqx.partition(eqx.filter_jit(controller.init)(), eqx.is_array)

    def act(current: PyTree, k: Key) -> tuple[PyTree, PyTree, PyTree]:
        decision, after = controller.act(context, eqx.combine(current, static), key=k)
        return decision.action, eqx.filter(decision.info, eqx.is_array), eqx.filter(after, eqx.is_array)

    compiled = check_transforms(act, (carry, first), (carry, second), tolerances, f"{name}.act")
    action, info, after = compiled(carry, first)
    assert_same_structure(after, carry, f"{name}.act: preserves the carry's structure")
    assert_finite((action, info), f"{name}.act: action and evidence")
