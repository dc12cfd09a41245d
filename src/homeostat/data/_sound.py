"""Sound files: samples, and sequences of windows of samples."""

import warnings
from pathlib import Path
from typing import NamedTuple, final

import numpy as np

from ..results import BadInputError
from ._places import reading
from ._sequences import AbstractSequences, Sequence, checked_part
from ._sphere import SPHERE_MARK, read_sphere


class Sound(NamedTuple):
    """A recording.

    Attributes:
        samples: whole or real numbers as stored, shape (samples, channels).
        rate_hz: samples a second.
        zero: the number that stands for silence.
        full: the distance from it that stands for 1.
    """

    samples: np.ndarray
    rate_hz: int
    zero: int
    full: float


def read_sound(file: Path) -> Sound:
    """A RIFF file (.wav, of 8 to 64 bits, mapped where the samples lie unless they have 24), or a NIST SPHERE file.

    Raises:
        BadInputError: another file, a compressed one, or one that breaks off.
    """
    with reading(file, "a sound file (.wav)"):
        with open(file, "rb") as stream:
            if stream.read(len(SPHERE_MARK)) == SPHERE_MARK:
                samples, rate = read_sphere(file)
                return Sound(samples, rate, 0, 2.0**15)
        rate, samples = _read_riff(file)
    samples = samples[:, None] if samples.ndim == 1 else samples
    kind = samples.dtype
    if kind.kind == "f":
        return Sound(samples, rate, 0, 1.0)
    if kind.kind == "u":
        return Sound(samples, rate, 128, 128.0)
    return Sound(samples, rate, 0, 2.0 ** (8 * kind.itemsize - 1))


def _read_riff(file: Path) -> tuple[int, np.ndarray]:
    from scipy.io import wavfile

    with warnings.catch_warnings():
        # Chunks that say nothing about the samples are common; a file that breaks off is damaged.
        warnings.filterwarnings("ignore", "Chunk", wavfile.WavFileWarning)
        warnings.filterwarnings("error", "Reached EOF prematurely", wavfile.WavFileWarning)
        try:
            try:
                return wavfile.read(file, mmap=True)
            except ValueError as error:
                # Samples of three bytes cannot be mapped.
                if "mmap" not in str(error):
                    raise
            return wavfile.read(file)
        except wavfile.WavFileWarning as warning:
            raise ValueError(str(warning)) from warning


@final
class SoundSequences(AbstractSequences):
    """Recordings as sequences of windows: real numbers of 32 bits from -1 to 1.

    A step has the shape (window,), with c channels (window, c); steps carry the seconds at which they begin. Samples
    that do not fill a last window are left out.

    Attributes:
        rate_hz: samples a second, of every recording.
        window: samples in a step.
    """

    def __init__(self, sounds: tuple[Sound, ...], labels: tuple[str, ...], window: int, name: str = "the sounds"):
        """Check that the recordings go together and are long enough.

        Raises:
            BadInputError: different rates or channels, fewer samples than two windows, numbers that are not finite.
        """
        if window < 1:
            raise BadInputError(f"Expected a window of at least one sample, got window={window}.")
        if not sounds:
            raise BadInputError(f"Expected at least one recording in {name}, found none.")
        for sound, label in zip(sounds, labels, strict=True):
            self._check(sound, label, sounds[0], window, name)
        self._sounds, self._labels, self._name = sounds, labels, name
        self.rate_hz, self.window = sounds[0].rate_hz, window
        self._lengths = np.array([len(sound.samples) // window for sound in sounds], np.int64)

    @staticmethod
    def _check(sound: Sound, label: str, first: Sound, window: int, name: str) -> None:
        channels = sound.samples.shape[1]
        if (sound.rate_hz, channels) != (first.rate_hz, first.samples.shape[1]):
            raise BadInputError(
                f"Expected recordings of one rate and number of channels in {name}, {first.rate_hz} Hz and "
                f"{first.samples.shape[1]} as in the first, got {sound.rate_hz} Hz and {channels} in {label}: resample it."
            )
        if len(sound.samples) < 2 * window:
            raise BadInputError(
                f"Expected at least two windows of {window} samples in every recording, got {len(sound.samples)} samples in "
                f"{label} of {name}: choose a shorter window, or leave the recording out."
            )
        if sound.samples.dtype.kind == "f" and not np.isfinite(sound.samples).all():
            raise BadInputError(f"Expected finite samples, got others in {label} of {name}: the file is damaged.")

    @property
    def name(self) -> str:
        return self._name

    @property
    def shape(self) -> tuple[int, ...]:
        channels = self._sounds[0].samples.shape[1]
        return (self.window,) if channels == 1 else (self.window, channels)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.float32)

    @property
    def lengths(self) -> np.ndarray:
        return self._lengths

    @property
    def labels(self) -> tuple[str, ...]:
        return self._labels

    @property
    def action_shape(self) -> tuple[int, ...] | None:
        return None

    @property
    def timed(self) -> bool:
        return True

    def read(self, index: int, start: int = 0, stop: int | None = None) -> Sequence:
        first, last = checked_part(self, index, start, stop)
        sound = self._sounds[index]
        samples = np.asarray(sound.samples[first * self.window : last * self.window], np.float64)
        values = ((samples - sound.zero) / sound.full).astype(np.float32).reshape(-1, *self.shape)
        return Sequence(values, None, self.times(index)[first:last], None)

    def times(self, index: int) -> np.ndarray:
        _, last = checked_part(self, index, 0, None)
        return np.arange(last) * (self.window / self.rate_hz)
