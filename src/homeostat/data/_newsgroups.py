"""20 Newsgroups as word counts."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ..results import BadInputError
from ._download import Progress, official_files, packed_copy, remote_files
from ._packed import read_archive
from ._places import reading
from ._rows import SparseRows
from ._splits import Official, Source, Splits, divide

_CLEAN = (
    "https://raw.githubusercontent.com/YongfeiYan/Neural-Document-Modeling/"
    "763972476f391872eec8de73472cf836f08ee054/data/20news-clean/"
)
CLEAN_FILES = remote_files(
    _CLEAN,
    ("train.feat", 3_716_101, "d2d2c100098ea735e47eab17fa422439c9f8cd9dca3559d799aeb35a031084f8"),
    ("test.feat", 2_418_415, "ffdb26173d1d0f33680a4e364c7ddae0958fa0de96c3f25150f07cb49f2090ce"),
    ("vocab", 22_710, "5ad13225bdc576d1d41e73c7d972efc2c0ac5c4b6dd7ecfd72da2e633b0364ac"),
)
_ECRTM = (
    "https://raw.githubusercontent.com/BobXWu/ECRTM/d7cc442a526522357f57f3df26ca8f20c485370d/data/20NG/"
)  # fmt: skip
LABELLED_FILES = remote_files(
    _ECRTM,
    ("train_bow.npz", 1_757_835, "7830fde7dbbbe11133533acb2ef84b0cb17d2df1a99bce78170bf7f646b7ed1b"),
    ("test_bow.npz", 1_145_187, "e1ac477525a8b5abd08467e3b4117b59afd64fe3fda9d9931160018c8adb301e"),
    ("train_labels.txt", 28_152, "7d27582295c8a2ef2de4a8f84ca5253d8b486b7f08b40a39a8d6c5f653e04c40"),
    ("test_labels.txt", 18_741, "51a0a12da489b2b83ab7ba086cbb6b3f3b50c164736cc9162796fe12d72f85c8"),
    ("vocab.txt", 38_082, "d701f638652b77a573ca27100047e18e53dbf60823646d82f2f3d4dab396d2af"),
)
"""Both sets are published in repositories at a fixed commit; the checksums were computed from those commits' files."""

CLEAN_WORDS, LABELLED_WORDS = 1_995, 5_000
CLEAN_ROWS, LABELLED_ROWS = (11_258, 7_487), (11_314, 7_532)
_LICENCE = "20 Newsgroups is public without a formal licence; the repositories state none for their preparation"


def load_newsgroups20(
    folder: str | os.PathLike[str] | None = None,
    *,
    num_words: int = CLEAN_WORDS,
    num_validation: int = 1_100,
    progress: Progress | None = None,
) -> Splits:
    """20 Newsgroups: the word counts of postings, by date 60 % training and 40 % test.

    | `num_words` | preparation | training, test | labels |
    |---|---|---|---|
    | 1,995 | that of ProdLDA; column 0 is no word and always 0 | 11,258, 7,487 | none |
    | 5,000 | that of ECRTM | 11,314, 7,532 | newsgroup, 0..19 |

    The observations are sparse: `read(indices)` makes dense rows of shape (num_words,), `np.asarray` all of them. Every
    document has at least one word. Validation rows are set apart from the training documents (drawn once, with seed 0);
    the test documents are left alone.

    Args:
        folder: the folder that holds a folder `newsgroups20`, with packed copies or the published files; HOMEOSTAT_DATA
            if left out, and the network if there is none (6 MB, 3 MB).

    Raises:
        BadInputError: another vocabulary, neither a copy nor a network, or files that are not this data.

    References:
        Lang (1995), NewsWeeder; Srivastava and Sutton (2017), Autoencoding variational inference for topic models; Wu,
        Dong, Nguyen and Luu (2023), Effective neural topic modeling with embedding clustering regularization.
    """
    if num_words not in (CLEAN_WORDS, LABELLED_WORDS):
        raise BadInputError(
            f"Expected a vocabulary of {CLEAN_WORDS} or {LABELLED_WORDS} words, got num_words={num_words}."
        )
    clean = num_words == CLEAN_WORDS
    remotes, origin = (CLEAN_FILES, _CLEAN) if clean else (LABELLED_FILES, _ECRTM)
    copy = packed_copy("newsgroups20", folder, "prodlda_clean_1995.npz.xz" if clean else "ecrtm_5000_labelled.npz.xz")
    files, place = copy or official_files(remotes, "newsgroups20", folder, progress, origin)
    if copy:
        official, vocabulary = _read_copy(files[0], num_words)
    else:
        official, vocabulary = _read_clean(files) if clean else _read_labelled(files)
    rows = len(official.train), len(official.test)
    expected = CLEAN_ROWS if clean else LABELLED_ROWS
    if rows != expected or len(vocabulary) != num_words:
        raise BadInputError(
            f"Expected {expected[0]} training and {expected[1]} test documents over {num_words} words in {place}, got "
            f"{rows[0]}, {rows[1]} and {len(vocabulary)}: these are other files; get them again."
        )
    source = Source(
        place,
        True,
        _LICENCE,
        "Lang (1995); " + ("Srivastava and Sutton (2017)" if clean else "Wu et al. (2023)"),
        "division by date; column 0 is no word" if clean else "division by date",
    )
    return divide("newsgroups20", official, num_validation, source, vocabulary=vocabulary)


