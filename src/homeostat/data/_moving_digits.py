"""Moving MNIST: digits that move about a frame and bounce off its edges, drawn as they are read."""

import os
from dataclasses import dataclass
from typing import final

import numpy as np

from ..results import BadInputError
from ._download import Progress
from ._mnist import load_mnist
from ._order import uniforms
from ._sequence_splits import SequenceSplits
from ._sequences import AbstractSequences, Sequence, checked_part
from ._splits import Source, SplitIndices

DIGIT_SIDE = 28
_NUMBERS = 4
"""Random numbers for a digit: which, where (two), and in what direction."""


@final
@dataclass(frozen=True)
class Bouncing:
    """How digits move.

    A digit begins at a place uniform over the frame and moves in a straight line, in a direction uniform over the circle, by
    `step` of the range that it can move in at every frame. At an edge it is put onto the edge and the component of its
    velocity turns. Where digits overlap, the brighter pixel shows.

    Attributes:
        side: of the frame in pixels.
        step: length of a movement, as a share of `side - 28` pixels.

    References:
        Srivastava, Mansimov and Salakhutdinov (2015), Unsupervised learning of video representations using LSTMs.
    """

    num_digits: int = 2
    side: int = 64
    step: float = 0.1

    def __post_init__(self):
        if self.num_digits < 1 or self.side <= DIGIT_SIDE or not 0 <= self.step < 1:
            raise BadInputError(
                f"Expected at least one digit, frames of more than {DIGIT_SIDE} pixels and steps from 0 to less than 1, got "
                f"num_digits={self.num_digits}, side={self.side}, step={self.step}."
            )

    def paths(self, starts: np.ndarray, directions: np.ndarray, num_frames: int) -> np.ndarray:
        """Places of the digits, as shares of the range they can move in.

        Args:
            starts: shape (digits, 2), each in [0, 1].
            directions: angles in rad, shape (digits,).

        Returns:
            Shape (num_frames, digits, 2): the share of the way down, and to the right.
        """
        place = np.array(starts, np.float64)
        velocity = self.step * np.stack([np.sin(directions), np.cos(directions)], axis=1)
        path = np.empty((num_frames, *place.shape))
        for frame in range(num_frames):
            path[frame] = place
            place = place + velocity
            velocity = np.where(place <= 0, np.abs(velocity), np.where(place >= 1, -np.abs(velocity), velocity))
            place = np.clip(place, 0.0, 1.0)
        return path


@final
class MovingDigits(AbstractSequences):
    """Sequences of frames uint8 of shape (side, side), ink 255: the same for the same number and seed on every machine.

    Attributes:
        digits: images uint8 of shape (n, 28, 28) that the digits are drawn from.
        seed: of all sequences; a second number tells splits apart.
    """

    def __init__(
        self,
        digits: np.ndarray,
        num_sequences: int,
        num_frames: int,
        bouncing: Bouncing,
        seed: tuple[int, ...],
        name: str,
    ):
        if num_sequences < 1 or num_frames < 2:
            raise BadInputError(
                f"Expected at least one sequence of at least two frames, got {num_sequences} of {num_frames}."
            )
        self.digits, self.bouncing, self.seed = digits, bouncing, seed
        lengths, labels = np.full(num_sequences, num_frames, np.int64), tuple(map(str, range(num_sequences)))
        super().__init__(name, (bouncing.side, bouncing.side), np.dtype(np.uint8), lengths, labels)

    def read(self, index: int, start: int = 0, stop: int | None = None) -> Sequence:
        first, last = checked_part(self, index, start, stop)
        motion = self.bouncing
        drawn = uniforms(_NUMBERS * motion.num_digits, *self.seed, index).reshape(motion.num_digits, _NUMBERS)
        which = np.minimum((drawn[:, 0] * len(self.digits)).astype(np.int64), len(self.digits) - 1)
        path = motion.paths(drawn[:, 1:3], 2 * np.pi * drawn[:, 3], last)[first:]
        corners = (path * (motion.side - DIGIT_SIDE)).astype(np.int64)
        frames = np.zeros((last - first, *self.shape), np.uint8)
        for digit, number in enumerate(which):
            for frame, (top, left) in zip(frames, corners[:, digit], strict=True):
                part = frame[top : top + DIGIT_SIDE, left : left + DIGIT_SIDE]
                np.maximum(part, self.digits[number], out=part)
        return Sequence(frames, None, None, None)


def load_moving_mnist(
    folder: str | os.PathLike[str] | None = None,
    *,
    num_frames: int = 20,
    num_train: int = 10_000,
    num_validation: int = 1_000,
    num_test: int = 1_000,
    bouncing: Bouncing = Bouncing(),
    seed: int = 0,
    progress: Progress | None = None,
) -> SequenceSplits:
    """Moving MNIST: sequences of uint8 frames, 64 x 64, in which two digits bounce.

    Training sequences show digits of MNIST's training rows (50,000), validation sequences digits of its validation rows
    (10,000), test sequences digits of its test rows (10,000). Sequences are drawn when they are read, so their number
    costs nothing. The published test file is another draw of the same process: figures compare in kind.

    Args:
        folder: where MNIST is, as for `load_mnist`.
        bouncing: how digits move; two digits in 64 x 64 pixels by default.

    Raises:
        BadInputError: neither MNIST nor a network, or numbers that make no sequences.

    References:
        Srivastava, Mansimov and Salakhutdinov (2015), Unsupervised learning of video representations using LSTMs.
    """
    mnist = load_mnist(folder, progress=progress)
    sizes = (num_train, num_validation, num_test)
    parts = []
    for number, (split, size) in enumerate(zip((mnist.train, mnist.validation, mnist.test), sizes, strict=True)):
        name = f"moving MNIST ({('training', 'validation', 'test')[number]})"
        parts.append(MovingDigits(np.asarray(split.observations), size, num_frames, bouncing, (seed, number), name))
    note = "drawn from MNIST; digits of one split of MNIST are in one split here"
    source = Source(mnist.source.place, True, "derived from MNIST (CC BY-SA 3.0)", "Srivastava et al. (2015)", note)
    return SequenceSplits("moving_mnist", *parts, SplitIndices.consecutive(sizes), source)
