"""Sequences as arrays, and synthetic ones."""

import numpy as np

from homeostat.data import (
    averaged_frames,
    bouncing_squares,
    consecutive_splits,
    sequence_arrays,
    synthetic_melodies,
    synthetic_tones,
)


def counted(lengths):
    """Sequence s, step t is 10 s + t in every entry."""
    return [
        np.full((length, 4), 10 * s, np.uint8) + np.arange(length, dtype=np.uint8)[:, None]
        for s, length in enumerate(lengths)
    ]


def splits_of(*lengths):
    parts = [sequence for each in lengths for sequence in counted(each)]
    return consecutive_splits("made", parts, tuple(map(len, lengths)))


def test_validation_clips_and_test_groups_hold_every_sequence():
    data = sequence_arrays(splits_of((7, 3, 5, 6), (5, 8), (9, 4, 4, 2)), 4, num_groups=2)
    assert data.train.values.shape == (3, 7, 4) and list(data.train.lengths) == [7, 5, 6]
    np.testing.assert_array_equal(data.validation.values[:, :, 0], [[0, 1, 2, 3], [10, 11, 12, 13], [14, 15, 16, 17]])
    lengths = np.concatenate([group.lengths for group in data.test])
    assert sorted(lengths) == [2, 4, 4, 9]
    assert [group.values.shape[1] for group in data.test] == [4, 9]
    np.testing.assert_array_equal(data.validation.steps(2)[:, 0], [2, 3, 12, 13, 16, 17])


def test_short_recordings_stay_where_most_are_short():
    generator = np.random.default_rng(0)
    parts = [generator.standard_normal((length, 3)) for length in (3, 4, 9)] * 3
    made = sequence_arrays(
        consecutive_splits("made", parts, (3, 3, 3)), 6, num_train=2, num_validation=2, num_test=2, num_groups=2
    )
    assert list(made.train.lengths) == [3, 4] and made.train.values.shape == (2, 6, 3)
    np.testing.assert_array_equal(made.train.values[0, :3], parts[0].astype(np.float32))
    assert list(made.validation.lengths) == [3, 4]


def test_synthetic_sequences_are_what_they_say():
    songs = synthetic_melodies(8)
    assert songs.train.shape == (88,) and len(songs.test) == 2
    steps = songs.train.read(0).values
    assert set(np.unique(steps)) == {0, 1} and steps.sum(axis=1).min() >= 3
    sounds = synthetic_tones(8, 50)
    stored = sounds.standardization.restore(sounds.train.read(0).values) * 32768.0
    np.testing.assert_allclose(stored, np.round(stored), atol=0.05)
    squares = bouncing_squares(2, 6)
    np.testing.assert_array_equal((squares == 200).sum(axis=(2, 3)), 16)
    assert np.any(squares[0, 0] != squares[0, 1])


def test_averaged_frames_keep_their_brightness():
    whole = consecutive_splits("squares", bouncing_squares(3, 4), (1, 1, 1))
    averaged = averaged_frames(whole, 2)
    assert averaged.train.shape == (8, 8)
    first, second = (splits.test.read(0).values.astype(float) for splits in (averaged, whole))
    np.testing.assert_allclose(first.mean(axis=(1, 2)), second.mean(axis=(1, 2)), atol=0.5)
