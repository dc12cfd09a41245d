"""Laws of controllers."""

import equinox as eqx
import jax.random as jr

from ..core import AbstractController, PlanningContext
from ..typing import Key, PyTree
from ._assertions import assert_finite, assert_same_structure, check_transforms
from ._tolerances import Tolerances


def check_controller(
    controller: AbstractController,
    context: PlanningContext,
    *,
    key: Key,
    tolerances: Tolerances = Tolerances(),
) -> None:
    """Run every law of `AbstractController` on `controller`.

    Laws: acting preserves the structure of the carry and obeys the transform laws, among them that one key gives one
    decision; actions and their evidence are finite.

    Args:
        controller: what to check.
        context: a model with its filter and a belief.
        key: random key.
        tolerances: see `Tolerances`.

    Raises:
        AssertionError: the first law that does not hold, in a sentence.
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
