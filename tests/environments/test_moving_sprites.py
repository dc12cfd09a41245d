"""Videos of moving sprites."""

import itertools

import numpy as np
import pytest

from homeostat.environments import moving_sprites


@pytest.mark.slow
def test_sprites_move(key):
    frames = moving_sprites(2, 6, key=key)
    assert frames.shape == (2, 6, 64, 64) and set(np.unique(frames)) == {0, 255}
    for sequence in frames:
        assert all(np.any(a != b) for a, b in itertools.pairwise(sequence[1:]))
