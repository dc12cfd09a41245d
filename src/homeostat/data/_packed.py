"""Decoding of packed arrays: `.npy.xz`, `.npz.xz`, MATLAB files, and images kept as residuals of a prediction from their neighbours."""

import io
import lzma
from pathlib import Path

import numpy as np

from ._places import reading


def read_xz(file: Path) -> np.ndarray:
    """The array of a `.npy` or `.npy.xz`, decompressed as it is read."""
    with reading(file, "a packed array"), lzma.open(file) if file.suffix == ".xz" else open(file, "rb") as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def read_archive(file: Path) -> dict[str, np.ndarray]:
    """All arrays of a `.npz` or `.npz.xz`."""
    with reading(file, "an archive of arrays"):
        with lzma.open(file) if file.suffix == ".xz" else open(file, "rb") as stream:
            content = io.BytesIO(stream.read())
        with np.load(content, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}


def from_residuals(residuals: np.ndarray) -> np.ndarray:
    """Images from their median-edge residuals, modulo 256.

    With the pixels a to the left, b above and c above left, the prediction is median(a, b, a + b - c); in the first row
    it is a, in the first column b, and 0 in the corner.

    Args:
        residuals: uint8 of shape (..., height, width).

    Returns:
        uint8 of the same shape.

    References:
        Weinberger, Seroussi and Sapiro (2000), The LOCO-I lossless image compression algorithm, Section III-A.
    """
    *lead, height, width = residuals.shape
    # The images last: each step then works on contiguous numbers.
    pixels = np.zeros((height, width, int(np.prod(lead))), np.int16)
    residual = np.moveaxis(residuals.reshape(-1, height, width), 0, -1).astype(np.int16)
    pixels[0, 0] = residual[0, 0]
    for j in range(1, width):
        pixels[0, j] = (residual[0, j] + pixels[0, j - 1]) & 255
    for i in range(1, height):
        pixels[i, 0] = (residual[i, 0] + pixels[i - 1, 0]) & 255
        for j in range(1, width):
            left, above, corner = pixels[i, j - 1], pixels[i - 1, j], pixels[i - 1, j - 1]
            low, high = np.minimum(left, above), np.maximum(left, above)
            pixels[i, j] = (residual[i, j] + np.clip(left + above - corner, low, high)) & 255
    return np.ascontiguousarray(np.moveaxis(pixels.astype(np.uint8), -1, 0)).reshape(residuals.shape)


def read_mat(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a file, by name; a cell array holds one array a cell."""
    from scipy.io import loadmat, matlab

    with reading(file, "a MATLAB file of version 5"):
        try:
            return {name: found for name, found in loadmat(file).items() if not name.startswith("__")}
        except (matlab.MatReadError, NotImplementedError, TypeError) as error:
            raise ValueError(str(error)) from error
