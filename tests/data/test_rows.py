"""Rows in batches: every row once, the same order everywhere, resumable."""

import itertools

import numpy as np
import pytest

from homeostat.data import ArrayRows, SparseRows, permutation
from homeostat.results import BadInputError


@pytest.fixture
def numbers():
    return ArrayRows(np.arange(46).reshape(23, 2), "numbers")


def sparse(dense):
    starts = np.concatenate([[0], np.cumsum((dense > 0).sum(axis=1))])
    return SparseRows(starts, np.nonzero(dense)[1], dense[dense > 0], dense.shape[1])


def test_the_order_is_written_down():
    """Written once: another order on any machine or version would break the resumption of runs."""
    assert permutation(8, 0).tolist() == [0, 3, 7, 5, 1, 2, 6, 4]
    assert permutation(8, 7, 1).tolist() == [7, 6, 1, 4, 3, 2, 5, 0]
    assert sorted(permutation(1000, 3).tolist()) == list(range(1000))
    with pytest.raises(BadInputError, match="at least 0"):
        permutation(8, -1)


def test_an_epoch_shows_whole_batches_of_different_rows(numbers):
    assert (numbers.shape, numbers.num_rows, len(numbers), numbers.dtype) == ((2,), 23, 23, np.int64)
    batches = list(numbers.batches(5, seed=0))
    assert [batch.shape for batch in batches] == [(5, 2)] * 4 and numbers.num_batches(5) == 4
    rows = np.concatenate(batches)[:, 0] // 2
    assert len(set(rows.tolist())) == 20
    np.testing.assert_array_equal(np.concatenate(batches)[:, 1], 2 * rows + 1)


def test_epochs_and_seeds_differ_and_leave_out_different_rows(numbers):
    def order(**keywords):
        return tuple(np.concatenate(list(numbers.batches(5, **keywords)))[:, 0].tolist())

    orders = {order(seed=seed, epoch=epoch) for seed, epoch in itertools.product(range(3), range(3))}
    assert len(orders) == 9
    assert order(seed=2, epoch=1) == order(seed=2, epoch=1)
    assert len({frozenset(seen) for seen in orders}) > 1


def test_an_epoch_can_be_resumed(numbers):
    whole = list(numbers.batches(4, seed=1, epoch=2))
    for start in range(len(whole) + 1):
        rest = list(numbers.batches(4, seed=1, epoch=2, start=start))
        assert len(rest) == len(whole) - start
        for batch, again in zip(whole[start:], rest, strict=True):
            np.testing.assert_array_equal(batch, again)


def test_chunks_show_everything_in_order(numbers):
    chunks = list(numbers.chunks(10))
    assert [len(chunk) for chunk in chunks] == [10, 10, 3]
    np.testing.assert_array_equal(np.concatenate(chunks), numbers.array)


def test_a_selection_is_a_view(numbers):
    view = numbers.select([4, 2, 9]).select([2, 0])
    np.testing.assert_array_equal(view.read([0, 1]), [[18, 19], [8, 9]])
    assert (view.num_rows, view.shape, view.dtype, view.name) == (2, (2,), np.int64, "numbers")


def test_sparse_rows_become_dense():
    dense = np.random.default_rng(0).poisson(0.4, (9, 7)).astype(np.uint16)
    dense[3] = 0
    rows = sparse(dense)
    np.testing.assert_array_equal(np.asarray(rows), dense)
    np.testing.assert_array_equal(rows.read([3, 8, 0, 0]), dense[[3, 8, 0, 0]])
    np.testing.assert_array_equal(rows.totals(), dense.sum(axis=1))
    assert (rows.shape, rows.num_rows, rows.dtype) == ((7,), 9, np.uint16)
    assert rows.read([]).shape == (0, 7)
    assert np.asarray(rows, np.float32).dtype == np.float32


def test_sparse_rows_must_fit_together():
    one = np.array([1])
    for starts, columns in (([0, 2], [0]), ([1, 1], [0]), ([0, 1], [7]), ([0, 1], [-1]), ([0, 2, 1], [0])):
        with pytest.raises(BadInputError, match="sparse rows"):
            SparseRows(np.array(starts), np.array(columns), one, 7)


@pytest.mark.parametrize("indices", [[23], [-1], [0.0], [[1, 2]]])
def test_a_number_that_is_no_row(numbers, indices):
    with pytest.raises(BadInputError, match="row numbers from 0 to 22"):
        numbers.read(indices)


def test_what_cannot_be_batched(numbers):
    for size in (0, 24):
        with pytest.raises(BadInputError, match="batch size from 1 to the 23 rows of numbers"):
            numbers.batches(size, seed=0)
    with pytest.raises(BadInputError, match="start from 0 to the 4 batches"):
        numbers.batches(5, seed=0, start=5)
    with pytest.raises(BadInputError, match="at least 1 row"):
        numbers.chunks(0)


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros((0, 3)), np.zeros((3, 0)), np.array(1.0)], ids=str)
def test_arrays_without_rows(array):
    with pytest.raises(BadInputError, match="rows of at least one number"):
        ArrayRows(array)


@pytest.mark.parametrize("dtype", [str, complex, object])
def test_arrays_without_real_numbers(dtype):
    with pytest.raises(BadInputError, match="Expected numbers in the array"):
        ArrayRows(np.ones((2, 2)).astype(dtype))
