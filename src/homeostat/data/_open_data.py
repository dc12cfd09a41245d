"""Whether data of a user's own are rows or sequences."""

import csv
import os
import zipfile
from pathlib import Path

from ..results import BadInputError
from ._frames import ANIMATIONS, VIDEOS
from ._open_rows import IMAGES
from ._open_sequences import ROLLS, SOUNDS
from ._places import reading

_RECORDINGS = {*SOUNDS, *ROLLS, *VIDEOS}


def holds_sequences(path: str | os.PathLike[str], sequence_column: str = "sequence") -> bool:
    """Whether a file or folder holds sequences, not rows.

    Sounds, MIDI, videos and parquet, folders of such files, archives with `lengths` or `mask`, and tables with a column that
    names the sequence are sequences; other tables, arrays and folders of images are rows.

    Args:
        path: of the file or folder, with `:name` after an archive of several arrays.
        sequence_column: of tables.

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
    if suffix == ".csv" and file.is_file():
        with reading(file, "a table (.csv)"), open(file, newline="", encoding="utf-8-sig") as stream:
            return sequence_column in [name.strip() for name in next(csv.reader(stream), [])]
    return suffix in {*_RECORDINGS, *ANIMATIONS, ".parquet"}
