"""Sequences: what they give back, and what they refuse, with the place."""

import numpy as np
import pytest

from data_sets import split_sizes
from homeostat.data import ScaledSequences, Sequences, Standardization, require_shape, split_sequences, standardized
from homeostat.results import BadInputError

RANDOM = np.random.default_rng(0)
LENGTHS = (4, 2, 7)


def ragged(shape=(3,), dtype=float):
    return [RANDOM.normal(size=(length, *shape)).astype(dtype) for length in LENGTHS]


def padded(arrays, fill=0):
    whole = np.full((len(arrays), max(map(len, arrays)), *arrays[0].shape[1:]), fill, arrays[0].dtype)
    for row, array in zip(whole, arrays, strict=True):
        row[: len(array)] = array
    return whole


def same(sequences, arrays):
    assert sequences.lengths.tolist() == [len(array) for array in arrays] and len(sequences) == len(arrays)
    assert sequences.num_steps == sum(map(len, arrays))
    for index, array in enumerate(arrays):
        found = sequences.read(index)
        np.testing.assert_array_equal(found.values, array.reshape(len(array), *sequences.shape))
        assert found.observed is None
        np.testing.assert_array_equal(sequences.read(index, 1).values, found.values[1:])


@pytest.mark.parametrize("shape", [(), (3,), (2, 5)])
def test_lists_and_padded_arrays_hold_the_same(shape):
    arrays = ragged(shape)
    times = [np.cumsum(RANDOM.uniform(0.1, 1.0, length)) for length in LENGTHS]
    actions = [RANDOM.normal(size=(length - 1, 2)) for length in LENGTHS]
    listed = Sequences(arrays, times=times, actions=actions, labels=["a", "b", "c"])
    filled = Sequences(padded(arrays), lengths=LENGTHS, times=padded(times), actions=padded(actions))
    by_mask = Sequences(padded(arrays), observed=padded([np.ones(length, bool) for length in LENGTHS]))
    for found in (listed, filled, by_mask):
        same(found, arrays)
        assert found.shape == (shape or (1,))
    for found in (listed, filled):
        part = found.read(2, 2, 5)
        np.testing.assert_array_equal(part.times, times[2][2:5])
        np.testing.assert_array_equal(part.actions, actions[2][2:4])
        assert found.timed and found.action_shape == (2,)
    assert listed.labels == ("a", "b", "c") and filled.labels == ("0", "1", "2")
    assert not by_mask.timed and by_mask.action_shape is None


def test_what_was_not_observed_is_zero_and_marked():
    values = [np.arange(8.0).reshape(4, 2), np.ones((2, 2))]
    values[0][1, 0] = np.nan
    found = Sequences(values).read(0)
    assert found.observed.sum() == 7 and not found.observed[1, 0] and found.values[1, 0] == 0
    masked = Sequences(padded([np.arange(8).reshape(4, 2)]), observed=[[[1, 1], [0, 1], [0, 0], [1, 0]]])
    found = masked.read(0)
    assert found.values.tolist() == [[0, 1], [0, 3], [0, 0], [6, 0]]
    assert found.observed.tolist() == [[True, True], [False, True], [False, False], [True, False]]
    steps = Sequences(np.ones((1, 5, 2)), observed=[[True, False, True, False, False]])
    assert steps.lengths.tolist() == [3] and steps.read(0).observed.tolist() == [[True] * 2, [False] * 2, [True] * 2]


def test_numbers_that_were_not_observed_may_be_anything():
    values = np.array([[[1.0], [np.inf], [np.nan], [2.0]]])
    found = Sequences(values, observed=[[True, False, False, True]]).read(0)
    assert found.values.ravel().tolist() == [1, 0, 0, 2]


def test_views_read_nothing_and_keep_their_order():
    arrays = ragged()
    found = Sequences(arrays, labels=["a", "b", "c"]).select([2, 0])
    same(found, [arrays[2], arrays[0]])
    assert found.labels == ("c", "a")
    assert Sequences(arrays, labels=["a", "b", "c"]).at_least(4).labels == ("a", "c")
    with pytest.raises(BadInputError, match="0 to 2"):
        Sequences(arrays).select([3])


