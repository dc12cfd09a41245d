"""Archives of arrays that appear whole or not at all, written a block at a time; or arrays in memory."""

import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np


@final
class ArraysWriter:
    """Writes entries of several arrays block by block; the archive takes its place when the block of `with` ends well.

    Args:
        path: of the `.npz`; None for arrays in memory.
        num_rows: first axis of every array.
    """

    def __init__(self, path: Path | None, num_rows: int):
        self._path, self._num_rows = path, num_rows
        self._arrays: dict[str, np.ndarray] = {}
        self._extra: dict[str, np.ndarray] = {}

    @property
    def names(self) -> list[str]:
        """Arrays written so far."""
        return [*self._arrays, *self._extra]

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """What was written, if it is in memory; nothing otherwise."""
        return {**self._arrays, **self._extra} if self._path is None else {}

    def __enter__(self) -> "ArraysWriter":
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix=f".{self._path.name}.", suffix=".tmp", dir=self._path.parent))
        return self

    def write(self, rows: Any, block: Mapping[str, np.ndarray]) -> None:
        """Some rows of every array.

        Args:
            rows: a slice, or numbers.
            block: arrays by name.
        """
        for name, values in block.items():
            if name not in self._arrays:
                self._arrays[name] = self._new(name, (self._num_rows, *values.shape[1:]), values.dtype)
            self._arrays[name][rows] = values

    def add(self, **arrays: np.ndarray) -> None:
        """Arrays that have no rows."""
        self._extra |= arrays

    def _new(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        if self._path is None:
            return np.empty(shape, dtype)
        return np.lib.format.open_memmap(self._folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._path is None:
            return
        try:
            if kind is None:
                self._finish(self._path)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _finish(self, path: Path) -> None:
        for name, array in self._extra.items():
            np.save(self._folder / f"{name}.npy", array)
        for array in self._arrays.values():
            if isinstance(array, np.memmap):
                array.flush()
        whole = self._folder / "whole"
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for name in self.names:
                archive.write(self._folder / f"{name}.npy", f"{name}.npy")
        with open(whole, "rb") as file:
            os.fsync(file.fileno())
        os.replace(whole, path)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays that are in memory as `.npz`, in one step."""
    with ArraysWriter(path, 0) as writer:
        writer.add(**arrays)
