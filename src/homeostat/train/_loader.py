"""Loaders: which batch each update reads, from the device, from the host, or from a state of their own."""

import abc
import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Generic, TypeVar, final

import jax
import jax.numpy as jnp
import numpy as np

from ..results import BadInputError
from ..typing import Key, PyTree

LoaderState = TypeVar("LoaderState")
Batch = TypeVar("Batch")


class AbstractLoader(abc.ABC, Generic[LoaderState, Batch]):
    """Batches for the updates of a learner.

    An update's batch is made in compiled code, by `batch`, of up to three things: `arguments`, which stay on the
    device; what `read` gave for this update on the host; and a state, such as a replay buffer, that updates carry on.
    """

    def arguments(self) -> PyTree:
        """Arrays and modules on the device that every update reads and none changes."""
        return None

    def init(self, *, key: Key) -> LoaderState:
        """State before the first update; none by default."""
        return ()  # pyright: ignore[reportReturnType]

    def read(self, start: int, *, key: Key) -> Iterator[PyTree]:
        """What the updates from number `start` on read on the host: a tree of NumPy arrays for each, without an end.

        Updates whose trees have equal shapes share a program. The same start and key give the same trees.
        """
        return itertools.repeat(None)

    @staticmethod
    @abc.abstractmethod
    def batch(
        arguments: PyTree, read: PyTree, state: LoaderState, learner_state: PyTree, *, key: Key
    ) -> tuple[Batch, LoaderState]:
        """The batch of one update, and the state for the next; traced.

        Args:
            arguments: of this loader.
            read: this update's tree from `read`.
            state: of this loader.
            learner_state: of the learner, for loaders that act with what was learned.
            key: of this update.
        """

    def persistent(self, state: LoaderState) -> PyTree:
        """The part of the state that checkpoints hold; all of it by default."""
        return state

    def restored(self, initial: LoaderState, persistent: PyTree) -> LoaderState:
        """The state again from a new one of `init` and what a checkpoint held."""
        return persistent


@final
class InMemoryLoader(AbstractLoader[tuple[()], PyTree]):
    """Minibatches of rows on the device, from a fresh permutation in every epoch.

    The rows that are left over at the end of an epoch, fewer than a batch, are dropped from that epoch; the next
    permutation mixes them in again.

    Args:
        data: a tree of arrays with a common leading axis.
        batch_size: rows in a batch.
        order: gives the permutation of an epoch, counted from 0; drawn from the key of `fit` by default.

    Raises:
        BadInputError: the arrays differ in their number of rows, or there are fewer rows than a batch.
    """

    def __init__(self, data: PyTree, batch_size: int, order: Callable[[int], np.ndarray] | None = None):
        self._data = jax.tree.map(jnp.asarray, data)
        rows = {leaf.shape[0] if leaf.ndim else 0 for leaf in jax.tree.leaves(self._data)}
        if len(rows) != 1:
            raise BadInputError(
                f"Expected arrays with one common number of rows, got {sorted(rows)}. Give every array the same first "
                f"axis."
            )
        self._num_rows = rows.pop()
        if not 1 <= batch_size <= self._num_rows:
            raise BadInputError(
                f"Expected a batch of 1 to {self._num_rows} rows (all the data), got {batch_size}. "
                "Choose a smaller batch or pass more data."
            )
        self._batch_size, self._order = batch_size, order

    def arguments(self) -> PyTree:
        """The rows."""
        return self._data

    def read(self, start: int, *, key: Key) -> Iterator[np.ndarray]:
        """Row numbers."""
        epoch, number = divmod(start, self._num_rows // self._batch_size)
        while True:
            order = _permutation(key, epoch, self._num_rows) if self._order is None else self._order(epoch)
            order = np.asarray(order, np.int32)
            for first in range(number * self._batch_size, self._num_rows - self._batch_size + 1, self._batch_size):
                yield order[first : first + self._batch_size]
            epoch, number = epoch + 1, 0

    @staticmethod
    def batch(
        arguments: PyTree, read: Any, state: tuple[()], learner_state: PyTree, *, key: Key
    ) -> tuple[PyTree, tuple[()]]:
        return jax.tree.map(lambda leaf: leaf[read], arguments), state


@partial(jax.jit, static_argnums=2)
def _permutation(key: Key, epoch: Any, num_rows: int) -> jax.Array:
    return jax.random.permutation(jax.random.fold_in(key, epoch), num_rows)


@final
class StreamingLoader(AbstractLoader[tuple[()], PyTree]):
    """Batches read on the host, for instance from the disk, while the device works.

    Batches of few different shapes are compiled once for each shape.

    Args:
        batches: `batches(epoch, start)` gives the batches of an epoch in their order without the first `start`, each a
            tree of NumPy arrays; the same for the same arguments.
        num_batches: batches in an epoch.
    """

    def __init__(self, batches: Callable[[int, int], Iterator[PyTree]], num_batches: int):
        if num_batches < 1:
            raise BadInputError(f"Expected at least one batch in an epoch, got {num_batches}: choose a smaller batch.")
        self._batches, self._num_batches = batches, num_batches

    def read(self, start: int, *, key: Key) -> Iterator[PyTree]:
        """Batches."""
        epoch, number = divmod(start, self._num_batches)
        while True:
            for batch in self._batches(epoch, number):
                yield batch
                number += 1
            if number != self._num_batches:
                raise BadInputError(
                    f"Expected {self._num_batches} batches in every epoch, got {number} in epoch {epoch}: give the number "
                    f"that there are."
                )
            epoch, number = epoch + 1, 0

    @staticmethod
    def batch(
        arguments: None, read: PyTree, state: tuple[()], learner_state: PyTree, *, key: Key
    ) -> tuple[PyTree, tuple[()]]:
        return read, state


@final
class FullBatch(AbstractLoader[tuple[()], PyTree]):
    """The same data in every update.

    Args:
        data: any tree; None for learners that need no data.
    """

    def __init__(self, data: PyTree = None):
        self._data = data

    def arguments(self) -> PyTree:
        """The data."""
        return self._data

    @staticmethod
    def batch(
        arguments: PyTree, read: None, state: tuple[()], learner_state: PyTree, *, key: Key
    ) -> tuple[PyTree, tuple[()]]:
        return arguments, state
