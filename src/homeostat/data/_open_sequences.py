"""Opening a user's own sequences: archives, tables, sounds, piano rolls, videos."""

import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np

from ..results import BadInputError
from ._frames import ANIMATIONS, VIDEOS, Frames, open_film, show
from ._open_rows import IMAGES, named_array, open_member
from ._open_table import TABLES, ArrowStream, open_any_table
from ._places import Message, data_cache_folder, reading
from ._sequence_table import has_steps, open_sequence_table
from ._sequences import AbstractSequences, Sequences
from ._sound import SoundSequences, read_sound
from ._table_columns import TableColumns
from .adapters import read_midi

SOUNDS, ROLLS = (".wav", ".sph"), (".mid", ".midi")
_RECORDINGS = {*SOUNDS, *ROLLS, *VIDEOS}


@final
@dataclass(frozen=True)
class Rolls:
    """How MIDI files become piano rolls.

    Attributes:
        steps_per_beat: steps in a quarter note.
        lowest: note number of the first column; 21 is A0.
        highest: note number of the last column; 108 is C8.
    """

    steps_per_beat: int = 4
    lowest: int = 21
    highest: int = 108

    def __post_init__(self):
        if self.steps_per_beat < 1 or not 0 <= self.lowest <= self.highest <= 127:
            raise BadInputError(
                f"Expected at least one step a beat and notes from 0 to 127, got steps_per_beat={self.steps_per_beat}, "
                f"lowest={self.lowest}, highest={self.highest}."
            )


@final
@dataclass(frozen=True)
class SequenceFormat:
    """How files become sequences; each part matters for its kind of file.

    Attributes:
        columns: of tables.
        window: samples of a sound in one step.
        rolls: of MIDI files.
        frames: of videos.
    """

    columns: TableColumns = field(default_factory=TableColumns)
    window: int = 200
    rolls: Rolls = field(default_factory=Rolls)
    frames: Frames = field(default_factory=Frames)