def _read_copy(file: Path, num_words: int) -> tuple[Official, tuple[str, ...]]:
    arrays = read_archive(file)
    with reading(file, "word counts"):
        train, test = (
            _sparse(arrays[f"{part}_indptr"], arrays[f"{part}_word"], arrays[f"{part}_count"], num_words, file)
            for part in ("train", "test")
        )
        vocabulary = tuple(arrays["vocab"].tolist())
    return Official(train, arrays.get("train_label"), test, arrays.get("test_label")), vocabulary


def _read_clean(files: tuple[Path, ...]) -> tuple[Official, tuple[str, ...]]:
    """Lines `1 word:count word:count ...`, and lines `word number` for the vocabulary, numbered from 1."""
    train, test = (_read_pairs(file) for file in files[:2])
    with reading(files[2], "lines of a word and its number"):
        vocabulary = [""] * CLEAN_WORDS
        for line in files[2].read_text(encoding="utf-8").splitlines():
            word, number = line.split()
            if not 1 <= int(number) < CLEAN_WORDS:
                raise ValueError(f"{word} has the number {number}.")
            vocabulary[int(number)] = word
    return Official(train, None, test, None), tuple(vocabulary)


def _read_pairs(file: Path) -> SparseRows:
    starts, columns, counts = [0], [], []
    with reading(file, "lines of word:count"), open(file, encoding="ascii") as text:
        for line in text:
            for pair in line.split()[1:]:
                word, _, count = pair.partition(":")
                columns.append(int(word))
                counts.append(int(count))
            starts.append(len(columns))
        return _sparse(starts, columns, counts, CLEAN_WORDS, file)


def _read_labelled(files: tuple[Path, ...]) -> tuple[Official, tuple[str, ...]]:
    """Compressed sparse rows (`indptr`, `indices`, `data`), one label a line, one word a line."""
    rows, labels = [], []
    for file in files[:2]:
        arrays = read_archive(file)
        with reading(file, "compressed sparse rows"):
            rows.append(_sparse(arrays["indptr"], arrays["indices"], arrays["data"], LABELLED_WORDS, file))
    for file in files[2:4]:
        with reading(file, "one label a line"):
            labels.append(np.array(file.read_text(encoding="ascii").split(), np.uint8))
    with reading(files[4], "one word a line"):
        vocabulary = tuple(files[4].read_text(encoding="utf-8").split())
    return Official(rows[0], labels[0], rows[1], labels[1]), vocabulary


def _sparse(starts: ArrayLike, columns: ArrayLike, counts: ArrayLike, num_words: int, file: Path) -> SparseRows:
    words = (np.asarray(columns).astype(np.uint16), np.asarray(counts).astype(np.uint16))
    return SparseRows(np.asarray(starts).astype(np.int64), *words, num_words, str(file))