GOOD = np.arange(12.0).reshape(4, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": []}, "at least one sequence"),
        ({"values": [GOOD, GOOD[:0]]}, r"at least two steps .* \(0, 3\) in sequence '1' \(number 1 from 0\)"),
        ({"values": [GOOD, GOOD[:1]]}, r"at least two steps .* \(1, 3\)"),
        ({"values": [GOOD, GOOD[:, :2]]}, r"\(3,\) and float64 as in its first sequence, got \(2,\)"),
        ({"values": [GOOD, GOOD.astype(np.float32)]}, "float64 as in its first sequence, got .* float32"),
        ({"values": [np.array([["a"], ["b"]])]}, "Expected numbers"),
        ({"values": [GOOD, GOOD * np.nan]}, "at least one observed number .* sequence '1'"),
        ({"values": [GOOD], "observed": [np.zeros((4, 3), bool)]}, "at least one observed number"),
        ({"values": [np.where(GOOD == 5, -np.inf, GOOD)]}, "got -inf in step 1, entry 2"),
        ({"values": [np.where(GOOD == 7, np.nan, GOOD)], "observed": [np.ones(4)]}, "got nan in step 2, entry 1"),
        ({"values": [GOOD], "observed": [np.ones(3, bool)]}, r"mask of shape \(4, 3\) or \(4,\) .* got \(3,\)"),
        ({"values": [GOOD], "observed": [np.full((4, 3), 2)]}, "mask of booleans"),
        ({"values": [GOOD, GOOD], "observed": [np.ones(4)]}, "2 masks .* got 1"),
        ({"values": [GOOD], "lengths": [4]}, "no lengths beside a list"),
        ({"values": [GOOD], "labels": ["a", "b"]}, "1 labels"),
        ({"values": [GOOD], "times": [[0.0, 1.0, 3.0, 2.0]]}, "got 2 after 3 in step 3 .* sort the steps"),
        ({"values": [GOOD], "times": [[0.0, 1.0, 1.0, 2.0]]}, "got 1 after 1 in step 2 .* two steps have the same time"),
        ({"values": [GOOD], "times": [[0.0, 1.0, np.nan, 2.0]]}, "finite times, got nan in step 2"),
        ({"values": [GOOD], "times": [[0.0, 1.0]]}, r"4 times .* shape \(2,\)"),
        ({"values": [GOOD], "times": [np.array([3, 2, 1, 0], np.uint8)]}, "got 2 after 3"),
        ({"values": [GOOD], "actions": [np.zeros((4, 1))]}, "3 actions.* leave out the action after the last step"),
        ({"values": [GOOD], "actions": [np.full((3, 1), np.nan)]}, "known actions, got nan in the action after step 0"),
        (
            {"values": [GOOD, GOOD], "actions": [np.zeros((3, 1)), np.zeros((3, 2))]},
            r"actions of shape \(1,\) .* got \(2,\)",
        ),
        ({"values": GOOD[0]}, r"padded array of shape \(sequences, steps"),
        ({"values": GOOD[None], "lengths": [5]}, "whole numbers up to the 4 steps .* from 5 to 5"),
        ({"values": GOOD[None], "lengths": [2.5]}, "whole numbers"),
        ({"values": GOOD[None], "lengths": [3, 3]}, "1 lengths"),
        ({"values": GOOD[None], "lengths": [0]}, r"at least two steps .* \(0, 3\)"),
        ({"values": GOOD[None], "observed": np.ones((1, 3), bool)}, r"mask of shape \(1, 4\) or \(1, 4, 3\)"),
        (
            {"values": GOOD[None], "lengths": [2], "observed": np.ones((1, 4), bool)},
            "false beyond the lengths .* sequence 0 .* has 2 steps and step 2",
        ),
        ({"values": GOOD[None], "observed": np.zeros((1, 4), bool)}, "at least two steps"),
        ({"values": GOOD[None], "times": np.zeros((2, 4))}, r"times of shape \(1, 4\) or \(4,\)"),
        ({"values": GOOD[None], "actions": np.zeros((1, 4, 1))}, r"actions of shape \(1, 3\) .* leave out"),
    ],
)  # fmt: skip
def test_bad_sequences_are_refused_by_name_and_place(arguments, message):
    with pytest.raises(BadInputError, match=message):
        Sequences(**arguments, name="the file")


