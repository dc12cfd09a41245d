"""Where data lies: copies below the folder of `HOMEOSTAT_DATA`, downloads and conversions in the user's cache folder."""

import contextlib
import csv
import hashlib
import lzma
import os
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..results import BadInputError

VARIABLE = "HOMEOSTAT_DATA"


def data_cache_folder() -> Path:
    """Where downloads and converted files are kept: `homeostat/data` in the user's cache folder (`XDG_CACHE_HOME`)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "homeostat" / "data"


def local_folder(name: str, folder: str | os.PathLike[str] | None) -> Path | None:
    """The folder that may hold a copy of the data set `name`: `FOLDER/name`, or `None` if there is no such folder.

    Args:
        folder: the folder that holds one folder a data set; `None` looks up the environment variable HOMEOSTAT_DATA.

    Raises:
        BadInputError: the caller named a folder that does not hold the data set.
    """
    if folder is not None:
        place = Path(folder) / name
        if not place.is_dir():
            raise BadInputError(
                f"Expected a folder {name} with the data set in folder={Path(folder)}, found none. Name the folder that "
                f"holds it, or leave the argument out to download the official files."
            )
        return place
    base = os.environ.get(VARIABLE, "")
    place = Path(base) / name
    return place if base and place.is_dir() else None


def needed_folder(name: str, folder: str | os.PathLike[str] | None, what: str, advice: str) -> Path:
    """`local_folder` of a data set that is not downloaded."""
    base = os.environ.get(VARIABLE, "") if folder is None else os.fspath(folder)
    place = Path(base) / name
    if not base or not place.is_dir():
        where = base or f"the folder that {VARIABLE} names"
        raise BadInputError(f"Expected a folder {name}{what} in {where}, found none. {advice}")
    return place


def holds(place: Path | None, *names: str) -> bool:
    """Whether a folder holds all files of these names."""
    return place is not None and all((place / name).is_file() for name in names)


@contextlib.contextmanager
def reading(file: Path, what: str) -> Iterator[None]:
    """Turn every way in which a damaged or foreign file fails into one sentence that names the file."""
    try:
        yield
    except BadInputError:
        raise
    except (
        OSError, ValueError, EOFError, KeyError, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError, zlib.error,
        struct.error, csv.Error,
    ) as error:  # fmt: skip
        raise BadInputError(
            f"Expected {what}, but {file} cannot be read ({type(error).__name__}: {error}). It is damaged or another "
            f"file: delete it and get it again."
        ) from error


def lacks(package: str, extra: str, file: Path) -> BadInputError:
    """The sentence about an optional library that is not installed."""
    return BadInputError(
        f"Expected the package {package}, which reads {file}, found it not installed: pip install {package}, or install "
        f"homeostat with its extra {extra}."
    )


def expect_array(file: Path, array: np.ndarray, shape: tuple[int | None, ...], dtype: type) -> np.ndarray:
    """The array, if it has the shape (`None`: any size) and the type that the data set has."""
    fits = array.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, array.shape, strict=True))
    if not fits or array.dtype != dtype:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise BadInputError(
            f"Expected an array of shape ({wanted}) and type {np.dtype(dtype)} in {file}, got shape {array.shape} and "
            f"type {array.dtype}. This is another file: delete it and get it again."
        )
    return array


@contextlib.contextmanager
def written_whole(file: Path) -> Iterator[Path]:
    """A temporary name beside `file`; what the block writes there takes the name of `file` once the block is through."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".part", dir=file.parent)
    except OSError as error:
        raise BadInputError(
            f"Expected to write {file.name} into the cache folder {file.parent}, which cannot be written ({error}). "
            f"Point XDG_CACHE_HOME to a folder that can."
        ) from error
    os.close(handle)
    part = Path(name)
    try:
        yield part
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)


Message = Callable[[str], None]
"""Receiver of sentences for the user."""


def say(message: Message | None, sentence: str) -> None:
    """Tell, if anybody listens."""
    if message is not None:
        message(sentence)


def kept_conversion(file: Path, mark: str, place: Path, suffix: str = ".npy") -> Path:
    """Where the conversion of this state of a file is kept; `mark` says what else it depends on."""
    state = file.stat()
    whole = f"{file.resolve()}\0{mark}\0{state.st_size}\0{state.st_mtime_ns}"
    return place / "converted" / f"{file.stem}-{hashlib.sha256(whole.encode()).hexdigest()[:16]}{suffix}"


def array_header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and type of an array (.npy), from where it begins."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(stream)


def write_array(target: Path, blocks: Iterable[np.ndarray]) -> int:
    """Write rows block by block as one array (.npy); how many there were."""
    count, begins, shape, kind = 0, 0, (), ""
    with open(target, "wb") as stream:
        for block in blocks:
            if not count:
                shape, kind = block.shape[1:], block.dtype.str
                begins = _write_header(stream, kind, (0, *shape))
            stream.write(block.tobytes())
            count += len(block)
        # NumPy leaves room in the header for the first axis to grow.
        if count and _write_header(stream, kind, (count, *shape)) != begins:
            raise ValueError("the number of rows does not fit into the header of the converted file.")
    return count


def _write_header(stream: BinaryIO, kind: str, shape: tuple[int, ...]) -> int:
    stream.seek(0)
    np.lib.format.write_array_header_1_0(stream, {"descr": kind, "fortran_order": False, "shape": shape})
    return stream.tell()


def kept_arrays(file: Path, build: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of `file` (.npz), which is built and kept on the first call."""
    if not file.is_file():
        arrays = build()
        with written_whole(file) as part, open(part, "wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)
        return arrays
    with reading(file, "arrays converted earlier"), np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
