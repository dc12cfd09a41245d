"""MNIST, and its fixed binarisation."""

import gzip
import os
from pathlib import Path

import numpy as np

from ..results import BadInputError
from ._download import Progress, official_files, packed_copy, remote_files
from ._packed import read_xz
from ._places import expect_array, reading
from ._splits import Official, Source, Split, SplitIndices, Splits, divide

_MNIST = "https://storage.googleapis.com/cvdf-datasets/mnist/"
MNIST_FILES = remote_files(
    _MNIST,
    ("train-images-idx3-ubyte.gz", 9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    ("train-labels-idx1-ubyte.gz", 28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    ("t10k-images-idx3-ubyte.gz", 1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    ("t10k-labels-idx1-ubyte.gz", 4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
)
"""Sizes and checksums: tensorflow/datasets, url_checksums/mnist.txt at commit 31f1255e."""

_LAROCHELLE = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/binarized_mnist_"
BINARIZED_FILES = remote_files(
    _LAROCHELLE,
    ("train.amat", 78_400_000, "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d"),
    ("valid.amat", 15_680_000, "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2"),
    ("test.amat", 15_680_000, "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c"),
)
"""Sizes and checksums: tensorflow/datasets, url_checksums/binarized_mnist.txt at commit 333639b3."""

NUM_TRAIN, NUM_TEST = 60_000, 10_000
BINARIZED_ROWS = (50_000, 10_000, 10_000)
_LICENCE = "CC BY-SA 3.0"
_COPY = ("x_train.npy.xz", "y_train.npy", "x_test.npy.xz", "y_test.npy")
_BINARIZED_COPY = ("train_packed.npy.xz", "valid_packed.npy.xz", "test_packed.npy.xz")


def load_mnist(
    folder: str | os.PathLike[str] | None = None, *, num_validation: int = 10_000, progress: Progress | None = None
) -> Splits:
    """MNIST: uint8 grey images of shape (28, 28), ink 255, with the digit as the label.

    Officially 60,000 training and 10,000 test images. The authors of iterative inference chose settings on the test
    images; here `num_validation` of the training images are set apart for that (drawn once, with seed 0), and the test
    images are left alone.

    Args:
        folder: the folder that holds a folder `mnist`, with a packed copy or the official files; HOMEOSTAT_DATA if left
            out, and the network if there is none.
        num_validation: validation rows; 0 trains on all 60,000.

    Raises:
        BadInputError: neither a copy nor a network, or files that are not MNIST.

    References:
        LeCun, Bottou, Bengio and Haffner (1998), Gradient-based learning applied to document recognition.
    """
    copy = packed_copy("mnist", folder, *_COPY)
    files, place = copy or official_files(MNIST_FILES, "mnist", folder, progress, _MNIST)
    arrays = [(read_xz if copy else read_idx)(file) for file in files]
    shapes = ((NUM_TRAIN, 28, 28), (NUM_TRAIN,), (NUM_TEST, 28, 28), (NUM_TEST,))
    for file, array, shape in zip(files, arrays, shapes, strict=True):
        expect_array(file, array, shape, np.uint8)
    source = Source(
        place, True, _LICENCE, "LeCun, Cortes and Burges, The MNIST database of handwritten digits", "official order"
    )
    names = tuple(str(digit) for digit in range(10))
    return divide("mnist", Official(*arrays), num_validation, source, class_names=names)


def read_idx(file: Path) -> np.ndarray:
    """The array of bytes of a gzipped idx file: two zeros, the type 8, the number of axes, their sizes, the bytes."""
    with reading(file, "a gzipped idx file"), gzip.open(file) as stream:
        head = stream.read(4)
        if len(head) < 4 or head[:3] != b"\x00\x00\x08":
            raise BadInputError(f"Expected an idx file of bytes, but {file} begins with {head!r}: it is another file.")
        shape = tuple(np.frombuffer(stream.read(4 * head[3]), ">u4").tolist())
        return np.frombuffer(stream.read(), np.uint8).reshape(shape)


def load_binarized_mnist(folder: str | os.PathLike[str] | None = None, *, progress: Progress | None = None) -> Splits:
    """The fixed binarisation of MNIST: zeros and ones, uint8 of shape (28, 28), without labels.

    The official splits of 50,000, 10,000 and 10,000 images, in the order of the official files, which is not MNIST's.

    Args:
        folder: the folder that holds a folder `binarized_mnist`; HOMEOSTAT_DATA if left out, and the network if there is
            none (110 MB).

    Raises:
        BadInputError: neither a copy nor a network, or files that are not this data.

    References:
        Salakhutdinov and Murray (2008), On the quantitative analysis of deep belief networks; Larochelle and Murray
        (2011), The neural autoregressive distribution estimator.
    """
    copy = packed_copy("binarized_mnist", folder, *_BINARIZED_COPY)
    files, place = copy or official_files(BINARIZED_FILES, "binarized_mnist", folder, progress, _LAROCHELLE + "*.amat")
    parts = [(_read_bits if copy else _read_amat)(*part) for part in zip(files, BINARIZED_ROWS, strict=True)]
    source = Source(
        place, True, f"derived from MNIST ({_LICENCE})", "Larochelle and Murray (2011)", "official splits, fixed pixels"
    )
    return Splits(
        "binarized_mnist", *(Split(part, None) for part in parts), SplitIndices.consecutive(BINARIZED_ROWS), source
    )


def _read_bits(file: Path, num_rows: int) -> np.ndarray:
    return np.unpackbits(expect_array(file, read_xz(file), (num_rows, 98), np.uint8), axis=1).reshape(-1, 28, 28)


def _read_amat(file: Path, num_rows: int) -> np.ndarray:
    """Lines of 784 digits 0 or 1 with a blank or the end of the line after each: every second byte is a digit."""
    with reading(file, "lines of 784 zeros and ones"):
        text = np.frombuffer(file.read_bytes(), np.uint8)
        if text.size != num_rows * 784 * 2:
            raise ValueError(f"it has {text.size} bytes instead of {num_rows * 784 * 2}.")
        pixels = text[::2] - ord("0")
        if pixels.max() > 1:
            raise ValueError("it holds something else than zeros and ones.")
        return pixels.reshape(num_rows, 28, 28)
