"""Batches of sequences: fixed shapes, every piece in its place, the same order everywhere."""

import itertools

import numpy as np
import pytest

from homeostat.data import (
    AbstractCropping,
    Crop,
    FullLength,
    Sequences,
    Windows,
    num_batches,
    sequence_batches,
    whole_batches,
)
from homeostat.results import BadInputError

LENGTHS = np.array([5, 2, 9, 30, 9, 4, 17])


@pytest.fixture
def sequences():
    """Step t of sequence i is the number 100 i + t, at the time i + t/2; action t is minus that."""
    values = [100 * index + np.arange(float(length)) for index, length in enumerate(LENGTHS)]
    times = [index + 0.5 * np.arange(length) for index, length in enumerate(LENGTHS)]
    return Sequences(values, times=times, actions=[-one[:-1, None] for one in values])


def check_rows(batch, rows):
    for row in range(rows):
        index, start, size = batch.indices[row], batch.starts[row], batch.lengths[row]
        expected = 100 * index + start + np.arange(size)
        np.testing.assert_array_equal(batch.values[row, :size, 0], expected)
        assert batch.observed[row, :size].all() and not batch.observed[row, size:].any()
        assert not batch.values[row, size:].any() and not batch.actions[row, size - 1 :].any()
        np.testing.assert_array_equal(batch.actions[row, : size - 1, 0], -expected[:-1])
        np.testing.assert_array_equal(batch.times[row, :size], index + 0.5 * (start + np.arange(size)))
        assert batch.steps[row].sum() == size
    np.testing.assert_array_equal(batch.elapsed, np.full(batch.elapsed.shape, 0.5))


@pytest.mark.parametrize("cut", [Crop(6), Windows(6), FullLength((5, 9, 40)), FullLength((30,))], ids=repr)
def test_every_piece_comes_and_a_run_goes_on_where_it_stopped(sequences, cut):
    count = num_batches(sequences, cut, 3)
    batches = list(sequence_batches(sequences, cut, 3, seed=4, epoch=2))
    assert len(batches) == count
    assert {batch.values.shape[1] for batch in batches} <= set(cut.shapes(LENGTHS))
    assert {len(batch.values) for batch in batches} == {3} and {batch.num_rows for batch in batches} == {3}
    for batch in batches:
        check_rows(batch, 3)
    pieces = cut.pieces(LENGTHS, seed=4, epoch=2)
    expected = set(zip(pieces.indices.tolist(), pieces.starts.tolist(), strict=True))
    seen = {(int(i), int(s)) for batch in batches for i, s in zip(batch.indices, batch.starts, strict=True)}
    assert seen == expected
    rest = list(sequence_batches(sequences, cut, 3, seed=4, epoch=2, start=2))
    for one, other in itertools.zip_longest(rest, batches[2:]):
        np.testing.assert_array_equal(one.values, other.values)
    orders = {
        tuple(number for batch in sequence_batches(sequences, cut, 3, seed=4, epoch=epoch) for number in batch.indices)
        for epoch in range(4)
    }
    assert len(orders) > 1


def test_crops_are_drawn_anew_in_every_epoch():
    starts = np.stack([Crop(5).pieces(LENGTHS, seed=0, epoch=epoch).starts for epoch in range(300)])
    assert (starts >= 0).all() and (starts.max(axis=0) == np.maximum(LENGTHS - 5, 0)).all() and (starts.min(axis=0) == 0).all()  # fmt: skip


def test_windows_lie_side_by_side_inside_their_sequence():
    for epoch in range(20):
        found = Windows(4).pieces(LENGTHS, seed=1, epoch=epoch)
        assert np.bincount(found.indices).tolist() == [1, 1, 2, 7, 2, 1, 4]
        assert (found.stops <= LENGTHS[found.indices]).all() and (found.starts >= 0).all()
        for index in range(len(LENGTHS)):
            inside = found.starts[found.indices == index]
            assert (np.diff(inside) == 4).all()


def test_whole_sequences_for_evaluation_come_once(sequences):
    batches = list(whole_batches(sequences, FullLength((5, 17, 30)), 3))
    counted = [int(index) for batch in batches for index in batch.indices[: batch.num_rows]]
    assert counted == [0, 1, 5, 2, 4, 6, 3]
    assert [batch.num_rows for batch in batches] == [3, 3, 1] and {len(batch.values) for batch in batches} == {3}
    for batch in batches:
        check_rows(batch, 3)
    with pytest.raises(BadInputError, match="up to 9 steps, the last of the bounds, got one of 30"):
        list(whole_batches(sequences, FullLength((5, 9)), 3))


@pytest.mark.parametrize("num_bounds", [1, 2, 3, 10])
def test_bounds_waste_the_least(num_bounds):
    lengths = np.array([2, 3, 3, 10, 11, 30, 12])
    sizes = np.unique(lengths)

    def padding(bounds):
        return sum(min(bound for bound in bounds if bound >= length) - length for length in lengths)

    choices = itertools.combinations(sizes[:-1], min(num_bounds, sizes.size) - 1)
    best = min(padding([*choice, 30]) for choice in choices)
    found = FullLength.fitted(lengths, num_bounds)
    assert padding(found.bounds) == best and len(found.bounds) <= num_bounds
    assert found.shapes(lengths) == found.bounds and FullLength((2, 4, 30)).shapes(np.array([2, 17])) == (2, 30)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Crop(1), "at least two steps"),
        (lambda: Windows(0), "at least two steps"),
        (lambda: FullLength((5, 4)), "rising"),
        (lambda: FullLength(()), "rising"),
        (lambda: FullLength.fitted(LENGTHS, 0), "one or more bounds"),
    ],
)
def test_impossible_cuts(make, message):
    with pytest.raises(BadInputError, match=message):
        make()


def test_impossible_batches(sequences):
    with pytest.raises(BadInputError, match="batch_size=0"):
        sequence_batches(sequences, Crop(4), 0, seed=0)
    with pytest.raises(BadInputError, match="from 0 to the 3 batches"):
        sequence_batches(sequences, Crop(4), 3, seed=0, start=4)
    with pytest.raises(BadInputError, match="seeds and epochs of at least 0"):
        sequence_batches(sequences, Crop(4), 3, seed=-1)


def test_more_rows_than_sequences_repeat_them(sequences):
    (batch,) = sequence_batches(sequences, Crop(4), 10, seed=0)
    assert set(batch.indices.tolist()) == set(range(7)) and len(batch.values) == 10
    check_rows(batch, 10)


def test_a_user_may_cut_in_another_way(sequences):
    class FirstTwo(AbstractCropping):
        def pieces(self, lengths, *, seed, epoch):
            return Crop(2).pieces(lengths, seed=seed, epoch=epoch)._replace(starts=0 * lengths, stops=0 * lengths + 2)

        def shapes(self, lengths):
            return (2,)

    (batch,) = sequence_batches(sequences, FirstTwo(), 7, seed=0)
    assert sorted(batch.values[:, 0, 0].tolist()) == [100.0 * index for index in range(7)]
