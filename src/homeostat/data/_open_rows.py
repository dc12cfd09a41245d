"""Opening a user's own data: `.npy`, `.npz`, `.csv`, or a folder of images."""

import hashlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..results import BadInputError
from ._csv import convert_csv
from ._image_rows import ImageRows
from ._places import data_cache_folder, reading, written_whole
from ._rows import AbstractRows, ArrayRows

Message = Callable[[str], None]
"""Receiver of sentences for the user."""

IMAGES = (".png", ".jpg", ".jpeg")
_COPY_BLOCK = 1 << 22


def open_rows(
    path: str | os.PathLike[str],
    *,
    message: Message | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> AbstractRows:
    """The rows of a file or folder, which may be larger than memory.

    | path | how it is read |
    |---|---|
    | `FILE.npy` | memory-mapped |
    | `FILE.npz:name` | memory-mapped inside the archive; the name may be left out if it holds one array |
    | `FILE.csv` | numbers between commas, with or without a first line of names; real numbers of 64 bits |
    | folder | its `.png`, `.jpg` and `.jpeg` files, those of its subfolders too, in the order of their paths |

    A compressed `.npz` and a `.csv` cannot be read from the middle: they are converted once, to a `.npy` in the cache
    folder, and again when the file changes. Nothing is unpickled.

    Args:
        path: of the file or folder, with `:name` after an archive of several arrays.
        message: told about a conversion.
        cache: where conversions are kept; `homeostat/data` in the user's cache folder if left out.

    Raises:
        BadInputError: no such file, an unknown format, several arrays without a name, no rows, text among the numbers,
            images of different sizes.
    """
    text = os.fspath(path)
    file, array_name = Path(text), ""
    if not file.exists():
        before, mark, after = text.rpartition(":")
        if mark and before.lower().endswith(".npz"):
            file, array_name = Path(before), after
    if file.is_dir():
        images = sorted(found for found in file.rglob("*") if found.suffix.lower() in IMAGES and found.is_file())
        return ImageRows(tuple(images), str(file))
    if not file.is_file():
        raise BadInputError(
            f"Expected data (.npy, .npz, .csv, or a folder of images), found no file at {file}: check the path."
        )
    place = data_cache_folder() if cache is None else Path(cache)
    suffix = file.suffix.lower()
    if suffix == ".npy":
        with reading(file, "an array (.npy)"):
            return ArrayRows(np.load(file, mmap_mode="r", allow_pickle=False), str(file))
    if suffix == ".npz":
        with reading(file, "an archive of arrays (.npz)"):
            return _open_npz(file, array_name, message, place)
    if suffix == ".csv":
        kept = _kept(file, "", place)
        if not kept.is_file():
            _say(message, f"Converting {file} once; the result is kept as {kept}.")
            with reading(file, "a table of numbers (.csv)"), written_whole(kept) as part:
                convert_csv(file, part)
        with reading(kept, "a table converted earlier"):
            return ArrayRows(np.load(kept, mmap_mode="r", allow_pickle=False), str(file))
    raise BadInputError(
        f"Expected data as .npy, .npz, .csv, or a folder of images, got {file}: save it in one of these formats."
    )


def _open_npz(file: Path, array_name: str, message: Message | None, place: Path) -> ArrayRows:
    with zipfile.ZipFile(file) as archive:
        members = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
        if not array_name and len(members) == 1:
            array_name = next(iter(members))
        if array_name not in members:
            asked = f"there is no {array_name!r} in it" if array_name else "which one was not said"
            raise BadInputError(
                f"Expected the name of one array of {file}, but {asked}: write {file.name}:NAME with one of "
                f"{', '.join(sorted(members)) or '(it is empty)'}."
            )
        entry = members[array_name]
        label = f"{file}:{array_name}"
        if entry.compress_type == zipfile.ZIP_STORED:
            return ArrayRows(_map_member(file, entry), label)
        kept = _kept(file, array_name, place)
        if not kept.is_file():
            _say(message, f"Unpacking {label} once, {entry.file_size} bytes; the result is kept as {kept}.")
            with written_whole(kept) as part, archive.open(entry) as packed, open(part, "wb") as stream:
                while block := packed.read(_COPY_BLOCK):
                    stream.write(block)
    return ArrayRows(np.load(kept, mmap_mode="r", allow_pickle=False), label)


def _map_member(file: Path, entry: zipfile.ZipInfo) -> np.ndarray:
    """An array stored without compression, mapped where it lies inside the archive."""
    with open(file, "rb") as stream:
        stream.seek(entry.header_offset)
        local = stream.read(30)
        if local[:4] != b"PK\x03\x04":
            raise ValueError("the archive's directory points to no member.")
        name_length, extra_length = int.from_bytes(local[26:28], "little"), int.from_bytes(local[28:30], "little")
        stream.seek(entry.header_offset + 30 + name_length + extra_length)
        shape, fortran, dtype = _array_header(stream)
        if dtype.hasobject:
            raise ValueError("it holds Python objects, which are not unpickled.")
        if 0 in shape or not shape:
            return np.empty(shape, dtype)
        return np.memmap(file, dtype, "r", stream.tell(), shape, "F" if fortran else "C")


def _array_header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    return np.lib.format.read_array_header_2_0(stream)


def _kept(file: Path, array_name: str, place: Path) -> Path:
    """Where the conversion of this state of the file is kept."""
    state = file.stat()
    mark = f"{file.resolve()}\0{array_name}\0{state.st_size}\0{state.st_mtime_ns}"
    return place / "converted" / f"{file.stem}-{hashlib.sha256(mark.encode()).hexdigest()[:16]}.npy"


def _say(message: Message | None, sentence: str) -> None:
    if message is not None:
        message(sentence)
