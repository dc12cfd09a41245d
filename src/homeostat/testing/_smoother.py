"""Laws of smoothers."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from ..core import AbstractSequentialModel, AbstractSmoother
from ..typing import Action, Array, Key, PyTree
from ._assertions import assert_close, assert_finite, check_transforms
from ._tolerances import Tolerances


def check_smoother(
    smoother: AbstractSmoother,
    model: AbstractSequentialModel,
    observations: Array,
    actions: Action,
    per_step: Callable[[PyTree], PyTree],
    *,
    key: Key,
    tolerances: Tolerances = Tolerances(),
) -> None:
    """Run every law of `AbstractSmoother` on `smoother`.

    Laws: what is found is finite, has a leading time axis and obeys the transform laws, also where the first observation is
    missing; one key gives one answer; a smoother that is not stochastic gives the same with any key and with none, and a last
    step at which nothing was observed leaves the beliefs about the steps before it as they were.

    Args:
        smoother: what to check.
        model: a model that it can smooth.
        observations: x_1, ..., x_T, real numbers with a leading time axis.
        actions: a_1, ..., a_{T-1}, or None.
        per_step: what the record says of every state (means, say), with a leading time axis.
    """
    name = type(smoother).__name__
    time = observations.shape[0]

    def smoothed(x: Array, k: Key | None = key) -> PyTree:
        steps = jax.tree.map(lambda leaf: leaf[: x.shape[0] - 1], actions)
        return per_step(smoother.smooth(model, x, steps, key=k, throw=False))

    gap = observations.at[0].set(jnp.nan)
    compiled = check_transforms(smoothed, (observations,), (gap,), tolerances, f"{name}.smooth")
    whole = compiled(observations)
    assert_finite((whole, compiled(gap)), f"{name}.smooth: beliefs, also where an observation is missing")
    for leaf in jax.tree.leaves(whole):
        if leaf.shape[:1] != (time,):
            raise AssertionError(f"{name}.smooth: expected a leading time axis of {time}, got shape {leaf.shape}.")
    if smoother.stochastic:
        return
    without = eqx.filter_jit(lambda x: smoothed(x, None))
    assert_close(without(observations), whole, 0.0, f"{name}.smooth: the same without a key")
    shorter, longer = without(observations[:-1]), without(observations.at[-1].set(jnp.nan))
    before = jax.tree.map(lambda leaf: leaf[:-1], longer)
    assert_close(before, shorter, tolerances.algebra, f"{name}.smooth: a step without observation changes nothing")
