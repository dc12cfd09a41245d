"""Laws of learners."""

import equinox as eqx
import jax.random as jr

from ..core import AbstractLearner
from ..typing import Key, PyTree
from ._assertions import assert_close, assert_finite, assert_same_structure
from ._tolerances import Tolerances


def check_learner(learner: AbstractLearner, batch: PyTree, *, key: Key, tolerances: Tolerances = Tolerances()) -> None:
    """Run every law of `AbstractLearner` on `learner`.

    Laws: an update preserves the structure of the state; it is deterministic under one key; jit = no jit; metrics are
    finite scalars.

    Args:
        learner: what to check.
        batch: one batch that it can learn from.
    """
    name = type(learner).__name__
    start_key, update_key = jr.split(key)
    arrays, static = eqx.partition(eqx.filter_jit(lambda k: learner.init(key=k))(start_key), eqx.is_array)

    def update(current: PyTree, k: Key) -> tuple[PyTree, PyTree]:
        after, metrics = learner.update(eqx.combine(current, static), batch, key=k)
        return eqx.filter(after, eqx.is_array), metrics

    compiled = eqx.filter_jit(update)
    after, metrics = compiled(arrays, update_key)
    assert_same_structure(after, arrays, f"{name}.update: preserves the state's structure")
    assert_finite(metrics, f"{name}.update: metrics")
    assert_close(compiled(arrays, update_key), (after, metrics), 0.0, f"{name}.update: one key gives one update")
    if tolerances.eager is not None:
        assert_close(update(arrays, update_key), (after, metrics), tolerances.eager, f"{name}.update: jit = no jit")