def open_sequences(
    path: str | os.PathLike[str] | ArrowStream,
    format: SequenceFormat | None = None,
    *,
    message: Message | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> AbstractSequences:
    """The sequences of a file or folder, which may be larger than memory, or of a data frame.

    | path | how it is read |
    |---|---|
    | `FILE.npy` | an array (sequences, steps, ...), memory-mapped |
    | `FILE.npz[:name]` | `values` (or `name`), padded (sequences, steps, ...) or all steps one after the other, with `lengths` or `mask` and, if there are, `times` and `actions`; `values` and `actions` are memory-mapped |
    | `.csv`, `.tsv`, `.txt`, `.parquet`, `.arrow`, `.feather` | a table with one row a step (`TableColumns`) |
    | object with `__arrow_c_stream__` | likewise a data frame of pandas or polars, or a table of pyarrow; held in memory |
    | `.wav`, `.sph` | windows of samples from -1 to 1 |
    | `.mid`, `.midi` | piano rolls, zeros and ones |
    | `.mp4`, `.avi`, `.mkv`, `.webm`, `.mov`, `.gif` | frames uint8 |
    | folder | one sequence for each file of one of the last three kinds, in the order of their paths |

    Tables, videos and compressed archives are converted once, into the cache folder, and again when the file changes.
    Nothing is unpickled. MIDI needs mido, and video other than .gif PyAV.

    Args:
        format: what columns mean, and how sounds, music and frames become steps.
        cache: where conversions are kept; `homeostat/data` in the user's cache folder if left out.

    Raises:
        BadInputError: no such file, an unknown format, a missing library, or sequences that cannot be used (`Sequences`).
    """
    how = SequenceFormat() if format is None else format
    place = data_cache_folder() if cache is None else Path(cache)
    if not isinstance(path, str | os.PathLike):
        return open_sequence_table(path, how.columns, place, message)
    file, array_name = named_array(path, "values")
    if file.is_dir():
        return _open_folder(file, how, message, place)
    if not file.is_file():
        raise BadInputError(f"Expected sequences, found no file at {file}: check the path.")
    suffix = file.suffix.lower()
    if suffix == ".npy":
        with reading(file, "an array (.npy)"):
            return Sequences(np.load(file, mmap_mode="r", allow_pickle=False), name=str(file))
    if suffix == ".npz":
        return _open_npz(file, array_name, message, place)
    if suffix in TABLES:
        return open_sequence_table(file, how.columns, place, message)
    kind = _kind(suffix)
    if kind is None:
        raise BadInputError(
            f"Expected sequences as .npy, .npz, {', '.join(TABLES)}, .wav, .sph, .mid, .mp4, .avi, .mkv, .webm, .mov or .gif, "
            f"got {file}: save them in one of these formats."
        )
    return kind(_Files((file,), (file.stem,), str(file), how, message, place))


class _Files(NamedTuple):
    """Files of one kind, a sequence each, and what to do with them."""

    files: tuple[Path, ...]
    labels: tuple[str, ...]
    name: str
    format: SequenceFormat
    message: Message | None
    cache: Path


Opened = Callable[[_Files], AbstractSequences]


def _kind(suffix: str) -> Opened | None:
    if suffix in SOUNDS:
        return _open_sounds
    if suffix in ROLLS:
        return _open_rolls
    return _open_films if suffix in (*VIDEOS, *ANIMATIONS) else None


def _open_folder(folder: Path, how: SequenceFormat, message: Message | None, place: Path) -> AbstractSequences:
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    usable = [(file, kind) for file in files if (kind := _kind(file.suffix.lower())) is not None]
    kinds = {kind for _, kind in usable}
    if len(kinds) != 1:
        found = ", ".join(sorted({file.suffix for file, _ in usable})) or "none"
        raise BadInputError(
            f"Expected files of one kind in the folder {folder}, sounds, MIDI or videos, found {found}: name a folder with one "
            f"kind."
        )
    chosen = tuple(file for file, _ in usable)
    labels = tuple(file.relative_to(folder).with_suffix("").as_posix() for file in chosen)
    return kinds.pop()(_Files(chosen, labels, str(folder), how, message, place))


def _open_sounds(asked: _Files) -> AbstractSequences:
    sounds = tuple(read_sound(file) for file in asked.files)
    return SoundSequences(sounds, asked.labels, asked.format.window, asked.name)


def _open_rolls(asked: _Files) -> AbstractSequences:
    how = asked.format.rolls
    notes = [
        read_midi(file, steps_per_beat=how.steps_per_beat, lowest=how.lowest, highest=how.highest)
        for file in asked.files
    ]
    return Sequences(notes, labels=asked.labels, name=asked.name)


def _open_films(asked: _Files) -> AbstractSequences:
    frames = asked.format.frames
    made, mark = show(frames), str(frames)
    films = [open_film(file, made, mark, message=asked.message, cache=asked.cache) for file in asked.files]
    return Sequences(
        [film.frames for film in films], times=[film.times for film in films], labels=asked.labels, name=asked.name
    )


def _open_npz(file: Path, array_name: str, message: Message | None, place: Path) -> Sequences:
    with reading(file, "an archive of arrays (.npz)"):
        with zipfile.ZipFile(file) as archive:
            members = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
        if array_name not in members:
            raise BadInputError(
                f"Expected an array {array_name} in {file}, which has {', '.join(sorted(members)) or 'none'}: write "
                f"{file.name}:NAME with the name of the observations."
            )
        values = open_member(file, members[array_name], message, place)
        actions = open_member(file, members["actions"], message, place) if "actions" in members else None
        with np.load(file, allow_pickle=False) as arrays:
            small: dict[str, Any] = {
                name: arrays[name] for name in ("lengths", "mask", "times", "labels") if name in members
            }
    small |= {} if actions is None else {"actions": actions}
    for name, array in {array_name: values, **small}.items():
        if array.ndim == 0:
            raise BadInputError(
                f"Expected an array {name} in {file}, one entry a sequence or a step, got a single number: see what was saved."
            )
    labels, lengths = small.pop("labels", None), small.get("lengths")
    called = None if labels is None else [str(label) for label in labels.tolist()]
    if lengths is not None and lengths.ndim == 1 and lengths.dtype.kind in "iu" and lengths.sum() == len(values):
        return _end_to_end(file, values, small, called)
    if actions is not None and values.ndim >= 2 and actions.shape[:2] == values.shape[:2]:
        # One action a step: that of the last step leads nowhere.
        small["actions"] = actions[:, :-1]
    if "mask" in small:
        small["observed"] = small.pop("mask")
    return Sequences(values, labels=called, name=f"{file}:{array_name}", **small)


def _end_to_end(file: Path, values: np.ndarray, parts: dict[str, Any], labels: list[str] | None) -> Sequences:
    """Steps of all sequences one after the other, without padding."""
    ends, cut = np.cumsum(parts.pop("lengths"))[:-1], {}
    for what, array in parts.items():
        if len(array) != len(values):
            raise BadInputError(
                f"Expected {len(values)} rows of {what} in {file}, one for each step of all sequences, got {len(array)}."
            )
        cut["observed" if what == "mask" else what] = np.split(array, ends)
    if "actions" in cut:
        cut["actions"] = [part[:-1] for part in cut["actions"]]
    return Sequences(np.split(values, ends), labels=labels, name=str(file), **cut)


def holds_sequences(path: str | os.PathLike[str], columns: TableColumns | None = None) -> bool:
    """Whether a file or folder holds sequences, not rows.

    Sounds, MIDI and videos, folders of such files, archives with `lengths` or `mask`, and tables with a column that names the
    sequence, or with one of times (named, or called `time`, `date` and the like) that rises from row to row, are sequences;
    other tables, arrays and folders of images are rows.

    Args:
        path: of the file or folder, with `:name` after an archive of several arrays.
        columns: of a table, where they are known.

    Raises:
        BadInputError: a folder holds images and recordings.
    """
    text = os.fspath(path)
    file = Path(text if Path(text).exists() else text.rpartition(":")[0] or text)
    suffix = file.suffix.lower()
    if file.is_dir():
        kinds = {found.suffix.lower() for found in file.rglob("*") if found.is_file()}
        recordings, images = kinds & _RECORDINGS, kinds & {*IMAGES}
        if recordings and images:
            raise BadInputError(
                f"Expected images or recordings in the folder {file}, found both ({', '.join(sorted(recordings | images))}): "
                f"say --task rows or --task sequences."
            )
        # A stray animation among pictures does not make them videos.
        return bool(recordings) or (bool(kinds & {*ANIMATIONS}) and not images)
    if suffix == ".npz" and file.is_file():
        with reading(file, "an archive of arrays (.npz)"), zipfile.ZipFile(file) as archive:
            return bool({"lengths.npy", "mask.npy"} & {*archive.namelist()})
    if suffix in TABLES and file.is_file():
        return has_steps(open_any_table(file), columns or TableColumns())
    return suffix in {*_RECORDINGS, *ANIMATIONS}
