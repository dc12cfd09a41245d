"""Sequences of different lengths in batches of few shapes, so that a compiled step is compiled a few times only."""

import abc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np

from ..results import BadInputError
from ._order import permutation, uniforms
from ._sequences import AbstractSequences, Sequence


class PaddedBatch(NamedTuple):
    """Sequences, or pieces of them, side by side, filled up to one length.

    Attributes:
        values: shape (batch, T, *shape); 0 where nothing was observed and beyond the end.
        observed: booleans of that shape; false where nothing was observed and beyond the end.
        lengths: steps of each piece, shape (batch,).
        times: shape (batch, T), or `None`; beyond the end they go on by the last difference, so that no two are equal.
        actions: shape (batch, T - 1, *action_shape), or `None`; 0 beyond the end.
        indices: numbers of the sequences, shape (batch,).
        starts: where in them the pieces begin, shape (batch,).
        num_rows: rows that count; those after them repeat the first to keep the shape.
    """

    values: np.ndarray
    observed: np.ndarray
    lengths: np.ndarray
    times: np.ndarray | None
    actions: np.ndarray | None
    indices: np.ndarray
    starts: np.ndarray
    num_rows: int

    @property
    def steps(self) -> np.ndarray:
        """Which steps belong to the piece, booleans of shape (batch, T)."""
        return np.arange(self.values.shape[1])[None, :] < self.lengths[:, None]

    @property
    def elapsed(self) -> np.ndarray | None:
        """Time from each step to the next, shape (batch, T - 1), or `None` without times."""
        return None if self.times is None else np.diff(self.times, axis=1)


class Pieces(NamedTuple):
    """Parts of sequences.

    Attributes:
        stops: steps after the last.
        padded: length that each is filled up to.
    """

    indices: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    padded: np.ndarray


class AbstractCropping(abc.ABC):
    """Which parts of the sequences an epoch consists of."""

    @abc.abstractmethod
    def pieces(self, lengths: np.ndarray, *, seed: int, epoch: int) -> Pieces:
        """The parts, of which there are equally many in every epoch."""

    def shapes(self, lengths: np.ndarray) -> tuple[int, ...]:
        """Lengths that batches have, rising; each is compiled once."""
        return tuple(np.unique(self.pieces(lengths, seed=0, epoch=0).padded).tolist())


@dataclass(frozen=True)
class _AbstractPieces(AbstractCropping):
    """Pieces of one length; shorter ones are filled up to it."""

    length: int

    def __post_init__(self):
        if self.length < 2:
            raise BadInputError(f"Expected pieces of at least two steps, got length={self.length}.")


@final
@dataclass(frozen=True)
class Crop(_AbstractPieces):
    """One piece of every sequence, beginning at random; a shorter sequence is filled up.

    References:
        Marino, Cvitkovic and Yue (2018), A general method for amortizing variational filtering: random crops of the
        training sequences.
    """

    def pieces(self, lengths: np.ndarray, *, seed: int, epoch: int) -> Pieces:
        taken = np.minimum(lengths, self.length)
        starts = _random_below(lengths - taken + 1, seed, epoch)
        return Pieces(np.arange(lengths.size), starts, starts + taken, np.full(lengths.size, self.length))


