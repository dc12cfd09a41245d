"""Sequences cut in time: their beginnings, to learn from, and their ends, of which the beginnings are known."""

from typing import Any, final

import numpy as np

from ..results import BadInputError
from ._sequences import AbstractSequences, Sequence, checked_part


@final
class Beginnings(AbstractSequences):
    """The first steps of each sequence.

    Args:
        lengths: steps of each that are left, at least 2.
    """

    def __init__(self, sequences: AbstractSequences, lengths: np.ndarray):
        kept = np.asarray(lengths, np.int64)
        if kept.shape != sequences.lengths.shape or np.any(kept < 2) or np.any(kept > sequences.lengths):
            raise BadInputError(
                f"Expected from 2 steps to the length of each of the {len(sequences)} sequences of {sequences.name}, got "
                f"{kept.tolist()}."
            )
        self.sequences = sequences
        self._take_over(sequences)
        self.lengths = kept

    def times(self, index: int) -> np.ndarray | None:
        _, end = checked_part(self, index, 0, None)
        times = self.sequences.times(index)
        return None if times is None else times[:end]

    def read(self, index: int, start: int = 0, stop: int | None = None) -> Sequence:
        return self.sequences.read(index, *checked_part(self, index, start, stop))


@final
class ContinuedSequences(AbstractSequences):
    """Whole sequences whose beginnings are known: only what comes after counts.

        -log p(x_{k+1}, ..., x_T | x_1, ..., x_k) = -log p(x_1, ..., x_T) + log p(x_1, ..., x_k)

    Attributes:
        known: k, the steps of each that are known.
    """

    def __init__(self, sequences: AbstractSequences, known: np.ndarray):
        self.sequences, self.known = sequences, np.asarray(known, np.int64)
        if np.any(self.known >= sequences.lengths):
            raise BadInputError(
                f"Expected steps after those that are known in each sequence of {sequences.name}, got none."
            )
        self._take_over(sequences)

    @property
    def beginnings(self) -> Beginnings:
        """What is known."""
        return Beginnings(self.sequences, self.known)

    @property
    def num_steps(self) -> int:
        """Steps that count."""
        return int((self.lengths - self.known).sum())

    def select(self, indices: Any) -> "ContinuedSequences":  # pyright: ignore[reportIncompatibleMethodOverride]
        return ContinuedSequences(self.sequences.select(indices), self.known[np.asarray(indices, np.int64)])

    def times(self, index: int) -> np.ndarray | None:
        return self.sequences.times(index)

    def read(self, index: int, start: int = 0, stop: int | None = None) -> Sequence:
        return self.sequences.read(index, start, stop)


def split_ends(sequences: AbstractSequences, share: float) -> tuple[Beginnings, ContinuedSequences] | None:
    """Beginnings to learn from and, of the same sequences, the ends: the last `share` of each; None if they are too short."""
    ends = np.minimum(np.maximum(1, np.round(share * sequences.lengths)), sequences.lengths - 2).astype(np.int64)
    if share <= 0.0 or np.any(ends < 1):
        return None
    known = sequences.lengths - ends
    return Beginnings(sequences, known), ContinuedSequences(sequences, known)
