"""Word counts as rows: only those above zero are stored."""

from typing import final

import numpy as np

from ..results import BadInputError
from ..typing import Any
from ._rows import AbstractRows, checked_indices


@final
class SparseRows(AbstractRows):
    """Word counts of documents, of which only those above zero are stored; `read` makes dense rows.

    Row i has `counts[k]` times the word `columns[k]`, for k from `starts[i]` up to `starts[i + 1]`.

    Attributes:
        starts: whole numbers of shape (rows + 1,).
        columns: word numbers.
        counts: how often.
        num_columns: size of the vocabulary.
    """

    def __init__(
        self, starts: np.ndarray, columns: np.ndarray, counts: np.ndarray, num_columns: int, name: str = "the counts"
    ):
        """Check that the three arrays fit together."""
        consistent = (
            starts.ndim == columns.ndim == counts.ndim == 1
            and starts.size >= 1
            and starts[0] == 0
            and starts[-1] == columns.size == counts.size
            and bool(np.all(np.diff(starts) >= 0))
            and (columns.size == 0 or (int(columns.min()) >= 0 and int(columns.max()) < num_columns))
        )
        if not consistent:
            raise BadInputError(
                f"Expected sparse rows in {name} whose starts rise from 0 to the number of stored counts and whose "
                f"columns lie below {num_columns}; got {starts.size} starts, {columns.size} columns, {counts.size} counts."
            )
        self.starts, self.columns, self.counts, self.num_columns = starts, columns, counts, num_columns
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.num_columns,)

    @property
    def dtype(self) -> np.dtype:
        return self.counts.dtype

    @property
    def num_rows(self) -> int:
        return self.starts.size - 1

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
        dense[rows, self.columns[stored]] = self.counts[stored]
        return dense

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All rows, dense."""
        dense = self.read(np.arange(self.num_rows))
        return dense if dtype is None else dense.astype(dtype)
