"""Values less a mean and divided by a scale, computed as they are read."""

from typing import NamedTuple, final

import numpy as np

from ..results import BadInputError
from ..typing import Any
from ._moments import ColumnMoments, column_moments
from ._sequences import AbstractSequences, Sequence, checked_part


class Standardization(NamedTuple):
    """x becomes (x - mean) / scale.

    A difference of 1 in the stored numbers becomes 1 / scale: the width of a bin for a discretised likelihood.

    Attributes:
        mean: one number, or one for each entry of a step; in the unit of the data.
        scale: likewise, above 0.
    """

    mean: np.ndarray
    scale: np.ndarray

    def apply(self, sequences: AbstractSequences) -> "ScaledSequences":
        """The sequences in these units."""
        return ScaledSequences(sequences, self)

    def restore(self, values: Any) -> np.ndarray:
        """Values back in the unit of the data."""
        return np.asarray(values) * self.scale + self.mean

    @staticmethod
    def overall(sequences: AbstractSequences) -> "Standardization":
        """One mean and one standard deviation of all observed numbers."""
        return Standardization._of(sequence_moments(sequences, ()))

    @staticmethod
    def by_entry(sequences: AbstractSequences) -> "Standardization":
        """Mean and standard deviation of each entry of a step over all steps; an entry that never changes gets scale 1."""
        return Standardization._of(sequence_moments(sequences, sequences.shape))

    @staticmethod
    def _of(moments: ColumnMoments) -> "Standardization":
        return Standardization(moments.mean, moments.scale)


def sequence_moments(sequences: AbstractSequences, shape: tuple[int, ...]) -> ColumnMoments:
    """Moments of what was observed: of each entry of a step, or with the shape () of all numbers."""
    blocks = ((block.values, block.observed) for block in sequences.blocks())
    return column_moments(blocks, shape, sequences.dtype)


def action_moments(sequences: AbstractSequences) -> ColumnMoments:
    """Moments of each entry of the known inputs."""
    assert sequences.action_shape is not None
    every = (sequences.read(index).actions for index in range(len(sequences)))
    found = [(actions, None) for actions in every if actions is not None]
    return column_moments(found, sequences.action_shape, found[0][0].dtype)


@final
class ScaledSequences(AbstractSequences):
    """Sequences in other units, real numbers of 32 bits (64 where the data have 64)."""

    def __init__(self, sequences: AbstractSequences, standardization: Standardization):
        for what in standardization:
            if np.shape(what) not in ((), sequences.shape):
                raise BadInputError(
                    f"Expected one mean and scale, or one for each entry of a step of shape {sequences.shape}, got the "
                    f"shape {np.shape(what)}."
                )
        if not np.all(np.asarray(standardization.scale) > 0) or not np.all(np.isfinite(standardization.mean)):
            raise BadInputError("Expected finite means and scales above 0 to standardise by; correct them.")
        self.sequences, self.standardization = sequences, standardization
        self._take_over(sequences)
        self.dtype = np.dtype(np.float64 if sequences.dtype == np.float64 else np.float32)

    def read(self, index: int, start: int = 0, stop: int | None = None) -> Sequence:
        found = self.sequences.read(index, *checked_part(self, index, start, stop))
        mean, scale = self.standardization
        values = ((found.values - np.asarray(mean)) / np.asarray(scale)).astype(self.dtype)
        if found.observed is not None:
            values[~found.observed] = 0
        return found._replace(values=values)
