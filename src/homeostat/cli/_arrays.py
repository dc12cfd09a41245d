"""Archives of arrays that appear whole or not at all, written a block of rows at a time."""

import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import final

import numpy as np

from ..results import BadInputError
from ..train import write_bytes


def new_file(path: Path | None, suffix: str) -> Path:
    """A path where nothing stands yet.

    Raises:
        BadInputError: something does, or the name ends otherwise.
    """
    if path is None or path.suffix != suffix:
        raise BadInputError(f"Expected a file that ends in {suffix} for --out, got {path}: rename it.")
    if path.exists():
        raise BadInputError(f"Expected a new file for --out, got {path}, which exists: choose another name.")
    return path


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays that fit into memory as `.npz`, in one step."""
    stream = io.BytesIO()
    np.savez(stream, **dict(arrays))
    write_bytes(path, stream.getvalue())


@final
class ArraysWriter:
    """Writes rows of several arrays block by block; the archive takes its place when the block of `with` ends well.

    Args:
        path: of the `.npz`.
        num_rows: rows of every array.
    """

    def __init__(self, path: Path, num_rows: int):
        self._path, self._num_rows = path, num_rows
        self._arrays: dict[str, np.memmap] = {}
        self._extra: dict[str, np.ndarray] = {}

    @property
    def names(self) -> list[str]:
        """Arrays written so far."""
        return [*self._arrays, *self._extra]

    def __enter__(self) -> "ArraysWriter":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix=f".{self._path.name}.", suffix=".tmp", dir=self._path.parent))
        return self

    def write(self, start: int, block: Mapping[str, np.ndarray]) -> None:
        """Rows of every array from number `start` on."""
        for name, rows in block.items():
            if name not in self._arrays:
                shape = (self._num_rows, *rows.shape[1:])
                self._arrays[name] = np.lib.format.open_memmap(
                    self._folder / f"{name}.npy", mode="w+", dtype=rows.dtype, shape=shape
                )
            self._arrays[name][start : start + len(rows)] = rows

    def add(self, name: str, array: np.ndarray) -> None:
        """An array that has no rows."""
        self._extra[name] = array

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _finish(self) -> None:
        for name, array in self._extra.items():
            np.save(self._folder / f"{name}.npy", array)
        for array in self._arrays.values():
            array.flush()
        whole = self._folder / "whole"
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for name in self.names:
                archive.write(self._folder / f"{name}.npy", f"{name}.npy")
        with open(whole, "rb") as file:
            os.fsync(file.fileno())
        os.replace(whole, self._path)
