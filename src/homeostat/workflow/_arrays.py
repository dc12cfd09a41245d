"""Archives of arrays that appear whole or not at all, written a block at a time; or arrays in memory."""

import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from ..results import BadInputError
from ..train import replacing


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

    @property
    def names(self) -> list[str]:
        """Arrays written so far."""
        return [*self._arrays]

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """What was written, if it is in memory; nothing otherwise."""
        return self._arrays if self._path is None else {}

    def __enter__(self) -> "ArraysWriter":
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._folder = tempfile.TemporaryDirectory(
                prefix=f".{self._path.name}.", suffix=".tmp", dir=self._path.parent, ignore_cleanup_errors=True
            )
        return self

    def write(self, rows: Any, block: Mapping[str, np.ndarray]) -> None:
        """Write some rows (a slice, or numbers) of every array."""
        for name, values in block.items():
            if name not in self._arrays:
                self._arrays[name] = self._new(name, (self._num_rows, *values.shape[1:]), values.dtype)
            self._arrays[name][rows] = values

    def add(self, **arrays: np.ndarray) -> None:
        """Add arrays that have no rows."""
        self._arrays |= arrays

    def _new(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        if self._path is None:
            return np.empty(shape, dtype)
        file = Path(self._folder.name) / f"{name}.npy"
        return np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._path is not None:
            with self._folder:
                if kind is None:
                    write_arrays(self._path, self._arrays)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as `.npz`, in one step."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def read_inputs(file: Path) -> np.ndarray:
    """Known inputs, from a .npy.

    Raises:
        BadInputError: it is something else.
    """
    try:
        given = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BadInputError(f"Expected an array (.npy) of known inputs, but {file} cannot be read: {error}.") from error
    if not isinstance(given, np.ndarray):
        given.close()
        raise BadInputError(
            f"Expected an array (.npy) of known inputs, got an archive of arrays in {file}: save one alone."
        )
    if given.dtype.kind not in "buif":
        raise BadInputError(f"Expected numbers as known inputs, got the type {given.dtype} in {file}: convert them.")
    return given
