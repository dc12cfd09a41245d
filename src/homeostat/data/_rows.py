"""Rows of data that need not fit into memory: one interface over arrays, files, sparse counts and image folders."""

import abc
import zlib
from collections.abc import Iterator
from typing import final

import numpy as np

from ..results import BadInputError
from ..typing import Any
from ._order import permutation

_WITNESSES = 64


class AbstractRows(abc.ABC):
    """A sequence of rows of one shape and type, read on demand.

    A row is one observation: a vector of features, an image, a document's word counts.

    Attributes:
        name: of the data in messages, usually the file.
        columns: names of the entries of a row, those of a table's columns; empty where entries have no names.
        categories: for each column what its whole numbers from 0 stand for; empty where entries are numbers.
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype,
        num_rows: int,
        *,
        columns: tuple[str, ...] = (),
        categories: tuple[tuple[str, ...], ...] = (),
    ):
        self.name, self.shape, self.dtype, self.num_rows = name, shape, dtype, num_rows
        self.columns, self.categories = columns, categories

    @abc.abstractmethod
    def read(self, indices: Any) -> np.ndarray:
        """The rows of these numbers, in this order, as an array of shape (len(indices), *shape) in memory."""

    def __len__(self) -> int:
        return self.num_rows

    def select(self, indices: Any) -> "SelectedRows":
        """A view of some of the rows, such as one split; nothing is read."""
        return SelectedRows(self, indices)

    def fingerprint(self) -> int:
        """A checksum of the number of rows and of some of them, to tell whether a file is still the same."""
        some = np.unique(np.linspace(0, self.num_rows - 1, _WITNESSES).astype(np.int64))
        return zlib.crc32(self.read(some).tobytes(), self.num_rows % 2**32)

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
    """Row numbers as a vector of whole numbers in 0..num_rows-1."""
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
    """Rows of an array in memory, or of a memory-mapped file, whose pages are read when a row is."""

    def __init__(
        self,
        array: np.ndarray,
        name: str = "the array",
        *,
        columns: tuple[str, ...] = (),
        categories: tuple[tuple[str, ...], ...] = (),
    ):
        if array.dtype.kind not in "buif":
            raise BadInputError(
                f"Expected numbers in {name}, got the type {array.dtype}: convert them to whole or real numbers."
            )
        if array.ndim < 2 or array.size == 0:
            raise BadInputError(
                f"Expected rows of at least one number in {name} (two axes or more, the first of them rows), got the "
                f"shape {array.shape}: reshape to (rows, features)."
            )
        if any(names and array.shape[1:] != (len(names),) for names in (columns, categories)):
            raise BadInputError(
                f"Expected a name for each entry of a row of {name}, got {len(columns or categories)} for the shape "
                f"{array.shape[1:]}: pass as many."
            )
        super().__init__(name, array.shape[1:], array.dtype, array.shape[0], columns=columns, categories=categories)
        self.array = array

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
    """Some rows of others, in an order of their own."""

    def __init__(self, rows: AbstractRows, indices: Any):
        self.rows, self.indices = rows, checked_indices(indices, rows.num_rows)
        names = {"columns": rows.columns, "categories": rows.categories}
        super().__init__(rows.name, rows.shape, rows.dtype, self.indices.size, **names)

    def read(self, indices: Any) -> np.ndarray:
        return self.rows.read(self.indices[checked_indices(indices, self.num_rows)])


@final
class SparseRows(AbstractRows):
    """Word counts of documents, of which only those above zero are stored; `read` makes dense rows.

    Row i has `counts[k]` times the word `words[k]`, for k from `starts[i]` up to `starts[i + 1]`.

    Attributes:
        starts: whole numbers of shape (rows + 1,).
        words: word numbers.
        counts: how often.
        num_columns: size of the vocabulary.
    """

    def __init__(
        self, starts: np.ndarray, words: np.ndarray, counts: np.ndarray, num_columns: int, name: str = "the counts"
    ):
        consistent = (
            starts.ndim == words.ndim == counts.ndim == 1
            and starts.size >= 1
            and starts[0] == 0
            and starts[-1] == words.size == counts.size
            and bool(np.all(np.diff(starts) >= 0))
            and (words.size == 0 or (int(words.min()) >= 0 and int(words.max()) < num_columns))
        )
        if not consistent:
            raise BadInputError(
                f"Expected sparse rows in {name} whose starts rise from 0 to the number of stored counts and whose "
                f"words lie below {num_columns}; got {starts.size} starts, {words.size} words, {counts.size} counts."
            )
        self.starts, self.words, self.counts, self.num_columns = starts, words, counts, num_columns
        super().__init__(name, (num_columns,), counts.dtype, starts.size - 1)

    def totals(self) -> np.ndarray:
        """Words of each document, a vector of whole numbers."""
        sums = np.concatenate([[0], np.cumsum(self.counts, dtype=np.int64)])
        return sums[self.starts[1:]] - sums[self.starts[:-1]]

    def read(self, indices: Any) -> np.ndarray:
        wanted = checked_indices(indices, self.num_rows)
        first, last = self.starts[wanted].astype(np.int64), self.starts[wanted + 1].astype(np.int64)
        lengths = last - first
        rows = np.repeat(np.arange(wanted.size), lengths)
        before = np.cumsum(lengths) - lengths
        stored = np.arange(int(lengths.sum())) - np.repeat(before - first, lengths)
        dense = np.zeros((wanted.size, self.num_columns), self.dtype)
        dense[rows, self.words[stored]] = self.counts[stored]
        return dense

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All rows, dense."""
        dense = self.read(np.arange(self.num_rows))
        return dense if dtype is None else dense.astype(dtype)
