"""Sequences of any length that need not fit into memory: one interface over arrays, files and what is generated.

A sequence is x_1, a_1, x_2, ..., a_{T-1}, x_T: T steps of one shape, one action between every two of them if there are
actions, a time for every step if steps are not equally far apart, and for every number whether it was observed.
"""

import abc
from collections.abc import Iterator, Sequence as Listed
from typing import NamedTuple, final

import numpy as np

from ..results import BadInputError
from ..typing import Any
from ._rows import checked_indices
from ._sequence_checks import SequenceParts, check_parts, expect_same

_BLOCK_BYTES = 1 << 22


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
    """Sequences whose steps have one shape and type, read on demand."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Name of the data in messages, usually the file."""

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one step; a single number is (1,)."""

    @property
    @abc.abstractmethod
    def dtype(self) -> np.dtype:
        """Type of the numbers."""

    @property
    @abc.abstractmethod
    def lengths(self) -> np.ndarray:
        """Steps of each sequence, whole numbers of at least 2."""

    @property
    @abc.abstractmethod
    def labels(self) -> tuple[str, ...]:
        """Name of each sequence: its file, its name in a table, or its number."""

    @property
    @abc.abstractmethod
    def action_shape(self) -> tuple[int, ...] | None:
        """Shape of one action, or `None` without actions."""

    @property
    @abc.abstractmethod
    def timed(self) -> bool:
        """Whether steps carry times."""

    @abc.abstractmethod
    def read(self, index: int, start: int = 0, stop: int | None = None) -> Sequence:
        """Steps `start` to `stop` of one sequence, the whole of it by default."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the entries of a step, those of a table's columns; empty where entries have no names."""
        return ()

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

    def blocks(self) -> Iterator[Sequence]:
        """Every step once, a few megabytes at a time, for statistics; no block holds steps of two sequences."""
        step_bytes = max(1, int(np.prod(self.shape)) * self.dtype.itemsize)
        most = max(2, _BLOCK_BYTES // step_bytes)
        for index, length in enumerate(self.lengths.tolist()):
            for start in range(0, length, most):
                yield self.read(index, start, min(start + most, length))


def checked_part(sequences: AbstractSequences, index: int, start: int, stop: int | None) -> tuple[int, int]:
    """First step and step after the last of a part that exists.

    Raises:
        BadInputError: no such sequence, or no such steps.
    """
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
            name: what messages call the data.

        Raises:
            BadInputError: a sequence of less than two steps or without any observed number, times that do not rise, a
                mask or actions that do not fit, numbers that are not finite, different shapes, or another number of
                columns than entries.
        """
        self._name = name
        parts = SequenceParts.of(name, values, lengths, observed, times, actions, labels)
        check_parts(parts)
        self._parts = parts
        self._lengths = np.array([len(part) for part in parts.values], np.int64)
        self._shape = parts.values[0].shape[1:]
        self._action_shape = None if parts.actions is None else parts.actions[0].shape[1:]
        self._columns = tuple(columns)
        expect_same(
            not self._columns or self._shape == (len(self._columns),),
            f"a column for each entry of a step of {name}",
            f"{len(self._columns)} for the shape {self._shape}",
            "pass as many",
        )

    @property
    def name(self) -> str:
        return self._name

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def dtype(self) -> np.dtype:
        return self._parts.values[0].dtype

    @property
    def lengths(self) -> np.ndarray:
        return self._lengths

    @property
    def labels(self) -> tuple[str, ...]:
        return self._parts.labels

    @property
    def action_shape(self) -> tuple[int, ...] | None:
        return self._action_shape

    @property
    def timed(self) -> bool:
        return self._parts.times is not None

    @property
    def columns(self) -> tuple[str, ...]:
        return self._columns

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
    """Some sequences of others, in an order of their own.

    Attributes:
        sequences: where they come from.
        indices: their numbers there.
    """

    def __init__(self, sequences: AbstractSequences, indices: Any):
        """Check that the numbers are sequences."""
        self.sequences = sequences
        self.indices = checked_indices(indices, len(sequences)).astype(np.int64)
        self._lengths = sequences.lengths[self.indices]

    @property
    def name(self) -> str:
        return self.sequences.name

    @property
    def shape(self) -> tuple[int, ...]:
        return self.sequences.shape

    @property
    def dtype(self) -> np.dtype:
        return self.sequences.dtype

    @property
    def lengths(self) -> np.ndarray:
        return self._lengths

    @property
    def labels(self) -> tuple[str, ...]:
        every = self.sequences.labels
        return tuple(every[index] for index in self.indices)

    @property
    def action_shape(self) -> tuple[int, ...] | None:
        return self.sequences.action_shape

    @property
    def timed(self) -> bool:
        return self.sequences.timed

    @property
    def columns(self) -> tuple[str, ...]:
        return self.sequences.columns

    def times(self, index: int) -> np.ndarray | None:
        checked_part(self, index, 0, None)
        return self.sequences.times(int(self.indices[index]))

    def read(self, index: int, start: int = 0, stop: int | None = None) -> Sequence:
        first, last = checked_part(self, index, start, stop)
        return self.sequences.read(int(self.indices[index]), first, last)


def require_step_shape(sequences: AbstractSequences, shape: tuple[int, ...], *, of: str) -> None:
    """Check that steps have the shape that something was made for.

    Raises:
        BadInputError: the shapes differ.
    """
    expect_same(
        sequences.shape == tuple(shape),
        f"steps of shape {tuple(shape)}, as {of} was made for",
        f"steps of shape {sequences.shape} in {sequences.name}",
        "pass data with the same columns in the same order",
    )