def test_parts_that_do_not_exist():
    found = Sequences([GOOD], name="the file")
    for arguments in ((1,), (-1,)):
        with pytest.raises(BadInputError, match="number of a sequence from 0 to 0 in the file"):
            found.read(*arguments)
    for arguments in ((0, 2, 2), (0, 0, 5), (0, -1)):
        with pytest.raises(BadInputError, match="steps from 0 up to 4 in sequence '0' of the file"):
            found.read(*arguments)
    with pytest.raises(BadInputError, match=r"steps of shape \(2,\), as the run was made for"):
        require_shape(found, (2,), of="the run")
    require_shape(found, (3,), of="the run")


def test_statistics_of_what_was_observed(monkeypatch):
    monkeypatch.setattr("homeostat.data._sequences._BLOCK_BYTES", 100)
    arrays = [RANDOM.normal(3.0, [1.0, 2.0, 0.0], (length, 3)) for length in (9, 30)]
    arrays[0][2, 1] = np.nan
    found = Sequences(arrays)
    together = np.concatenate(arrays)
    by_entry, overall = Standardization.by_entry(found), Standardization.overall(found)
    np.testing.assert_allclose(by_entry.mean, np.nanmean(together, axis=0), rtol=1e-12)
    np.testing.assert_allclose(by_entry.scale[:2], np.nanstd(together, axis=0)[:2], rtol=1e-12)
    assert by_entry.scale[2] == 1.0
    np.testing.assert_allclose([overall.mean, overall.scale], [np.nanmean(together), np.nanstd(together)], rtol=1e-12)
    scaled = by_entry.apply(found)
    part = scaled.read(0, 1, 4)
    np.testing.assert_allclose(by_entry.restore(part.values)[0], arrays[0][1], rtol=1e-12)
    assert part.values[1, 1] == 0 and not part.observed[1, 1] and scaled.dtype == np.float64
    assert scaled.lengths.tolist() == [9, 30] and scaled.labels == ("0", "1") and scaled.shape == (3,)
    with pytest.raises(BadInputError, match="one for each entry"):
        ScaledSequences(found, Standardization(np.zeros(2), np.ones(2)))
    with pytest.raises(BadInputError, match="scales above 0"):
        ScaledSequences(found, Standardization(np.zeros(3), np.zeros(3)))


def test_splits_are_whole_sequences_and_the_same_everywhere():
    sequences = Sequences([np.full((2 + number % 3, 1), number) for number in range(40)])
    splits = split_sequences(sequences, validation=0.1, test=0.2, seed=3)
    assert split_sizes(splits)[0] == (28, 4, 8) and sum(split_sizes(splits)[1]) == sequences.num_steps
    numbers = [int(part.read(i).values[0, 0]) for part in (splits.train, splits.validation, splits.test) for i in range(len(part))]  # fmt: skip
    assert sorted(numbers) == list(range(40))
    again = split_sequences(sequences, validation=0.1, test=0.2, seed=3)
    assert again.test.labels == splits.test.labels == tuple(map(str, splits.indices.test))
    persons = np.arange(40) // 4
    grouped = split_sequences(sequences, validation=0.2, test=0.2, seed=0, groups=persons)
    found = [set(persons[getattr(grouped.indices, name)].tolist()) for name in ("train", "validation", "test")]
    assert [len(people) for people in found] == [6, 2, 2] and sum(map(len, found)) == len(set.union(*found))
    with pytest.raises(BadInputError, match="40 groups"):
        split_sequences(sequences, seed=0, groups=persons[1:])
    with pytest.raises(BadInputError, match="leave rows to train on"):
        split_sequences(sequences, validation=0.5, test=0.5, seed=0)


def test_splits_share_the_statistics_of_training():
    sequences = Sequences([RANDOM.normal(number, 1.0, (6, 2)) for number in range(10)])
    splits = split_sequences(sequences, seed=0)
    scaled = standardized(splits, Standardization.by_entry(splits.train))
    values = np.concatenate([scaled.train.read(i).values for i in range(8)])
    np.testing.assert_allclose([values.mean(0), values.std(0)], [np.zeros(2), np.ones(2)], atol=1e-12)
    part = scaled.test.read(0).values
    np.testing.assert_allclose(scaled.standardization.restore(part), splits.test.read(0).values, rtol=1e-12)
