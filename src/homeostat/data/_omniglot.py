"""Omniglot at 28 x 28 pixels."""

import io
import os
import re
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np

from ._download import Progress, official_files, packed_copy, remote_files
from ._packed import read_archive, read_xz
from ._places import data_cache_folder, expect_array, kept_arrays, reading
from ._splits import Official, Source, Splits, divide

_LAKE = "https://github.com/brendenlake/omniglot/raw/master/python/"
OMNIGLOT_FILES = remote_files(
    _LAKE,
    ("images_background.zip", 9_464_212, "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640"),
    ("images_evaluation.zip", 6_462_886, "1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee"),
)
"""Sizes and checksums: tensorflow/datasets, url_checksums/omniglot.txt at commit 333639b3."""

NUM_IMAGES, NUM_TRAIN, NUM_TEST = 32_460, 24_345, 8_070
_SPLIT_SEED = 1234
_COPY = ("images28_gray.npy.xz", "meta.npz")
_NOTE = (
    "28 x 28 by box filtering of the 105 x 105 drawings; a random division with the sizes of Burda et al. (2016), not "
    "their rows or their resizing: figures compare in kind, not digit for digit; 45 drawings are in no split"
)


def load_omniglot(
    folder: str | os.PathLike[str] | None = None, *, num_validation: int = 2_400, progress: Progress | None = None
) -> Splits:
    """Omniglot: uint8 grey images of shape (28, 28), ink 255, with the number of the character (0..1622) as the label.

    The 32,460 drawings, background alphabets first, are divided at random into 24,345 training and 8,070 test rows (the
    sizes of Burda et al.); the official division, by alphabets, is made for learning from one example and would put
    different characters into training and test. `num_validation` of the training rows are set apart for every choice
    (drawn once, with seed 0); the test rows are left alone. Row numbers in `indices` are not those of the 32,460
    drawings but count training rows, then test rows.

    Args:
        folder: the folder that holds a folder `omniglot`, with a packed copy or the official zip files; HOMEOSTAT_DATA if
            left out, and the network if there is none (16 MB).

    Raises:
        BadInputError: neither a copy nor a network, or files that are not Omniglot.

    References:
        Lake, Salakhutdinov and Tenenbaum (2015), Human-level concept learning through probabilistic program induction;
        Burda, Grosse and Salakhutdinov (2016), Importance weighted autoencoders (the sizes of the splits).
    """
    copy = packed_copy("omniglot", folder, *_COPY)
    files, place = copy or official_files(OMNIGLOT_FILES, "omniglot", folder, progress, _LAKE)
    if copy:
        file, images = files[0], read_xz(files[0])
        with reading(files[1], "the characters' numbers (class_id)"):
            labels = read_archive(files[1])["class_id"].astype(np.int64)
    else:
        file = data_cache_folder() / "omniglot" / "drawings_28.npz"
        arrays = kept_arrays(file, lambda: _read_drawings(files))
        images, labels = arrays["images"], arrays["labels"]
    expect_array(file, images, (NUM_IMAGES, 28, 28), np.uint8)
    expect_array(file, labels, (NUM_IMAGES,), np.int64)
    # The legacy generator: its stream is frozen, and the division is the one that figures were made with.
    order = np.random.RandomState(_SPLIT_SEED).permutation(NUM_IMAGES)
    train, test = np.sort(order[:NUM_TRAIN]), np.sort(order[NUM_TRAIN : NUM_TRAIN + NUM_TEST])
    source = Source(place, True, "MIT", "Lake, Salakhutdinov and Tenenbaum (2015)", _NOTE)
    official = Official(images[train], labels[train], images[test], labels[test])
    return divide("omniglot", official, num_validation, source)


def _read_drawings(files: tuple[Path, ...]) -> dict[str, np.ndarray]:
    """All drawings at 28 x 28, alphabets and characters in the order of their names, and the characters' numbers."""
    from PIL import Image

    images, labels = [], []
    for file in files:
        with reading(file, "a zip file of drawings"), zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if name.endswith(".png")]
            # images_background/Alphabet/character01/0709_01.png: character 709, drawer 1.
            for name in sorted(names, key=lambda name: PurePosixPath(name).parts):
                numbers = re.fullmatch(r"(\d{4})_(\d{2})", PurePosixPath(name).stem)
                if numbers is None:
                    raise ValueError(f"{name} is not named as a drawing.")
                with Image.open(io.BytesIO(archive.read(name))) as drawing:
                    ink = np.where(np.asarray(drawing.convert("L")) == 0, np.uint8(255), np.uint8(0))
                images.append(np.asarray(Image.fromarray(ink).resize((28, 28), Image.Resampling.BOX)))
                labels.append(int(numbers[1]) - 1)
    return {"images": np.stack(images), "labels": np.array(labels, np.int64)}
