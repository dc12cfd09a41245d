"""Opening a user's own data: arrays, tables, or a folder of images."""

import os
import shutil
import zipfile
from pathlib import Path
from typing import final

import numpy as np

from ..results import BadInputError
from ..typing import Any
from ._open_table import TABLES, ArrowStream
from ._places import Message, array_header, data_cache_folder, kept_conversion, reading, say, written_whole
from ._row_table import open_row_table
from ._rows import AbstractRows, ArrayRows, checked_indices
from ._table_columns import TableColumns

IMAGES = (".png", ".jpg", ".jpeg")


def open_rows(
    path: str | os.PathLike[str] | ArrowStream,
    columns: TableColumns | None = None,
    *,
    message: Message | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> AbstractRows:
    """The rows of a file or folder, which may be larger than memory, or of a data frame.

    | path | how it is read |
    |---|---|
    | `FILE.npy` | memory-mapped |
    | `FILE.npz:name` | memory-mapped inside the archive; the name may be left out if it holds one array |
    | `.csv`, `.tsv`, `.txt` | cells between commas, semicolons or tabs, with or without a first line of names |
    | `.parquet`, `.arrow`, `.feather` | columns with types |
    | object with `__arrow_c_stream__` | a data frame of pandas or polars, or a table of pyarrow; held in memory |
    | folder | its `.png`, `.jpg` and `.jpeg` files, those of its subfolders too, in the order of their paths |

    A compressed `.npz` and a table cannot be read from the middle: they are converted once, to a `.npy` in the cache
    folder, and again when the file changes. Nothing is unpickled. Rows of tables are real numbers of 64 bits, NaN where
    a cell is missing (empty, `NA`, `NaN`, `nan`, `null`, `None`, `-`, `?`); truth values are 0 and 1. Columns that are all categories, text of at most 100 values,
    become whole numbers, with their names in `categories`.

    Args:
        path: of the file or folder, with `:name` after an archive of several arrays; or a data frame.
        columns: which columns of a table are used; all by default.
        cache: where conversions are kept; `homeostat/data` in the user's cache folder if left out.

    Raises:
        BadInputError: no such file, an unknown format, several arrays without a name, no rows, text among the numbers,
            images of different sizes.
    """
    place, chosen = data_cache_folder() if cache is None else Path(cache), columns or TableColumns()
    if not isinstance(path, str | os.PathLike):
        return open_row_table(path, chosen, place, message)
    file, array_name = named_array(path)
    if file.is_dir():
        images = sorted(found for found in file.rglob("*") if found.suffix.lower() in IMAGES and found.is_file())
        return ImageRows(tuple(images), str(file))
    if not file.is_file():
        raise BadInputError(
            f"Expected data (.npy, .npz, {', '.join(TABLES)}, or a folder of images), found no file at {file}: check the path."
        )
    suffix = file.suffix.lower()
    if suffix == ".npy":
        with reading(file, "an array (.npy)"):
            return ArrayRows(np.load(file, mmap_mode="r", allow_pickle=False), str(file))
    if suffix == ".npz":
        with reading(file, "an archive of arrays (.npz)"):
            return _open_npz(file, array_name, message, place)
    if suffix in TABLES:
        return open_row_table(file, chosen, place, message)
    raise BadInputError(
        f"Expected data as .npy, .npz, {', '.join(TABLES)}, or a folder of images, got {file}: save it in one of these formats."
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
    return ArrayRows(open_member(file, members[array_name], message, place), f"{file}:{array_name}")


def named_array(path: str | os.PathLike[str], default: str = "") -> tuple[Path, str]:
    """The file of `FILE` or `FILE.npz:NAME`, and the name."""
    file = Path(path)
    if not file.exists():
        before, mark, after = os.fspath(path).rpartition(":")
        if mark and before.lower().endswith(".npz"):
            return Path(before), after
    return file, default


def open_member(file: Path, entry: zipfile.ZipInfo, message: Message | None, place: Path) -> np.ndarray:
    """An array of an archive, mapped where it lies, or unpacked once where it is compressed."""
    if entry.compress_type == zipfile.ZIP_STORED:
        return _map_member(file, entry)
    name = entry.filename.removesuffix(".npy")
    kept = kept_conversion(file, name, place)
    if not kept.is_file():
        say(message, f"Unpacking {file}:{name} once, {entry.file_size} bytes; the result is kept as {kept}.")
        with (
            zipfile.ZipFile(file) as archive,
            archive.open(entry) as packed,
            written_whole(kept) as part,
            open(part, "wb") as stream,
        ):
            shutil.copyfileobj(packed, stream)
    return np.load(kept, mmap_mode="r", allow_pickle=False)


def _map_member(file: Path, entry: zipfile.ZipInfo) -> np.ndarray:
    """An array stored without compression, mapped where it lies inside the archive."""
    with open(file, "rb") as stream:
        stream.seek(entry.header_offset)
        local = stream.read(30)
        if local[:4] != b"PK\x03\x04":
            raise ValueError("the archive's directory points to no member.")
        name_length, extra_length = int.from_bytes(local[26:28], "little"), int.from_bytes(local[28:30], "little")
        stream.seek(entry.header_offset + 30 + name_length + extra_length)
        shape, fortran, dtype = array_header(stream)
        if dtype.hasobject:
            raise ValueError("it holds Python objects, which are not unpickled.")
        if 0 in shape or not shape:
            return np.empty(shape, dtype)
        return np.memmap(file, dtype, "r", stream.tell(), shape, "F" if fortran else "C")


@final
class ImageRows(AbstractRows):
    """Image files of one size, decoded when they are read: uint8 of shape (height, width) or (height, width, 3)."""

    def __init__(self, files: tuple[Path, ...], name: str = "the images"):
        """Look at every file's header: one size, and all grey or all RGB."""
        if not files:
            raise BadInputError(f"Expected image files (.png, .jpg, .jpeg) in {name}, found none.")
        size, mode = _header(files[0])
        for file in files[1:]:
            if (found := _header(file)) != (size, mode):
                raise BadInputError(
                    f"Expected images of one size and kind in {name}; {files[0].name} has {size[0]} x {size[1]} pixels "
                    f"({mode}), but {file} has {found[0][0]} x {found[0][1]} ({found[1]}). Resize or convert them."
                )
        self.files = files
        shape = (size[1], size[0]) if mode == "grey" else (size[1], size[0], 3)
        super().__init__(name, shape, np.dtype(np.uint8), len(files))

    def read(self, indices: Any) -> np.ndarray:
        from PIL import Image

        wanted = checked_indices(indices, self.num_rows)
        rows = np.empty((wanted.size, *self.shape), np.uint8)
        for row, index in zip(rows, wanted, strict=True):
            try:
                with Image.open(self.files[index]) as image:
                    row[...] = np.asarray(image.convert("L" if len(self.shape) == 2 else "RGB"))
            except (OSError, ValueError, SyntaxError) as error:
                raise BadInputError(f"Expected an image, but {self.files[index]} cannot be read: {error}.") from error
        return rows


def _header(file: Path) -> tuple[tuple[int, int], str]:
    """Width and height, and grey or RGB, from the beginning of an image file."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            size, mode = image.size, image.mode
    except (OSError, ValueError, SyntaxError) as error:
        raise BadInputError(f"Expected an image, but {file} cannot be read: {error}.") from error
    kinds = {"1": "grey", "L": "grey", "RGB": "RGB"}
    if mode not in kinds:
        raise BadInputError(
            f"Expected a grey or RGB image of eight bits, but {file} has the mode {mode}: convert it to grey or RGB."
        )
    return size, kinds[mode]
