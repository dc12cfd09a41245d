"""Loaders on the sets at hand: sequences and steps of every split, and sums of the numbers."""

import os
from pathlib import Path

import numpy as np
import pytest

from data_sets import split_sizes
from homeostat.data import (
    Crop,
    load_moving_mnist,
    load_natural_video,
    load_polyphonic_music,
    load_spoken_digits,
    sequence_batches,
)

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def copies():
    folder = os.environ.get("HOMEOSTAT_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("HOMEOSTAT_DATA names no folder with the data set.")
    return Path(folder)


def present(copies, name):
    if not (copies / name).is_dir():
        pytest.skip(f"HOMEOSTAT_DATA has no folder {name}.")


def total(sequences):
    return sum(int(block.values.sum(dtype=np.int64)) for block in sequences.blocks())


@pytest.mark.parametrize(
    ("name", "sequences", "steps", "notes"),
    [
        ("jsb_chorales", (229, 76, 77), (13_807, 4_602, 4_725), (53_824, 17_811, 18_367)),
        ("nottingham", (694, 173, 170), (176_561, 45_513, 44_463), (699_403, 180_192, 177_421)),
        ("piano_midi", (87, 12, 25), (75_911, 8_540, 19_036), (231_089, 27_623, 56_067)),
        ("musedata", (524, 135, 124), (245_202, 82_755, 64_339), (856_543, 287_893, 211_857)),
    ],
)
def test_music(copies, name, sequences, steps, notes):
    present(copies, "polyphonic_music")
    splits = load_polyphonic_music(name)
    assert split_sizes(splits) == (sequences, steps)
    assert tuple(total(part) for part in (splits.train, splits.validation, splits.test)) == notes


def test_spoken_digits(copies):
    present(copies, "fsdd")
    splits = load_spoken_digits()
    assert split_sizes(splits) == ((2_400, 300, 300), (40_844, 5_129, 5_026))
    every = [
        tuple(label.split("_")) for part in (splits.train, splits.validation, splits.test) for label in part.labels
    ]
    assert len(set(every)) == 3_000 and len({one[1] for one in every}) == 6
    values = np.concatenate([splits.train.read(index).values for index in range(300)])
    assert np.isfinite(values).all() and 0.5 < values.std() < 2


def test_natural_video(copies):
    present(copies, "natural_video")
    splits = load_natural_video()
    assert split_sizes(splits) == ((18, 3, 3), (3_250, 180, 193))
    assert splits.train.lengths.max() == 1_394 and splits.train.shape == (64, 64, 3)


def test_moving_mnist(copies):
    present(copies, "mnist")
    splits = load_moving_mnist()
    assert split_sizes(splits) == ((10_000, 1_000, 1_000), (200_000, 20_000, 20_000))
    batch = next(sequence_batches(splits.train, Crop(20), 20, seed=0))
    assert batch.values.shape == (20, 20, 64, 64) and 5 < batch.values.mean() < 20
