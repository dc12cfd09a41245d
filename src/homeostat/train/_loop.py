"""A compiled loop that a killed process can continue to the same bits.

    state_{t+1}, metrics_t = body(state_t, args, key=fold_in(key, t))

Steps are scanned in segments of fixed length. The segments' boundaries depend only on the number of steps and the
length of a segment, never on where a process was interrupted, so the compiled programs are the same with and without a
resume.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..results import BadInputError
from ..typing import Key, PyTree
from ._keeper import AbstractKeeper, Forgetful, LoopCheckpoint, SegmentReport


class LoopResult(NamedTuple):
    """What a loop returns.

    Attributes:
        state: the state after the last step.
        history: a record like the body's metrics; each field is an array with the mean over each segment.
        steps: the step number at the end of each segment, matching `history`.
    """

    state: PyTree
    history: Any
    steps: np.ndarray


def run_loop(
    body: Callable[..., tuple[PyTree, Any]],
    state: PyTree,
    *,
    num_steps: int,
    key: Key,
    every: int = 100,
    args: PyTree = None,
    keeper: AbstractKeeper | None = None,
) -> LoopResult:
    """Iterate `body`, compiled, in segments.

    Args:
        body: called as `body(state, args, key=...)` inside `scan`; returns the new state and a `NamedTuple` of scalars.
        state: any tree of arrays and modules. It is copied: the caller's arrays stay valid.
        num_steps: number of steps.
        key: random key; step t uses `fold_in(key, t)`.
        every: steps in a segment.
        args: what the body reads only.
        keeper: watches between segments (default: nobody does).

    Returns:
        The last state and the segments' means.

    Raises:
        BadInputError: a number is out of range, the metrics are not scalars, or the body changes the state's structure.
    """
    if num_steps < 1 or every < 1:
        raise BadInputError(
            f"Expected at least one step and at least one step in a segment, got num_steps={num_steps} and "
            f"every={every}. Pass positive numbers."
        )
    keeper = Forgetful() if keeper is None else keeper
    state = jax.tree.map(lambda leaf: jnp.asarray(leaf) if isinstance(leaf, np.ndarray | np.generic) else leaf, state)
    # Copied, because segments donate their input; and without weak types, which a checkpoint does not keep.
    state = jax.tree.map(lambda leaf: _strong(jnp.copy(leaf)) if eqx.is_array(leaf) else leaf, state)
    metrics = _check(body, state, args, key)

    ends = np.append(np.arange(every, num_steps, every), num_steps)
    history = jax.tree.map(lambda leaf: np.full(len(ends), np.nan, leaf.dtype), metrics)
    found = keeper.restore(LoopCheckpoint(state, key, 0, history))
    step = 0
    if found is not None:
        state, step = found.state, int(found.step)
        history = jax.tree.map(np.array, found.history)  # a writable copy
    dynamic, static = eqx.partition(state, eqx.is_array)
    for index, end in enumerate(ends):
        if end <= step:
            continue
        start = jnp.asarray(step, jnp.int32)
        dynamic, means = _segment((body, static, args, key, start, int(end) - step), dynamic)
        step = int(end)
        means = jax.tree.map(np.asarray, means)
        for slot, mean in zip(jax.tree.leaves(history), jax.tree.leaves(means), strict=True):
            slot[index] = mean
        report = SegmentReport(step, num_steps, jax.tree.map(float, means))
        now = dynamic, step
        keeper.after_segment(report, lambda now=now: LoopCheckpoint(eqx.combine(now[0], static), key, now[1], history))
    return LoopResult(eqx.combine(dynamic, static), history, ends)


@eqx.filter_jit(donate="all-except-first")
def _segment(fixed: tuple[Any, ...], dynamic: PyTree) -> tuple[PyTree, Any]:
    body, static, args, key, start, length = fixed

    def one(dynamic: PyTree, step: Any) -> tuple[PyTree, Any]:
        state, metrics = body(eqx.combine(dynamic, static), args, key=jax.random.fold_in(key, step))
        return jax.tree.map(_strong, eqx.filter(state, eqx.is_array)), metrics

    dynamic, metrics = jax.lax.scan(one, dynamic, start + jnp.arange(length, dtype=jnp.int32))
    return dynamic, jax.tree.map(lambda values: jnp.mean(values, axis=0), metrics)


def _strong(leaf: Any) -> Any:
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return leaf
    return jax.lax.convert_element_type(leaf, leaf.dtype)


def _check(body: Callable[..., Any], state: PyTree, args: PyTree, key: Key) -> Any:
    """Shapes of the segment means, after checking what the body returns."""
    after, metrics = eqx.filter_eval_shape(body, state, args, key=key)
    before = jax.tree_util.tree_flatten_with_path(eqx.filter(state, eqx.is_array))[0]
    later = jax.tree_util.tree_flatten_with_path(
        eqx.filter(after, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    )[0]
    expected = [f"{jax.tree_util.keystr(path)}: {leaf.dtype}{list(leaf.shape)}" for path, leaf in before]
    got = [f"{jax.tree_util.keystr(path)}: {leaf.dtype}{list(leaf.shape)}" for path, leaf in later]
    if expected != got:
        different = next((f"{a} became {b}" for a, b in zip(expected, got, strict=False) if a != b), "other leaves")
        raise BadInputError(
            f"Expected the body of a loop to return a state with the same arrays, got a change: {different}. "
            "Give the state its final structure before the loop (numbers that change must be arrays)."
        )
    for path, leaf in jax.tree_util.tree_flatten_with_path(metrics)[0]:
        if getattr(leaf, "shape", None) != ():
            raise BadInputError(
                f"Expected metrics that are scalar arrays, got {leaf} for {jax.tree_util.keystr(path)}. "
                "Reduce it to a number inside the body."
            )
    return jax.eval_shape(lambda m: jax.tree.map(lambda leaf: jnp.mean(leaf[None], axis=0), m), metrics)
