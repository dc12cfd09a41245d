"""Sequences of any length that need not fit into memory: one interface over arrays, files and what is generated.

A sequence is x_1, a_1, x_2, ..., a_{T-1}, x_T: T steps of one shape, one action between every two of them if there are
actions, a time for every step if steps are not equally far apart, and for every number whether it was observed.
"""

import abc
import zlib
from collections.abc import Iterator, Sequence as Listed
from typing import NamedTuple, final

import numpy as np

from ..results import BadInputError
from ..typing import Any
from ._calendar import Calendar
from ._rows import checked_indices
from ._sequence_checks import SequenceParts, check_parts

_BLOCK_BYTES = 1 << 22
_WITNESSES = 16


class Sequence(NamedTuple):
    """One sequence, or a part of one, in memory.

    Attributes:
        values: T steps of any shape, shape (T, *shape); 0 where not observed.
        observed: which of the numbers were observed, booleans of the shape of `values`, or `None` if all were.
        times: when, shape (T,), in the unit of the data; rising. `None` if steps are equally far apart.
        actions: known inputs between the steps, shape (T - 1, *action_shape), or `None`.
    """

    values: np.ndarray
    observed: np.ndarray | None
    times: np.ndarray | None
    actions: np.ndarray | None


class AbstractSequences(abc.ABC):
    """Sequences whose steps have one shape and type, read on demand.

    Attributes:
        name: of the data in messages, usually the file.
        shape: of one step; a single number is (1,).
        lengths: steps of each sequence, whole numbers of at least 2.
        labels: name of each sequence: its file, its name in a table, or its number.
        action_shape: shape of one action, or `None` without actions.
        columns: names of the entries of a step, those of a table's columns; empty where entries have no names.
        categories: for each column what its whole numbers from 0 stand for; empty where entries are numbers.
        action_columns: a table's columns of known inputs, and the categories of each, which has an entry of the action for
            every one of them; without categories the column is one entry.
        calendar: what times count, where they were dates.
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype,
        lengths: np.ndarray,
        labels: tuple[str, ...],
        *,
        action_shape: tuple[int, ...] | None = None,
        timed: bool = False,
        columns: tuple[str, ...] = (),
        categories: tuple[tuple[str, ...], ...] = (),
        action_columns: tuple[tuple[str, tuple[str, ...]], ...] = (),
        calendar: Calendar | None = None,
    ):
        self.name, self.shape, self.dtype, self.lengths, self.labels = name, shape, dtype, lengths, labels
        self.action_shape, self.timed, self.columns = action_shape, timed, columns
        self.categories, self.action_columns, self.calendar = categories, action_columns, calendar

    def _take_over(self, other: "AbstractSequences") -> None:
        """A view is like what it is a view of, in all that it does not change."""
        told = (other.name, other.shape, other.dtype, other.lengths, other.labels)
        names = ("action_shape", "timed", "columns", "categories", "action_columns", "calendar")
        AbstractSequences.__init__(self, *told, **{name: getattr(other, name) for name in names})

    @abc.abstractmethod
    def read(self, index: int, start: int = 0, stop: int | None = None) -> Sequence:
        """Steps `start` to `stop` of one sequence, the whole of it by default."""

    def times(self, index: int) -> np.ndarray | None:
        """When the steps of one sequence were, in the unit of the data, or `None`; no observation is read if that can be."""
        return self.read(index).times

    def __len__(self) -> int:
        return self.lengths.size

    @property
    def num_steps(self) -> int:
        """Steps of all sequences together."""
        return int(self.lengths.sum())

    def select(self, indices: Any) -> "SelectedSequences":
        """A view of some of the sequences, such as one split; nothing is read."""
        return SelectedSequences(self, indices)

    def at_least(self, length: int) -> "SelectedSequences":
        """A view of the sequences with so many steps or more."""
        return self.select(np.flatnonzero(self.lengths >= length))

    def fingerprint(self) -> int:
        """A checksum of lengths and of some steps, to tell whether a file is still the same."""
        found = zlib.crc32(self.lengths.tobytes())
        for index in np.unique(np.linspace(0, len(self) - 1, _WITNESSES).astype(np.int64)).tolist():
            found = zlib.crc32(self.read(index, 0, min(_WITNESSES, int(self.lengths[index]))).values.tobytes(), found)
        return found

    def blocks(self) -> Iterator[Sequence]:
        """Every step once, a few megabytes at a time, for statistics; no block holds steps of two sequences."""
        step_bytes = max(1, int(np.prod(self.shape)) * self.dtype.itemsize)
        most = max(2, _BLOCK_BYTES // step_bytes)
        for index, length in enumerate(self.lengths.tolist()):
            for start in range(0, length, most):
                yield self.read(index, start, min(start + most, length))


def checked_part(sequences: AbstractSequences, index: int, start: int, stop: int | None) -> tuple[int, int]:
    """First step and step after the last of a part that exists."""
    if not 0 <= index < len(sequences):
        raise BadInputError(
            f"Expected the number of a sequence from 0 to {len(sequences) - 1} in {sequences.name}, got {index}."
        )
    length = int(sequences.lengths[index])
    end = length if stop is None else stop
    if not 0 <= start < end <= length:
        raise BadInputError(
            f"Expected steps from 0 up to {length} in sequence {sequences.labels[index]!r} of {sequences.name}, got "
            f"start={start} and stop={stop}."
        )
    return start, end


@final
class Sequences(AbstractSequences):
    """Sequences in arrays, which may be memory-mapped.

    What is missing is NaN in real numbers, or false in `observed`; with `observed`, what counts as observed must be
    finite.
    """

    def __init__(
        self,
        values: np.ndarray | Listed[Any],
        *,
        lengths: Any = None,
        observed: np.ndarray | Listed[Any] | None = None,
        times: np.ndarray | Listed[Any] | None = None,
        actions: np.ndarray | Listed[Any] | None = None,
        labels: Listed[str] | None = None,
        columns: Listed[str] = (),
        categories: Listed[tuple[str, ...]] = (),
        action_columns: Listed[tuple[str, tuple[str, ...]]] = (),
        calendar: Calendar | None = None,
        name: str = "the sequences",
    ):
        """Check everything once, reading every number.

        Args:
            values: arrays of shape (T_i, *shape), or one padded array of shape (n, T, *shape).
            lengths: T_i of a padded array; T if left out, or where `observed` ends.
            observed: booleans like `values`, or one for each step. A whole step that was not observed may lie anywhere;
                those at the end of a padded array without `lengths` are beyond the end.
            times: for each step, rising: arrays of shape (T_i,), a padded array (n, T), or one (T,) for all.
            actions: arrays of shape (T_i - 1, *action_shape), or a padded array (n, T - 1, *action_shape).
            labels: what the sequences are called; their numbers if left out.
            columns: what the entries of a step are called, if they have names.
            categories: what the whole numbers of each entry stand for, if they are categories.
            action_columns: names and categories of known inputs, if they have any.
            calendar: what times count, if they were dates.

        Raises:
            BadInputError: a sequence of less than two steps or without any observed number, times that do not rise, a
                mask or actions that do not fit, numbers that are not finite, different shapes, or another number of
                columns than entries.
        """
        parts = SequenceParts.of(name, values, lengths, observed, times, actions, labels)
        check_parts(parts, columns if parts.values[0].shape[1:] == (len(columns),) else ())
        self._parts = parts
        super().__init__(
            name,
            parts.values[0].shape[1:],
            parts.values[0].dtype,
            np.array([len(part) for part in parts.values], np.int64),
            parts.labels,
            action_shape=None if parts.actions is None else parts.actions[0].shape[1:],
            timed=parts.times is not None,
            columns=tuple(columns),
            categories=tuple(categories),
            action_columns=tuple(action_columns),
            calendar=calendar,
        )
        for names in (self.columns, self.categories):
            if names and self.shape != (len(names),):
                raise BadInputError(
                    f"Expected a column for each entry of a step of {name}, got {len(names)} for the shape {self.shape}: "
                    f"pass as many."
                )

    def times(self, index: int) -> np.ndarray | None:
        checked_part(self, index, 0, None)
        return None if self._parts.times is None else np.array(self._parts.times[index])

    def read(self, index: int, start: int = 0, stop: int | None = None) -> Sequence:
        first, last = checked_part(self, index, start, stop)
        parts = self._parts
        values = np.array(parts.values[index][first:last])
        observed = None
        if parts.observed is not None:
            mask = np.asarray(parts.observed[index][first:last]).astype(bool)
            observed = np.broadcast_to(mask.reshape(mask.shape + (1,) * (values.ndim - mask.ndim)), values.shape).copy()
        elif values.dtype.kind == "f":
            observed = ~np.isnan(values)
        if observed is not None:
            values[~observed] = 0
            observed = None if observed.all() else observed
        times = None if parts.times is None else np.array(parts.times[index][first:last])
        actions = None if parts.actions is None else np.array(parts.actions[index][first : last - 1])
        return Sequence(values, observed, times, actions)


@final
class SelectedSequences(AbstractSequences):
    """Some sequences of others, in an order of their own."""

    def __init__(self, sequences: AbstractSequences, indices: Any):
        self.sequences, self.indices = sequences, checked_indices(indices, len(sequences)).astype(np.int64)
        self._take_over(sequences)
        self.lengths = sequences.lengths[self.indices]
        self.labels = tuple(sequences.labels[index] for index in self.indices)

    def times(self, index: int) -> np.ndarray | None:
        checked_part(self, index, 0, None)
        return self.sequences.times(int(self.indices[index]))

    def read(self, index: int, start: int = 0, stop: int | None = None) -> Sequence:
        first, last = checked_part(self, index, start, stop)
        return self.sequences.read(int(self.indices[index]), first, last)