@final
@dataclass(frozen=True)
class Windows(_AbstractPieces):
    """Pieces of every sequence one after the other, floor(T / length) of them, the first beginning at random.

    For long recordings, of which a crop would show little in an epoch. A shorter sequence is one piece and filled up.
    """

    def pieces(self, lengths: np.ndarray, *, seed: int, epoch: int) -> Pieces:
        counts = np.maximum(lengths // self.length, 1)
        phases = _random_below(np.maximum(lengths - counts * self.length, 0) + 1, seed, epoch)
        indices = np.repeat(np.arange(lengths.size), counts)
        places = np.arange(indices.size) - np.repeat(np.cumsum(counts) - counts, counts)
        starts = phases[indices] + places * self.length
        stops = np.minimum(starts + self.length, lengths[indices])
        return Pieces(indices, starts, stops, np.full(indices.size, self.length))


@final
@dataclass(frozen=True)
class FullLength(AbstractCropping):
    """Every sequence whole, filled up to the next of a few lengths.

    Attributes:
        bounds: those lengths, rising; the last is that of the longest sequence or more.
    """

    bounds: tuple[int, ...]

    def __post_init__(self):
        if not self.bounds or list(self.bounds) != sorted(set(self.bounds)) or self.bounds[0] < 2:
            raise BadInputError(f"Expected rising lengths of at least 2, got bounds={self.bounds}.")

    @staticmethod
    def fitted(lengths: np.ndarray, num_bounds: int) -> "FullLength":
        """The bounds, at most so many, for which the sequences are filled up by the fewest steps in all."""
        if num_bounds < 1 or len(lengths) == 0:
            raise BadInputError(f"Expected one or more bounds and sequences, got {num_bounds} and {len(lengths)}.")
        sizes, counts = np.unique(lengths, return_counts=True)
        # cost[i]: fewest padded steps of the sequences with the first i sizes, one more bound each round.
        total = np.concatenate([[0], np.cumsum(counts)])
        cost = np.concatenate([[0.0], np.full(sizes.size, np.inf)])
        choices = []
        for _ in range(min(num_bounds, sizes.size)):
            table = cost[:-1, None] + (total[None, 1:] - total[:-1, None]) * sizes[None, :]
            table[np.tril_indices(sizes.size, -1)] = np.inf
            choices.append(np.argmin(table, axis=0))
            cost = np.concatenate([[0.0], np.min(table, axis=0)])
        bounds, end = [], sizes.size
        for choice in reversed(choices):
            if end == 0:
                break
            bounds.append(int(sizes[end - 1]))
            end = int(choice[end - 1])
        return FullLength(tuple(reversed(bounds)))

    def pieces(self, lengths: np.ndarray, *, seed: int, epoch: int) -> Pieces:
        longest = int(lengths.max(initial=0))
        if longest > self.bounds[-1]:
            raise BadInputError(
                f"Expected sequences of up to {self.bounds[-1]} steps, the last of the bounds, got one of {longest}."
            )
        padded = np.asarray(self.bounds)[np.searchsorted(self.bounds, lengths)]
        return Pieces(np.arange(lengths.size), np.zeros(lengths.size, np.int64), lengths.copy(), padded)


def _random_below(limits: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """One whole number below each limit."""
    return np.minimum((uniforms(limits.size, seed, epoch, 2) * limits).astype(np.int64), limits - 1)


def num_batches(sequences: AbstractSequences, cut: AbstractCropping, batch_size: int) -> int:
    """Batches in one epoch, the same in every epoch."""
    pieces = cut.pieces(sequences.lengths, seed=0, epoch=0)
    return len(_planned(pieces, batch_size, np.arange(pieces.indices.size)))


def sequence_batches(
    sequences: AbstractSequences, cut: AbstractCropping, batch_size: int, *, seed: int, epoch: int = 0, start: int = 0
) -> Iterator[PaddedBatch]:
    """One epoch of shuffled batches of `batch_size` pieces; those of one batch have one length.

    Every piece is in at least one batch; where the pieces of one length do not fill their last batch, it is filled with
    the first ones of that length in this epoch's order. The order depends on (pieces, seed, epoch) alone, on every
    machine, so a run that stopped after k batches goes on with `start=k`.

    Args:
        sequences: where the pieces come from; only those of one batch are in memory.
        seed: of the whole run.
        epoch: number of the pass over the data, from 0.
        start: batches of this epoch to skip; they are not read.
    """
    pieces = cut.pieces(sequences.lengths, seed=seed, epoch=epoch)
    shuffled = permutation(pieces.indices.size, seed, epoch)
    planned = _planned(pieces, batch_size, shuffled)
    if not 0 <= start <= len(planned):
        raise BadInputError(f"Expected a start from 0 to the {len(planned)} batches of an epoch, got {start}.")
    order = permutation(len(planned), seed, epoch, 1)

    def filled(rows: np.ndarray) -> np.ndarray:
        alike = shuffled[pieces.padded[shuffled] == pieces.padded[rows[0]]]
        return np.resize(np.concatenate([rows, alike]), batch_size)

    return (_batch(sequences, pieces, filled(planned[i]), batch_size) for i in order[start:])


def whole_batches(sequences: AbstractSequences, whole: FullLength, batch_size: int) -> Iterator[PaddedBatch]:
    """Every sequence once and whole, for evaluation; in the order of the lengths' bounds, then of the sequences.

    The last batch of a length may count less than `batch_size` rows (`num_rows`).
    """
    pieces = whole.pieces(sequences.lengths, seed=0, epoch=0)
    planned = _planned(pieces, batch_size, np.arange(pieces.indices.size))
    return (
        _batch(sequences, pieces, np.concatenate([rows, np.full(batch_size - rows.size, rows[0])]), rows.size)
        for rows in planned
    )


def _planned(pieces: Pieces, batch_size: int, order: np.ndarray) -> list[np.ndarray]:
    """Numbers of the pieces of each batch; the last of a length may be short."""
    if batch_size < 1:
        raise BadInputError(f"Expected a batch of at least one sequence, got batch_size={batch_size}.")
    planned = []
    for padded in np.unique(pieces.padded):
        members = order[pieces.padded[order] == padded]
        planned += [members[first : first + batch_size] for first in range(0, members.size, batch_size)]
    return planned


def _batch(sequences: AbstractSequences, pieces: Pieces, rows: np.ndarray, num_rows: int) -> PaddedBatch:
    parts = [sequences.read(*map(int, (pieces.indices[row], pieces.starts[row], pieces.stops[row]))) for row in rows]
    length = int(pieces.padded[rows[0]])
    values = np.zeros((len(parts), length, *sequences.shape), sequences.dtype)
    observed = np.zeros(values.shape, bool)
    times = np.zeros((len(parts), length)) if sequences.timed else None
    actions = None
    if parts[0].actions is not None:
        actions = np.zeros((len(parts), length - 1, *parts[0].actions.shape[1:]), parts[0].actions.dtype)
    for row, part in enumerate(parts):
        size = len(part.values)
        values[row, :size] = part.values
        observed[row, :size] = True if part.observed is None else part.observed
        if times is not None:
            times[row] = _continued(part, length)
        if actions is not None:
            actions[row, : size - 1] = part.actions
    lengths = np.array([len(part.values) for part in parts], np.int32)
    return PaddedBatch(
        values, observed, lengths, times, actions, pieces.indices[rows], pieces.starts[rows], num_rows
    )  # fmt: skip


def _continued(part: Sequence, length: int) -> np.ndarray:
    times = np.asarray(part.times, np.float64)
    beyond = np.arange(1, length - len(times) + 1)
    return np.concatenate([times, times[-1] + beyond * (times[-1] - times[-2])])
