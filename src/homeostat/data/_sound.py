"""Sound files: samples, and sequences of windows of samples."""

import warnings
from pathlib import Path
from typing import NamedTuple, final

import numpy as np

from ..results import BadInputError
from ._places import reading
from ._sequences import AbstractSequences, Sequence, checked_part


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
        self._sounds, self.rate_hz, self.window = sounds, sounds[0].rate_hz, window
        channels = sounds[0].samples.shape[1]
        shape = (window,) if channels == 1 else (window, channels)
        lengths = np.array([len(sound.samples) // window for sound in sounds], np.int64)
        super().__init__(name, shape, np.dtype(np.float32), lengths, labels, timed=True)

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

    def read(self, index: int, start: int = 0, stop: int | None = None) -> Sequence:
        first, last = checked_part(self, index, start, stop)
        sound = self._sounds[index]
        samples = np.asarray(sound.samples[first * self.window : last * self.window], np.float64)
        values = ((samples - sound.zero) / sound.full).astype(np.float32).reshape(-1, *self.shape)
        return Sequence(values, None, self.times(index)[first:last], None)

    def times(self, index: int) -> np.ndarray:
        _, last = checked_part(self, index, 0, None)
        return np.arange(last) * (self.window / self.rate_hz)


SPHERE_MARK = b"NIST_1A\n"


def read_sphere(file: Path) -> tuple[np.ndarray, int]:
    """Samples of shape (samples, channels), whole numbers of 16 bits, and the samples a second.

    The header is text: the mark, the header's size in bytes, then lines `name -type value` up to `end_head`.

    Raises:
        BadInputError: compressed samples, or samples of another size.
        ValueError: the file is damaged.

    References:
        National Institute of Standards and Technology, SPHERE: header of the sample files of the TIMIT CD-ROM.
    """
    content = file.read_bytes()
    size = int(content[len(SPHERE_MARK) : len(SPHERE_MARK) + 8])
    fields = {}
    for line in content[:size].decode("ascii", "replace").splitlines()[2:]:
        if line.strip() == "end_head":
            break
        name, kind, value = line.split(maxsplit=2)
        fields[name] = int(value) if kind == "-i" else value.strip()
    coding = str(fields.get("sample_coding", "pcm"))
    if coding != "pcm" or fields["sample_n_bytes"] != 2:
        raise BadInputError(
            f"Expected samples of 16 bits that are not compressed in {file}, got {fields['sample_n_bytes']} bytes coded as "
            f"{coding}: convert the file to .wav first."
        )
    order = "<" if fields.get("sample_byte_format", "01") == "01" else ">"
    channels, count = int(fields.get("channel_count", 1)), int(fields["sample_count"])
    samples = np.frombuffer(content[size:], f"{order}i2", count * channels)
    return samples.astype(np.int16).reshape(count, channels), int(fields["sample_rate"])
