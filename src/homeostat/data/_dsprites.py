"""Reading the dSprites data set: the original archive, or a copy with eight pixels to the byte.

Image number i shows the classes (shape, scale, orientation, x, y) of

    i = (((6 shape + scale) 40 + orientation) 32 + x) 32 + y

Images are read in chunks and kept packed (377 MB instead of 3 GB). Nothing in an archive is unpickled.

References:
    Matthey et al. (2017), dSprites: Disentanglement testing sprites dataset.
"""

import io
import os
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..results import BadInputError
from ..typing import Any
from ._packed import read_xz
from ._places import array_header, expect_array, reading

CLASSES = (1, 3, 6, 40, 32, 32)
"""Number of classes of colour, shape, scale, orientation, x and y."""

NUM_IMAGES = 737_280
SIDE = 64
_BYTES = SIDE * SIDE // 8
_CHUNK = 8192


class DSpritesArchive(NamedTuple):
    """The images of the data set, in its order.

    Attributes:
        packed: uint8 of shape (737280, 512), one row an image, eight pixels to the byte, the first pixel in the
            highest bit.
    """

    packed: np.ndarray

    def images(self, index: Any) -> np.ndarray:
        """Images by number, as uint8 zeros and ones of shape (..., 64, 64)."""
        rows = self.packed[index]
        return np.unpackbits(rows, axis=-1).reshape(*rows.shape[:-1], SIDE, SIDE)


def read_dsprites(path: str | os.PathLike[str]) -> DSpritesArchive:
    """Read the original archive (`dsprites_ndarray_*.npz`), or a packed copy (`.npy`, `.npy.xz`; 737,280 x 512 bytes).

    Raises:
        BadInputError: no such file, or a file that is not dSprites.
    """
    file = Path(path)
    if not file.is_file():
        raise BadInputError(f"Expected the dSprites archive (.npz, .npy or .npy.xz), found no file at {file}.")
    with reading(file, "the dSprites archive"):
        if file.suffix == ".npz":
            return _read_archive(file)
        return DSpritesArchive(expect_array(file, read_xz(file), (NUM_IMAGES, _BYTES), np.uint8))


def _read_archive(file: Path) -> DSpritesArchive:
    with zipfile.ZipFile(file) as archive:
        names = set(archive.namelist())
        missing = {"imgs.npy", "latents_classes.npy", "latents_values.npy"} - names
        if missing:
            raise BadInputError(
                f"Expected the dSprites arrays imgs, latents_classes and latents_values in {file}, "
                f"found {sorted(names)}. This archive is not dSprites."
            )
        _check_classes(file, archive)
        with archive.open("imgs.npy") as stream:
            shape, fortran, dtype = array_header(stream)
            if fortran:
                raise ValueError("its images are stored column by column.")
            if shape != (NUM_IMAGES, SIDE, SIDE) or dtype != np.uint8:
                raise BadInputError(
                    f"Expected images of shape {(NUM_IMAGES, SIDE, SIDE)} and type uint8 in {file}, "
                    f"got shape {shape} and type {dtype}. This archive is not dSprites."
                )
            return DSpritesArchive(_read_images(file, stream))


def _check_classes(file: Path, archive: zipfile.ZipFile) -> None:
    with archive.open("latents_classes.npy") as stream:
        classes = np.load(io.BytesIO(stream.read()), allow_pickle=False)
    expected = np.stack(np.unravel_index(np.arange(NUM_IMAGES), CLASSES), axis=1)
    if not np.array_equal(classes, expected):
        raise BadInputError(
            f"Expected one image for every combination of {CLASSES} classes, the last fastest, in {file}; "
            f"its latents_classes (shape {classes.shape}) say otherwise. This archive is not dSprites."
        )


def _read_images(file: Path, stream: Any) -> np.ndarray:
    packed = np.empty((NUM_IMAGES, _BYTES), np.uint8)
    for first in range(0, NUM_IMAGES, _CHUNK):
        count = min(_CHUNK, NUM_IMAGES - first)
        pixels = np.frombuffer(stream.read(count * SIDE * SIDE), np.uint8)
        if pixels.size != count * SIDE * SIDE:
            raise EOFError(f"it ends after {first + pixels.size // SIDE**2} images.")
        if pixels.max(initial=0) > 1:
            raise BadInputError(
                f"Expected zeros and ones in {file}, found the value {pixels.max()}. This archive is not dSprites."
            )
        packed[first : first + count] = np.packbits(pixels.reshape(count, -1), axis=1)
    return packed
