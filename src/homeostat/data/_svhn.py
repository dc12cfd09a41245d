"""Street View House Numbers, cropped digits."""

import os

import numpy as np

from ._download import Progress, official_files, remote_files
from ._packed import read_mat
from ._places import expect_array, reading
from ._splits import Official, Source, Splits, divide

_STANFORD = "http://ufldl.stanford.edu/housenumbers/"
SVHN_FILES = remote_files(
    _STANFORD,
    ("train_32x32.mat", 182_040_794, "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8"),
    ("test_32x32.mat", 64_275_384, "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b"),
)
"""Sizes and checksums: tensorflow/datasets, url_checksums/svhn_cropped.txt at commit 333639b3."""

NUM_TRAIN, NUM_TEST = 73_257, 26_032


def load_svhn(
    folder: str | os.PathLike[str] | None = None, *, num_validation: int = 7_300, progress: Progress | None = None
) -> Splits:
    """SVHN, cropped digits: uint8 RGB images of shape (32, 32, 3), with the digit as the label.

    Officially 73,257 training and 26,032 test images (the 531,131 "extra" images are not loaded). Validation rows are
    set apart from the training images (drawn once, with seed 0); the test images are left alone. The files call the
    digit 0 class 10; here it is 0.

    Args:
        folder: the folder that holds a folder `svhn` with the official files; HOMEOSTAT_DATA if left out, and the network
            if there is none (246 MB).

    Raises:
        BadInputError: neither the files nor a network, or files that are not SVHN.

    References:
        Netzer, Wang, Coates, Bissacco, Wu and Ng (2011), Reading digits in natural images with unsupervised feature
        learning.
    """
    files, place = official_files(SVHN_FILES, "svhn", folder, progress, _STANFORD)
    parts = []
    for file, num_rows in zip(files, (NUM_TRAIN, NUM_TEST), strict=True):
        arrays = read_mat(file)
        with reading(file, "the arrays X and y"):
            images, labels = arrays["X"], arrays["y"].reshape(-1).astype(np.uint8)
        expect_array(file, images, (32, 32, 3, num_rows), np.uint8)
        expect_array(file, labels, (num_rows,), np.uint8)
        parts += [np.ascontiguousarray(np.moveaxis(images, -1, 0)), labels % 10]
    source = Source(
        place,
        True,
        "non-commercial use",
        "Netzer et al. (2011), Reading digits in natural images with unsupervised feature learning",
        "official order; without the extra images",
    )
    names = tuple(str(digit) for digit in range(10))
    return divide("svhn", Official(*parts), num_validation, source, class_names=names)
