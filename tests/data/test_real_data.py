"""The real data sets, where HOMEOSTAT_DATA names copies: shapes, sums taken once, and the official files rebuilt."""

import os
from pathlib import Path

import numpy as np
import pytest

from homeostat.data import (
    Counts,
    Nonempty,
    SparseRows,
    check_rows,
    load_binarized_mnist,
    load_cifar10,
    load_mnist,
    load_newsgroups20,
    load_omniglot,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def copies():
    """The folder with copies."""
    folder = os.environ.get("HOMEOSTAT_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("HOMEOSTAT_DATA names no folder with the data set.")
    return Path(folder)


def present(copies, name):
    if not (copies / name).is_dir():
        pytest.skip(f"HOMEOSTAT_DATA has no folder {name}.")


def check(splits, shape, dtype, rows, sums, label_sums):
    """Rows, sums of all numbers, sums of all labels: of training, validation and test."""
    parts = (splits.train, splits.validation, splits.test)
    assert tuple(len(part.observations) for part in parts) == rows
    numbers = set(np.concatenate([splits.indices.train, splits.indices.validation, splits.indices.test]).tolist())
    assert numbers == set(range(sum(rows)))
    for part, total, label_total in zip(parts, sums, label_sums, strict=True):
        assert part.rows.shape == shape and part.rows.dtype == dtype
        stored = part.observations.counts if isinstance(part.observations, SparseRows) else part.observations
        assert int(stored.sum(dtype=np.int64)) == total
        assert (None if part.labels is None else int(part.labels.sum(dtype=np.int64))) == label_total


def test_mnist(copies):
    present(copies, "mnist")
    splits = load_mnist()
    sums = (1_306_501_785, 260_796_760, 264_923_200)
    check(splits, (28, 28), np.uint8, (50_000, 10_000, 10_000), sums, (222_650, 44_586, 44_434))
    assert splits.complete
    # The published mean of the training pixels, 0.1307 of 255.
    assert round((sums[0] + sums[1]) / (60_000 * 784 * 255), 4) == 0.1307


def test_binarized_mnist(copies, tmp_path):
    """The official files, rebuilt from the copy, have the published checksums and are read alike."""
    present(copies, "binarized_mnist")
    splits = load_binarized_mnist()
    sums = (5_118_041, 1_028_036, 1_038_896)
    check(splits, (28, 28), np.uint8, (50_000, 10_000, 10_000), sums, (None, None, None))
    (tmp_path / "binarized_mnist").mkdir()
    parts = {"train": splits.train, "valid": splits.validation, "test": splits.test}
    for name, part in parts.items():
        text = np.full((len(part.observations), 784, 2), ord(" "), np.uint8)
        text[..., 0] = part.observations.reshape(-1, 784) + ord("0")
        text[:, -1, 1] = ord("\n")
        (tmp_path / "binarized_mnist" / f"binarized_mnist_{name}.amat").write_bytes(text.tobytes())
    official = load_binarized_mnist(tmp_path)
    for one, other in zip((official.train, official.validation, official.test), parts.values(), strict=True):
        np.testing.assert_array_equal(one.observations, other.observations)


def test_omniglot(copies):
    present(copies, "omniglot")
    splits = load_omniglot()
    sums, label_sums = (353_415_606, 38_412_710, 130_478_953), (17_767_211, 1_956_360, 6_564_619)
    check(splits, (28, 28), np.uint8, (21_945, 2_400, 8_070), sums, label_sums)
    assert set(splits.train.labels.tolist()) <= set(range(1_623))


def test_cifar10(copies):
    present(copies, "cifar10")
    splits = load_cifar10()
    if splits.complete:
        pytest.skip("the copy holds the whole set; the sums are those of the partial copy.")
    sums, label_sums = (3_348_277_330, 370_103_248, 374_560_331), (40_492, 4_491, 4_603)
    check(splits, (32, 32, 3), np.uint8, (9_000, 1_000, 1_000), sums, label_sums)
    assert "the first 10000 of 50000 training and the first 1000 of 10000 test images" in splits.source.note


@pytest.mark.parametrize("num_words", [1_995, 5_000])
def test_newsgroups(copies, num_words):
    present(copies, "newsgroups20")
    splits = load_newsgroups20(num_words=num_words)
    rows, sums, label_sums = {
        1_995: ((10_158, 1_100, 7_487), (894_832, 96_661, 629_312), (None, None, None)),
        5_000: ((10_214, 1_100, 7_532), (1_140_904, 109_776, 803_389), (95_011, 10_130, 69_998)),
    }[num_words]
    check(splits, (num_words,), np.uint16, rows, sums, label_sums)
    assert len(splits.vocabulary) == num_words
    for part in (splits.train, splits.validation, splits.test):
        check_rows(part.rows, Counts(), Nonempty())


def test_published_newsgroups(copies, tmp_path):
    """The published text files, rebuilt from the copy, have the checksums of the repository's and are read alike."""
    present(copies, "newsgroups20")
    splits = load_newsgroups20(num_validation=0)
    (tmp_path / "newsgroups20").mkdir()
    for name, part in (("train", splits.train), ("test", splits.test)):
        rows, lines = part.observations, []
        for first, last in zip(rows.starts[:-1], rows.starts[1:], strict=True):
            pairs = zip(rows.words[first:last], rows.counts[first:last], strict=True)
            lines.append(" ".join(["1", *(f"{word}:{count}" for word, count in pairs)]))
        (tmp_path / "newsgroups20" / f"{name}.feat").write_text("\n".join(lines))
    words = "\n".join(f"{word} {number}" for number, word in enumerate(splits.vocabulary) if number)
    (tmp_path / "newsgroups20" / "vocab").write_text(words + "\n")
    official = load_newsgroups20(tmp_path, num_validation=0)
    for one, other in ((official.train, splits.train), (official.test, splits.test)):
        for field in ("starts", "words", "counts"):
            np.testing.assert_array_equal(getattr(one.observations, field), getattr(other.observations, field))
    assert official.vocabulary == splits.vocabulary
