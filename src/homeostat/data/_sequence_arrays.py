"""Splits of sequences as arrays: whole training sequences to crop from, validation clips, and whole test sequences."""

from typing import NamedTuple

import numpy as np

from ._sequence_batches import FullLength
from ._sequence_splits import SequenceSplits
from ._sequences import AbstractSequences, Sequences


class Clips(NamedTuple):
    """Sequences side by side, padded with zeros.

    Attributes:
        values: as stored, [sequences, time, ...].
    """

    values: np.ndarray
    lengths: np.ndarray

    def steps(self, first: int = 0) -> np.ndarray:
        """All steps of all sequences from the step `first` on, one under another, [steps, ...]."""
        time = np.arange(self.values.shape[1])
        return self.values[(time[None, :] >= first) & (time[None, :] < self.lengths[:, None])]


class SequenceArrays(NamedTuple):
    """A set of sequences in arrays.

    Attributes:
        train: whole training sequences, at least `clip` steps long with their padding, to crop from.
        validation: clips that follow each other, of the length of training clips.
        test: whole test sequences, in a few groups of similar length; for final figures alone.
        clip: steps of a training clip.
    """

    name: str
    train: Clips
    validation: Clips
    test: tuple[Clips, ...]
    clip: int


def sequence_arrays(
    splits: SequenceSplits,
    clip: int,
    *,
    num_train: int = 0,
    num_validation: int = 0,
    num_test: int = 0,
    num_groups: int = 4,
) -> SequenceArrays:
    """The splits as arrays. Training and validation sequences shorter than a clip are left out where enough are longer.

    Args:
        clip: steps of a training clip.
        num_train: training sequences; 0 for all.
        num_validation: validation sequences; 0 for all.
        num_test: test sequences; 0 for all.
        num_groups: groups of test sequences that are padded to one length.
    """
    train = _first(_long_enough(splits.train, clip), num_train)
    validation = _first(_long_enough(splits.validation, clip), num_validation)
    test = _first(splits.test, num_test)
    padded = FullLength.fitted(test.lengths, num_groups).pieces(test.lengths, seed=0, epoch=0).padded
    groups = (_padded(test.select(np.flatnonzero(padded == length)), int(length)) for length in np.unique(padded))
    longest = max(int(train.lengths.max()), clip)
    return SequenceArrays(splits.name, _padded(train, longest), _windows(validation, clip), tuple(groups), clip)


def averaged_frames(splits: SequenceSplits, size: int) -> SequenceSplits:
    """Splits of grey frames with the means of squares of `size` by `size` pixels, rounded to bytes."""

    def shrunk(sequences: AbstractSequences) -> Sequences:
        parts = []
        for index in range(len(sequences)):
            frames = sequences.read(index).values.astype(np.float64)
            time, side, _ = frames.shape
            cells = frames.reshape(time, side // size, size, side // size, size)
            parts.append(np.round(cells.mean(axis=(2, 4))).astype(np.uint8))
        return Sequences(parts, name=sequences.name)

    parts = (shrunk(part) for part in (splits.train, splits.validation, splits.test))
    return SequenceSplits(splits.name, *parts, splits.indices, splits.source)


def _first(sequences: AbstractSequences, count: int) -> AbstractSequences:
    return sequences.select(np.arange(min(count, len(sequences)))) if count else sequences


def _long_enough(sequences: AbstractSequences, length: int) -> AbstractSequences:
    # The authors leave out short songs; most spoken digits are shorter than half a second and stay.
    return sequences.at_least(length) if np.mean(sequences.lengths >= length) > 0.5 else sequences


def _padded(sequences: AbstractSequences, time: int) -> Clips:
    lengths = sequences.lengths.astype(np.int32)
    values = np.zeros((len(sequences), time, *sequences.shape), _kept_type(sequences))
    for row in range(len(sequences)):
        values[row, : lengths[row]] = sequences.read(row).values
    return Clips(values, lengths)


def _windows(sequences: AbstractSequences, clip: int) -> Clips:
    """Pieces one after the other from the first step on; what does not fill a last one is left out."""
    parts, lengths = [], []
    for row, length in enumerate(sequences.lengths.tolist()):
        for start in range(0, max(length - clip, 0) + 1, clip):
            piece = sequences.read(row, start, min(start + clip, length)).values
            parts.append(np.pad(piece, [(0, clip - len(piece)), *[(0, 0)] * (piece.ndim - 1)]))
            lengths.append(len(piece))
    return Clips(np.stack(parts).astype(_kept_type(sequences)), np.array(lengths, np.int32))


def _kept_type(sequences: AbstractSequences) -> np.dtype:
    """Half the memory for real numbers, which networks read in single precision anyway."""
    return np.dtype(np.float32) if sequences.dtype.kind == "f" else sequences.dtype
