"""Splits never overlap, and are the same on every machine."""

import numpy as np
import pytest

from homeostat.data import ArrayRows, Source, SparseRows, Split, SplitIndices, Splits, split_rows
from homeostat.data._splits import Official, divide, take
from homeostat.results import BadInputError

SOURCE = Source("here", True, "none", "nobody", "")


def test_rows_are_divided():
    indices = split_rows(50, validation=0.2, test=0.1, seed=3)
    assert [part.size for part in (indices.train, indices.validation, indices.test)] == [35, 10, 5]
    together = np.concatenate([indices.train, indices.validation, indices.test])
    np.testing.assert_array_equal(np.sort(together), np.arange(50))
    again = split_rows(50, validation=0.2, test=0.1, seed=3)
    np.testing.assert_array_equal(indices.test, again.test)
    assert not np.array_equal(indices.test, split_rows(50, validation=0.2, test=0.1, seed=4).test)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (-0.1, 0.2), (0.2, -0.1), (1.0, 0.0)])
def test_shares_that_leave_nothing(shares):
    with pytest.raises(BadInputError, match="leave rows to train on"):
        split_rows(10, validation=shares[0], test=shares[1], seed=0)


@pytest.mark.parametrize("parts", [([0, 1], [1], [2]), ([0, 1], [2], [0]), ([0], [1], [2, 1]), ([0, 0], [1], [2])])
def test_overlapping_splits_are_refused(parts):
    with pytest.raises(BadInputError, match=r"one split at most, but row \d is there 2 times"):
        SplitIndices(*map(np.array, parts))


def test_arrays_and_rows_are_split_alike():
    array = np.arange(40).reshape(20, 2)
    indices = split_rows(len(array), validation=0.25, test=0.0, seed=1)
    views = ArrayRows(array).select(indices.train), ArrayRows(array).select(indices.validation)
    assert tuple(map(len, views)) == (15, 5) and indices.test.size == 0
    for view, some in zip(views, (indices.train, indices.validation), strict=True):
        np.testing.assert_array_equal(view.read(np.arange(len(view))), array[some])


def test_validation_rows_come_out_of_the_training_rows():
    train, test = np.arange(24).reshape(12, 2), 100 + np.arange(6).reshape(3, 2)
    splits = divide("name", Official(train, train[:, 0], test, test[:, 0]), 4, SOURCE)
    assert [len(split.observations) for split in (splits.train, splits.validation, splits.test)] == [8, 4, 3]
    np.testing.assert_array_equal(splits.validation.observations, train[splits.indices.validation])
    np.testing.assert_array_equal(splits.validation.labels, train[splits.indices.validation, 0])
    np.testing.assert_array_equal(splits.test.observations, test)
    np.testing.assert_array_equal(splits.indices.test, [12, 13, 14])
    assert splits.train.rows.num_rows == 8 and splits.complete
    assert len(divide("name", Official(train, None, test, None), 0, SOURCE).train.observations) == 12
    with pytest.raises(BadInputError, match="from 0 to 11 validation rows"):
        divide("name", Official(train, None, test, None), 12, SOURCE)


def test_splits_without_the_rows_of_their_numbers():
    part = Split(np.zeros((2, 1)), None)
    with pytest.raises(BadInputError, match="3 rows in the split test of name"):
        Splits("name", part, part, part, SplitIndices(np.arange(2), np.arange(2, 4), np.arange(4, 7)), SOURCE)
    with pytest.raises(BadInputError, match="2 rows in the split train of name"):
        Splits(
            "name", Split(np.zeros((2, 1)), np.zeros(3)), part, part,
            SplitIndices(np.arange(2), np.arange(2, 4), np.arange(4, 6)), SOURCE,
        )  # fmt: skip


def test_sparse_rows_are_taken():
    dense = np.random.default_rng(0).poisson(0.5, (9, 5))
    starts = np.concatenate([[0], np.cumsum((dense > 0).sum(axis=1))])
    rows = SparseRows(starts, np.nonzero(dense)[1], dense[dense > 0], 5)
    wanted = np.array([8, 0, 0, 4])
    np.testing.assert_array_equal(np.asarray(take(rows, wanted)), dense[wanted])
