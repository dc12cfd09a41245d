"""Training: minibatches from a fresh permutation in every epoch, all on the device.

state, metrics = learner.update(state, data[order[position : position + batch_size]], key=...)
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from ..core import AbstractLearner
from ..results import BadInputError
from ..typing import Array, Int, Key, PyTree
from ._keeper import AbstractKeeper
from ._loop import LoopResult, run_loop


class DataPosition(NamedTuple):
    """Where a pass over the data stands.

    Attributes:
        order: the permutation of this epoch.
        offset: rows of it that were used.
        epoch: number of this epoch, counted from 0.
    """

    order: Int[Array, " rows"]
    offset: Int[Array, ""]
    epoch: Int[Array, ""]


class FitState(NamedTuple):
    """All that training carries from one update to the next.

    Attributes:
        learner: the learner's state: parameters, optimiser, counters.
        position: where the pass over the data stands.
    """

    learner: PyTree
    position: DataPosition


def fit(
    learner: AbstractLearner,
    data: PyTree,
    *,
    num_steps: int,
    batch_size: int,
    key: Key,
    every: int = 100,
    keeper: AbstractKeeper | None = None,
) -> LoopResult:
    """Train a learner.

    The rows that are left over at the end of an epoch, fewer than a batch, sit that epoch out; the next permutation
    mixes them in again.

    Args:
        learner: what to train.
        data: a tree of arrays with a common leading axis, held on the device.
        num_steps: number of updates.
        batch_size: rows in a batch.
        key: split for the first state, the permutations and the updates.
        every: updates in a compiled segment.
        keeper: watches between segments, for instance a `CheckpointKeeper`.

    Returns:
        The learner's last state, and the means of its metrics over each segment.

    Raises:
        BadInputError: the arrays differ in their number of rows, or there are fewer rows than a batch.
    """
    data = jax.tree.map(jnp.asarray, data)
    rows = {leaf.shape[0] if leaf.ndim else 0 for leaf in jax.tree.leaves(data)}
    if len(rows) != 1:
        raise BadInputError(
            f"Expected arrays with one common number of rows, got {sorted(rows)}. Give every array the same first axis."
        )
    num_rows = rows.pop()
    if not 1 <= batch_size <= num_rows:
        raise BadInputError(
            f"Expected a batch of 1 to {num_rows} rows (all the data), got {batch_size}. "
            "Choose a smaller batch or pass more data."
        )
    init_key, order_key, update_key = jax.random.split(key, 3)

    def begin(init_key: Key, order_key: Key) -> FitState:
        first = jax.random.permutation(jax.random.fold_in(order_key, 0), num_rows).astype(jnp.int32)
        zero = jnp.zeros((), jnp.int32)
        return FitState(learner.init(key=init_key), DataPosition(first, zero, zero))

    def body(state: FitState, args: PyTree, *, key: Key) -> tuple[FitState, PyTree]:
        learner, data, order_key = args
        position = _next_epoch_if_needed(state.position, batch_size, order_key)
        chosen = jax.lax.dynamic_slice(position.order, (position.offset,), (batch_size,))
        batch = jax.tree.map(lambda leaf: leaf[chosen], data)
        learner_state, metrics = learner.update(state.learner, batch, key=key)
        return FitState(learner_state, position._replace(offset=position.offset + batch_size)), metrics

    result = run_loop(
        body,
        # Compiled, because initialising eagerly costs seconds of dispatch.
        eqx.filter_jit(begin)(init_key, order_key),
        num_steps=num_steps,
        key=update_key,
        every=every,
        args=(learner, data, order_key),
        keeper=keeper,
    )
    return result._replace(state=result.state.learner)


def _next_epoch_if_needed(position: DataPosition, batch_size: int, order_key: Key) -> DataPosition:
    num_rows = position.order.shape[0]

    def shuffle(position: DataPosition) -> DataPosition:
        epoch = position.epoch + 1
        order = jax.random.permutation(jax.random.fold_in(order_key, epoch), num_rows).astype(position.order.dtype)
        return DataPosition(order, jnp.zeros_like(position.offset), epoch)

    return jax.lax.cond(position.offset + batch_size > num_rows, shuffle, lambda position: position, position)
