"""CIFAR-10."""

import os
import tarfile
from pathlib import Path

import numpy as np

from ..results import BadInputError
from ._download import Progress, RemoteFile, official_files
from ._packed import from_residuals, read_archive, read_xz
from ._places import expect_array, holds, local_folder, reading
from ._splits import Official, Source, Splits, divide

CIFAR10_FILES = (
    RemoteFile(
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        170_052_171,
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    ),
)
"""The version without pickled objects. Size and checksum: tensorflow/datasets, url_checksums/cifar10.txt at 333639b3."""

BATCH_ROWS = 10_000
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_LICENCE = "none stated; free for research, cite the report"
_REFERENCE = "Krizhevsky (2009), Learning multiple layers of features from tiny images"


def load_cifar10(
    folder: str | os.PathLike[str] | None = None, *, num_validation: int | None = None, progress: Progress | None = None
) -> Splits:
    """CIFAR-10: uint8 RGB images of shape (32, 32, 3), with the class as the label.

    Officially 50,000 training and 10,000 test images; a packed copy may hold fewer, and then `complete` is false and
    `source.note` gives the numbers: figures from it are not figures on CIFAR-10. Validation rows are set apart from the
    training images (drawn once, with seed 0); the test images are left alone.

    Args:
        folder: the folder that holds a folder `cifar10`, with a packed copy or the official archive; HOMEOSTAT_DATA if
            left out, and the network if there is none (170 MB).
        num_validation: validation rows; a tenth of the training images if left out.

    Raises:
        BadInputError: neither a copy nor a network, or a file that is not CIFAR-10.

    References:
        Krizhevsky (2009), Learning multiple layers of features from tiny images.
    """
    local = local_folder("cifar10", folder)
    official_here = holds(local, *(remote.name for remote in CIFAR10_FILES))
    if local is not None and holds(local, "train0_med.npy.xz", "test1k_med.npy.xz", "labels.npz") and not official_here:
        official, place = _read_copy(local), str(local)
    else:
        (file,), place = official_files(CIFAR10_FILES, "cifar10", folder, progress, CIFAR10_FILES[0].url)
        official = _read_binary(file)
    num_train, num_test = len(official.train), len(official.test)
    complete = num_train == 5 * BATCH_ROWS and num_test == BATCH_ROWS
    note = (
        "official order"
        if complete
        else f"incomplete copy: the first {num_train} of {5 * BATCH_ROWS} training and the first {num_test} of "
        f"{BATCH_ROWS} test images"
    )
    source = Source(place, complete, _LICENCE, _REFERENCE, note)
    count = num_train // 10 if num_validation is None else num_validation
    return divide("cifar10", official, count, source, class_names=CLASSES)


def _read_copy(local: Path) -> Official:
    """The parts of a packed copy: planes G, R - G, B - G modulo 256, each as residuals of neighbouring pixels."""
    labels = read_archive(local / "labels.npz")
    parts = [name for name in (f"train{i}" for i in range(5)) if (local / f"{name}_med.npy.xz").is_file()]

    def images(name: str) -> np.ndarray:
        file = local / f"{name}_med.npy.xz"
        planes = from_residuals(expect_array(file, read_xz(file), (3, None, 32, 32), np.uint8))
        green = planes[0]
        found = np.stack([planes[1] + green, green, planes[2] + green], axis=-1)
        if name not in labels or len(labels[name]) != len(found):
            raise BadInputError(f"Expected {len(found)} labels {name} in {local / 'labels.npz'}: get the copy again.")
        return found

    return Official(
        np.concatenate([images(name) for name in parts]),
        np.concatenate([labels[name] for name in parts]),
        images("test1k"),
        labels["test1k"],
    )


def _read_binary(file: Path) -> Official:
    """The official records of a label and 3 x 32 x 32 bytes, plane by plane."""
    wanted = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    found = {}
    with reading(file, "the CIFAR-10 archive (binary version)"), tarfile.open(file, "r|gz") as archive:
        for member in archive:
            name = member.name.rpartition("/")[2]
            stream = archive.extractfile(member) if name in wanted else None
            if stream is not None:
                found[name] = np.frombuffer(stream.read(), np.uint8).reshape(BATCH_ROWS, 1 + 3 * 32 * 32)
        if set(found) != set(wanted):
            raise ValueError(f"it lacks {', '.join(sorted(set(wanted) - set(found)))}.")
    train = np.concatenate([found[name] for name in wanted[:5]])
    test = found[wanted[5]]
    return Official(_images(train), train[:, 0].copy(), _images(test), test[:, 0].copy())


def _images(records: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
