"""Rows of data that need not fit into memory: one interface over arrays, files, sparse counts and image folders."""

import abc
from collections.abc import Iterator
from typing import final

import numpy as np

from ..results import BadInputError
from ..typing import Any
from ._order import permutation


class AbstractRows(abc.ABC):
    """A sequence of rows of one shape and type, read on demand.

    A row is one observation: a vector of features, an image, a document's word counts.
    """

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Name of the data in messages, usually the file."""

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""

    @property
    @abc.abstractmethod
    def dtype(self) -> np.dtype:
        """Type of the numbers."""

    @property
    @abc.abstractmethod
    def num_rows(self) -> int:
        """How many rows there are."""

    @abc.abstractmethod
    def read(self, indices: Any) -> np.ndarray:
        """The rows of these numbers, in this order, as an array of shape (len(indices), *shape) in memory."""

    def __len__(self) -> int:
        return self.num_rows

    def select(self, indices: Any) -> "SelectedRows":
        """A view of some of the rows, such as one split; nothing is read."""
        return SelectedRows(self, indices)

    def num_batches(self, batch_size: int) -> int:
        """Batches in one epoch of `batches`."""
        if not 1 <= batch_size <= self.num_rows:
            raise BadInputError(
                f"Expected a batch size from 1 to the {self.num_rows} rows of {self.name}, got {batch_size}."
            )
        return self.num_rows // batch_size

    def batches(self, batch_size: int, *, seed: int, epoch: int = 0, start: int = 0) -> Iterator[np.ndarray]:
        """One epoch of shuffled batches, all of `batch_size` rows, so that a compiled step sees one shape.

        The rows that do not fill a last batch are left out of this epoch; the next epoch leaves out others. The order
        depends on (number of rows, seed, epoch) alone, on every machine: a run that stopped after k batches goes on
        with `start=k` and sees what it would have seen.

        Args:
            batch_size: rows in a batch.
            seed: of the whole run.
            epoch: number of the pass over the data, from 0.
            start: batches of this epoch to skip; they are not read.
        """
        count = self.num_batches(batch_size)
        if not 0 <= start <= count:
            raise BadInputError(f"Expected a start from 0 to the {count} batches of an epoch, got {start}.")
        order = permutation(self.num_rows, seed, epoch)
        return (self.read(order[batch_size * i : batch_size * (i + 1)]) for i in range(start, count))

    def chunks(self, chunk_size: int) -> Iterator[np.ndarray]:
        """All rows once, in their order; the last chunk may be shorter."""
        if chunk_size < 1:
            raise BadInputError(f"Expected a chunk of at least 1 row, got {chunk_size}.")
        starts = range(0, self.num_rows, chunk_size)
        return (self.read(np.arange(first, min(first + chunk_size, self.num_rows))) for first in starts)


def checked_indices(indices: Any, num_rows: int) -> np.ndarray:
    """Row numbers as a vector of whole numbers in 0..num_rows-1.

    Raises:
        BadInputError: a number that is no row.
    """
    found = np.atleast_1d(np.asarray(indices))
    if found.size == 0:
        return found.astype(np.int64)
    if found.ndim != 1 or found.dtype.kind not in "iu" or found.min() < 0 or found.max() >= num_rows:
        raise BadInputError(
            f"Expected whole row numbers from 0 to {num_rows - 1} in a vector, got {found.dtype} of shape {found.shape} "
            f"between {found.min()} and {found.max()}."
        )
    return found


@final
class ArrayRows(AbstractRows):
    """Rows of an array in memory, or of a memory-mapped file, whose pages are read when a row is.

    Attributes:
        array: first axis rows.
    """

    def __init__(self, array: np.ndarray, name: str = "the array"):
        """Check that the array has rows of numbers."""
        if array.dtype.kind not in "buif":
            raise BadInputError(
                f"Expected numbers in {name}, got the type {array.dtype}: convert them to whole or real numbers."
            )
        if array.ndim < 2 or array.size == 0:
            raise BadInputError(
                f"Expected rows of at least one number in {name} (two axes or more, the first of them rows), got the "
                f"shape {array.shape}: reshape to (rows, features)."
            )
        self.array = array
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape[1:]

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    @property
    def num_rows(self) -> int:
        return self.array.shape[0]

    def read(self, indices: Any) -> np.ndarray:
        wanted = checked_indices(indices, self.num_rows)
        if not isinstance(self.array, np.memmap):
            return self.array[wanted]
        # In the order of the file, so that a disk reads forward.
        order = np.argsort(wanted, kind="stable")
        rows = np.empty((wanted.size, *self.shape), self.dtype)
        rows[order] = self.array[wanted[order]]
        return rows


@final
class SelectedRows(AbstractRows):
    """Some rows of others, in an order of their own.

    Attributes:
        rows: where they come from.
        indices: their numbers there.
    """

    def __init__(self, rows: AbstractRows, indices: Any):
        """Check that the numbers are rows."""
        self.rows = rows
        self.indices = checked_indices(indices, rows.num_rows)

    @property
    def name(self) -> str:
        return self.rows.name

    @property
    def shape(self) -> tuple[int, ...]:
        return self.rows.shape

    @property
    def dtype(self) -> np.dtype:
        return self.rows.dtype

    @property
    def num_rows(self) -> int:
        return self.indices.size

    def read(self, indices: Any) -> np.ndarray:
        return self.rows.read(self.indices[checked_indices(indices, self.num_rows)])
