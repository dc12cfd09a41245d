"""What methods cost: learnable numbers, and seconds of compiled functions that take turns."""

import time
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ..core import AbstractLearner
from ..typing import Array, Float, Key, PyTree


def count_weights(build: Callable[[], PyTree]) -> int:
    """Number of learnable numbers of what `build` gives, without building it."""
    leaves = jax.tree.leaves(eqx.filter_eval_shape(build))
    shapes = [leaf for leaf in leaves if isinstance(leaf, jax.ShapeDtypeStruct)]
    return sum(leaf.size for leaf in shapes if jnp.issubdtype(leaf.dtype, jnp.inexact))


def take_turns(
    functions: Sequence[Callable[[], PyTree]], repeats: int, advance: Callable[[], None] = lambda: None
) -> Float[np.ndarray, "repeats functions"]:
    """Wall-clock seconds of compiled functions that take turns, so that a busy machine slows all alike.

    Each is called once before, for its compilation.

    Args:
        functions: what is timed; their results are waited for.
        repeats: turns.
        advance: called after each call, to move a progress bar.
    """
    seconds = np.empty((repeats, len(functions)))
    for function in functions:
        jax.block_until_ready(function())
        advance()
    for turn in range(repeats):
        for place, function in enumerate(functions):
            begin = time.perf_counter()
            jax.block_until_ready(function())
            seconds[turn, place] = time.perf_counter() - begin
            advance()
    return seconds


def median_seconds(function: Callable[[], PyTree], *, repeats: int = 5) -> float:
    """Median wall-clock seconds of a compiled function, after one call that does not count."""
    return float(np.median(take_turns([function], repeats)))


def update_seconds(
    learners: Sequence[Callable[[], AbstractLearner]], batch: PyTree, *, key: Key, updates: int = 10, repeats: int = 7
) -> Float[np.ndarray, " learners"]:
    """Median seconds of one update of each learner; they take turns.

    Args:
        learners: build what is timed.
        batch: that every update learns from.
        key: for first states and updates.
        updates: in one measurement.
        repeats: measurements of each.
    """

    def prepared(build: Callable[[], AbstractLearner]) -> Callable[[], Array]:
        learner = build()
        arrays, static = eqx.partition(eqx.filter_jit(learner.init)(key=key), eqx.is_array)

        @eqx.filter_jit
        def several(learner: AbstractLearner, arrays: PyTree, batch: PyTree, key: Key) -> PyTree:
            def one(arrays: PyTree, key: Key) -> tuple[PyTree, PyTree]:
                state, metrics = learner.update(eqx.combine(arrays, static), batch, key=key)
                return eqx.filter(state, eqx.is_array), metrics

            return jax.lax.scan(one, arrays, jr.split(key, updates))[1]

        return lambda: several(learner, arrays, batch, key)

    seconds = take_turns([prepared(build) for build in learners], repeats)
    return np.median(seconds, axis=0) / updates
