"""Laws of agents and of controllers."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.random as jr

from ..core import AbstractAgent, AbstractController, Decision, PlanningContext
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
    start = eqx.filter_jit(lambda k: agent.init(key=k))(init_key)
    state, act = _decisions(start, lambda state, k: agent.act(state, observation, key=k))
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
    start = eqx.filter_jit(controller.init)()
    carry, act = _decisions(start, lambda carry, k: controller.act(context, carry, key=k))
    compiled = check_transforms(act, (carry, first), (carry, second), tolerances, f"{name}.act")
    action, info, after = compiled(carry, first)
    assert_same_structure(after, carry, f"{name}.act: preserves the carry's structure")
    assert_finite((action, info), f"{name}.act: action and evidence")


def _decisions(start: PyTree, act: Callable[[PyTree, Key], tuple[Decision, PyTree]]) -> tuple[PyTree, Callable]:
    """The arrays of a state, and what is decided in one: action, evidence and the arrays of the state after it."""
    state, static = eqx.partition(start, eqx.is_array)

    def decide(current: PyTree, k: Key) -> tuple[PyTree, PyTree, PyTree]:
        decision, after = act(eqx.combine(current, static), k)
        return decision.action, eqx.filter(decision.info, eqx.is_array), eqx.filter(after, eqx.is_array)

    return state, decide
