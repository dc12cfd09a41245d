"""The free spoken digits: ten digits, six speakers, fifty takes, 8 kHz."""

import hashlib
import io
import os
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np

from ..results import BadInputError
from ._download import Progress, RemoteFile, official_files, packed_copy
from ._packed import read_archive, read_xz
from ._places import data_cache_folder, kept_arrays, reading
from ._scaled import Standardization
from ._sequence_splits import SequenceSplits, select_splits, standardized
from ._sound import Sound, SoundSequences
from ._splits import Source, SplitIndices

_COMMIT = "26eb9aaf76e81b692f806f9140c2d2777410d7a1"
DIGITS_FILES = (
    RemoteFile(f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/{_COMMIT}.zip", None, None),
)
"""An archive made by the server, whose bytes may change; `AUDIO_SHA256` is the checksum of what is in it."""

AUDIO_SHA256 = "6f643a7422de89763625dfc9aa79427e69f7a690223a5bc5752a2f56db5af465"
"""Of all samples as 16-bit numbers, lowest byte first, recordings in the order of their names."""

NUM_RECORDINGS = 3_000
RATE_HZ = 8_000
TEST_TAKES = tuple(range(5))
_COPY = ("audio_int16.npy.xz", "index.npz")


def load_spoken_digits(
    folder: str | os.PathLike[str] | None = None,
    *,
    window: int = 200,
    validation_takes: tuple[int, ...] = tuple(range(5, 10)),
    progress: Progress | None = None,
) -> SequenceSplits:
    """Spoken digits: sequences of windows of `window` samples, standardised by the training samples.

    The official test recordings are takes 0 to 4 (300). Of the others, takes 5 to 9 (300) are for validation and takes
    10 to 49 (2,400) for training. Every speaker is in every split: figures are on known voices. Labels are
    `DIGIT_SPEAKER_TAKE`.

    A step of the stored 16-bit numbers is `1 / (32768 standardization.scale)` wide in the values.

    Args:
        folder: the folder that holds a folder `fsdd`, with a packed copy or the archive of the repository;
            HOMEOSTAT_DATA if left out, and the network if there is none (about 16 MB).
        window: samples in a step; what does not fill a last window is left out.
        validation_takes: takes of the validation recordings, from 5 to 49.

    Raises:
        BadInputError: other takes, neither a copy nor a network, or files that are not this data.

    References:
        Jackson et al., Free Spoken Digit Dataset.
    """
    if not set(validation_takes) <= set(range(len(TEST_TAKES), 50)) or len(validation_takes) >= 45:
        raise BadInputError(
            f"Expected validation takes from 5 to 49 that leave some to train on (0 to 4 are the official test), got "
            f"{tuple(validation_takes)}."
        )
    copy = packed_copy("fsdd", folder, *_COPY)
    files, place = copy or official_files(DIGITS_FILES, "fsdd", folder, progress, DIGITS_FILES[0].url)
    if copy:
        labels, lengths, audio = _read_copy(*files)
    else:
        kept = kept_arrays(data_cache_folder() / "fsdd" / "recordings.npz", lambda: _read_recordings(files[0]))
        labels, lengths, audio = tuple(kept["labels"].tolist()), kept["lengths"], kept["audio"]
    found = hashlib.sha256(np.ascontiguousarray(audio, "<i2")).hexdigest()
    if len(labels) != NUM_RECORDINGS or found != AUDIO_SHA256:
        raise BadInputError(
            f"Expected {NUM_RECORDINGS} recordings in {place} whose samples have the SHA-256 checksum {AUDIO_SHA256}, got "
            f"{len(labels)} with {found}: this is another version; get it again."
        )
    cuts = np.split(audio[:, None], np.cumsum(lengths)[:-1])
    sounds = tuple(Sound(samples, RATE_HZ, 0, 2.0**15) for samples in cuts)
    takes = np.array([int(label.rpartition("_")[2]) for label in labels])
    test, validation = np.isin(takes, TEST_TAKES), np.isin(takes, validation_takes)
    indices = SplitIndices(*(np.flatnonzero(which) for which in (~test & ~validation, validation, test)))
    note = "official test takes 0 to 4; the validation takes are ours; every speaker is in every split"
    source = Source(place, True, "CC BY-SA 4.0", "Jackson et al., Free Spoken Digit Dataset", note)
    splits = select_splits("fsdd", SoundSequences(sounds, labels, window, "fsdd"), indices, source)
    return standardized(splits, Standardization.overall(splits.train))


def _read_copy(samples: Path, about: Path) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    audio, index = read_xz(samples), read_archive(about)
    with reading(about, "digit, speaker, take and length of every recording"):
        names = index["speaker_names"][index["speaker"]].tolist()
        rows = zip(index["digit"].tolist(), names, index["take"].tolist(), strict=True)
        labels, lengths = tuple(f"{digit}_{name}_{take}" for digit, name, take in rows), index["length"]
        if lengths.sum() != audio.size or len(labels) != lengths.size:
            raise ValueError("the lengths do not add up to the samples.")
    return labels, lengths.astype(np.int64), audio


def _read_recordings(file: Path) -> dict[str, np.ndarray]:
    """All recordings end to end, in the order of their names, from the archive of the repository."""
    import wave

    found = {}
    with reading(file, "a zip file of recordings"), zipfile.ZipFile(file) as archive:
        for member in archive.namelist():
            path = PurePosixPath(member)
            if path.suffix == ".wav" and path.parent.name == "recordings":
                with wave.open(io.BytesIO(archive.read(member))) as sound:
                    if (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) != (1, 2, RATE_HZ):
                        raise ValueError(f"{member} is not mono, 16 bits, {RATE_HZ} Hz.")
                    found[path.name] = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
        if not found:
            raise ValueError("there are no recordings in it.")
    names = sorted(found)
    return {
        "labels": np.array([name.removesuffix(".wav") for name in names]),
        "lengths": np.array([found[name].size for name in names], np.int64),
        "audio": np.concatenate([found[name] for name in names]).astype(np.int16),
    }
