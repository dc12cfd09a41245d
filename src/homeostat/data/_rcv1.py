"""Reuters Corpus Volume 1 as word counts."""

import collections
import gzip
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..results import BadInputError
from ._download import Progress, RemoteFile, official_files
from ._order import permutation
from ._places import data_cache_folder, kept_arrays, reading
from ._rows import SparseRows
from ._splits import SPLIT_SEED, Official, Source, Splits, divide, take

_LEWIS = "http://www.ai.mit.edu/projects/jmlr/papers/volume5/lewis04a/a12-token-files/"
RCV1_FILES = tuple(
    RemoteFile(f"{_LEWIS}lyrl2004_tokens_{part}.dat.gz", None, None)
    for part in ("train", "test_pt0", "test_pt1", "test_pt2", "test_pt3")
)
"""No source with their checksums is known: the sum inside each gzip file and the number of documents are checked."""

NUM_TRAIN, NUM_TEST = 23_149, 781_265


def load_rcv1(
    folder: str | os.PathLike[str] | None = None,
    *,
    num_words: int = 10_000,
    num_test: int | None = None,
    num_validation: int = 2_000,
    progress: Progress | None = None,
) -> Splits:
    """RCV1-v2: the counts of stemmed words in news stories.

    The official division (LYRL2004) is by date, 23,149 training and 781,265 test documents. Figures for deep models are
    usually on a random division of the same 804,414 documents into 794,414 and 10,000: `num_test=10_000` draws one (with
    seed 0; the published rows are not known). The vocabulary are the `num_words` most frequent stems of the training
    documents, alphabetical among equals; other words are dropped, and documents that lose all words with them. The
    observations are sparse: `read(indices)` makes dense rows. Validation rows are set apart from the training documents
    (drawn once, with seed 0); the test documents are left alone, also by the vocabulary.

    Downloads have no published checksum: their gzip sums and numbers of documents are checked. The counts are kept in
    the cache folder; making them takes minutes the first time.

    Args:
        folder: the folder that holds a folder `rcv1` with the official token files; HOMEOSTAT_DATA if left out, and the
            network if there is none (about 180 MB).
        num_words: size of the vocabulary, at most 65,536.
        num_test: documents of a random test split; the official division if left out.

    Raises:
        BadInputError: neither the files nor a network, files that are not RCV1, or sizes that do not fit.

    References:
        Lewis, Yang, Rose and Li (2004), RCV1: A new benchmark collection for text categorization research, and its
        on-line appendix 12.
    """
    total = NUM_TRAIN + NUM_TEST
    if not 1 <= num_words <= 65_536 or (num_test is not None and not 1 <= num_test < total):
        raise BadInputError(
            f"Expected 1 to 65536 words and 1 to {total - 1} test documents, got num_words={num_words} and "
            f"num_test={num_test}."
        )
    files, place = official_files(RCV1_FILES, "rcv1", folder, progress, _LEWIS)
    order = np.arange(total) if num_test is None else permutation(total, SPLIT_SEED)
    train, test = np.split(order, [NUM_TRAIN if num_test is None else total - num_test])
    state = "".join(f"{file.name}{file.stat().st_size}" for file in files)
    mark = hashlib.sha256(f"{state} {num_words} {num_test}".encode()).hexdigest()[:12]
    kept = data_cache_folder() / "rcv1" / f"counts_{mark}.npz"
    arrays = kept_arrays(kept, lambda: _count(files, num_words, np.sort(train)))
    rows = SparseRows(arrays["starts"], arrays["columns"], arrays["counts"], num_words, "RCV1")
    full = rows.totals() > 0
    train, test = (np.sort(part[full[part]]) for part in (train, test))
    source = Source(
        place,
        True,
        "free for research; derived from Reuters stories, which cannot be restored from it",
        "Lewis, Yang, Rose and Li (2004)",
        ("official division by date" if num_test is None else "random division")
        + f"; {int((~full).sum())} documents without a word of the vocabulary are left out",
    )
    official = Official(take(rows, train), None, take(rows, test), None)
    return divide("rcv1", official, num_validation, source, vocabulary=tuple(arrays["vocabulary"].tolist()))


def documents(file: Path) -> Iterator[list[str]]:
    """The words of each document: lines `.I number` and `.W`, then words, until a blank line or the next `.I`."""
    words: list[str] | None = None
    with reading(file, "a gzipped file of tokens"), gzip.open(file, "rt", encoding="latin-1") as text:
        for line in text:
            if line.startswith(".I "):
                if words is not None:
                    yield words
                words = []
            elif words is None:
                raise ValueError(f"it begins with {line[:20]!r} instead of `.I` and a number.")
            elif not line.startswith(".W"):
                words.extend(line.split())
        if words is not None:
            yield words


def _count(files: tuple[Path, ...], num_words: int, train: np.ndarray) -> dict[str, np.ndarray]:
    """Two passes over the files: the vocabulary of the training documents, then the counts of all."""
    frequency: collections.Counter[str] = collections.Counter()
    is_train = np.zeros(NUM_TRAIN + NUM_TEST, bool)
    is_train[train] = True
    number = 0
    for file in files:
        before = number
        for words in documents(file):
            if number < is_train.size and is_train[number]:
                frequency.update(words)
            number += 1
        if file == files[0] and number != NUM_TRAIN:
            raise BadInputError(f"Expected {NUM_TRAIN} documents in {file}, got {number - before}: get it again.")
    if number != is_train.size:
        raise BadInputError(
            f"Expected {is_train.size} documents in {', '.join(file.name for file in files)} of {files[0].parent}, got "
            f"{number}: get them again."
        )
    chosen = sorted(frequency, key=lambda word: (-frequency[word], word))[:num_words]
    column = {word: index for index, word in enumerate(chosen)}
    starts, columns, counts = [0], [], []
    for file in files:
        for words in documents(file):
            found, times = np.unique([column[word] for word in words if word in column], return_counts=True)
            columns.append(found.astype(np.uint16))
            counts.append(np.minimum(times, 65_535).astype(np.uint16))
            starts.append(starts[-1] + found.size)
    return {
        "starts": np.array(starts, np.int64),
        "columns": np.concatenate(columns),
        "counts": np.concatenate(counts),
        "vocabulary": np.array(chosen),
    }
