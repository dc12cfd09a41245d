"""Synthetic sequences for runs without files: melodies, tones and moving squares."""

from collections.abc import Sequence as Listed

import numpy as np

from ._scaled import Standardization
from ._sequence_splits import SequenceSplits, standardized
from ._sequences import Sequences
from ._splits import SplitIndices


def consecutive_splits(
    name: str, sequences: Listed[np.ndarray] | np.ndarray, numbers: tuple[int, int, int]
) -> SequenceSplits:
    """Splits of arrays in their order: so many for training, validation and test."""
    bounds = np.cumsum((0, *numbers))
    parts = [Sequences(sequences[bounds[i] : bounds[i + 1]], name=f"{name} {i}") for i in range(3)]
    return SequenceSplits(name, *parts, SplitIndices.consecutive(numbers))


def synthetic_melodies(num_songs: int = 48, seed: int = 0) -> SequenceSplits:
    """Piano rolls of 20 to 40 steps of 88 keys: a chord for every four steps, and above it a melody that walks by steps."""
    generator = np.random.default_rng(seed)
    songs = []
    for length in generator.integers(20, 41, num_songs):
        song = np.zeros((int(length), 88), np.uint8)
        roots = 24 + np.cumsum(generator.choice([-5, 0, 5], -(-length // 4))) % 12
        walk = 48 + np.cumsum(generator.integers(-2, 3, length)) % 24
        for step in range(length):
            song[step, roots[step // 4] + np.array([0, 4, 7])] = 1
            song[step, walk[step]] = 1
        songs.append(song)
    return consecutive_splits("generated", songs, _halves(num_songs))


def synthetic_tones(num_recordings: int = 48, window: int = 50, seed: int = 0) -> SequenceSplits:
    """Standardised recordings of 6 to 16 windows: two tones whose pitch glides, in 16-bit numbers."""
    generator = np.random.default_rng(seed)
    parts = []
    for steps in generator.integers(6, 17, num_recordings):
        size = int(steps) * window
        pitch = generator.uniform(0.05, 0.15) * (1.0 + 0.3 * np.linspace(0.0, generator.uniform(-1.0, 1.0), size))
        phase = np.cumsum(pitch) + generator.uniform(0.0, 2.0 * np.pi)
        sound = 0.1 * np.sin(phase) + 0.03 * np.sin(2.0 * phase) + 0.002 * generator.standard_normal(size)
        stored = np.round(32768.0 * np.clip(sound, -0.99, 0.99)) / 32768.0
        parts.append(stored.reshape(-1, window).astype(np.float32))
    splits = consecutive_splits("generated", parts, _halves(num_recordings))
    return standardized(splits, Standardization.overall(splits.train))


def bouncing_squares(num_sequences: int, num_frames: int, side: int = 16, size: int = 4, seed: int = 0) -> np.ndarray:
    """A grey square that moves in a straight line and bounces; bytes [sequences, frames, side, side]."""
    generator = np.random.default_rng(seed)
    frames = np.full((num_sequences, num_frames, side, side), 16, np.uint8)
    for sequence in frames:
        place, velocity = generator.uniform(0.0, side - size, 2), generator.uniform(-2.0, 2.0, 2)
        for frame in sequence:
            top, left = place.astype(int)
            frame[top : top + size, left : left + size] = 200
            place = place + velocity
            velocity = np.where((place < 0.0) | (place > side - size), -velocity, velocity)
            place = np.clip(place, 0.0, side - size)
    return frames


def _halves(number: int) -> tuple[int, int, int]:
    """Half for training, a quarter each for validation and test."""
    train, until_test = number // 2, 3 * number // 4
    return train, until_test - train, number - until_test
