"""Fits at the maximum of a likelihood by name: what is read from a structural model, and steps of any duration."""

import jax.random as jr
import numpy as np
import pytest

from homeostat.data import Sequences
from homeostat.results import BadInputError
from homeostat.workflow import SequencesOptions, SequencesTask, fit

TIME = np.arange(60)
SEASON = np.array([3.0, -1.0, -2.0, 0.0])


def test_a_structural_fit_finds_trend_season_and_inputs():
    draws = np.random.default_rng(0)
    inputs, noise = draws.normal(size=60), 0.1 * draws.normal(size=60)
    before = np.concatenate([[0.0], inputs[:-1]])
    values = 100.0 + 0.5 * TIME + SEASON[TIME % 4] - 2.0 * before + noise
    data = Sequences(values[None, :, None], actions=inputs[None, :-1, None])
    options = SequencesOptions(model="structural", season="4", validation_fraction=0.0, bounds=1)
    fitted = fit(SequencesTask(options), data, key=jr.key(0))
    arrays = fitted.infer(data, key=jr.key(0)).arrays
    # Least squares on what made the data, the noise of which is far below what is compared.
    assert np.abs(arrays["season_of_4"][0, 8:, 0] - SEASON[TIME % 4][8:]).max() < 0.2
    assert np.abs(arrays["slope"][0, :, 0] - 0.5).max() < 0.05
    assert np.abs(arrays["level"][0, :, 0] - (100.0 + 0.5 * TIME)).max() < 0.3
    assert fitted.effects["entry 0"]["input 0"] == pytest.approx(-2.0, abs=0.05)
    learned = fitted.system.model.summary(fitted.learned_system)["components"]["entry 0"]
    assert learned["noise of the remainder"] == pytest.approx(0.1, abs=0.05)
    assert learned["noise of the season of 4 steps"] < 0.02


def test_options_that_do_not_fit_are_refused():
    with pytest.raises(BadInputError, match="--season with --model structural only"):
        SequencesTask(SequencesOptions(model="linear-gaussian", season="12")).check()
    with pytest.raises(BadInputError, match="periods in steps"):
        SequencesTask(SequencesOptions(model="structural", season="yearly")).check()
    with pytest.raises(BadInputError, match="1 to 2 waves"):
        SequencesTask(SequencesOptions(model="structural", season="4", harmonics=3)).check()
    with pytest.raises(BadInputError, match="--standardize"):
        SequencesTask(SequencesOptions(model="structural", standardize=False)).check()
