"""Convolutional networks by name learn pictures."""

import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from homeostat.data import ArrayRows, load_mnist
from homeostat.train import InMemoryLoader, fit
from homeostat.workflow import RowsOptions, build_rows_system, describe


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["direct", "iterative"])
def test_digits_are_learned(engine, key):
    """The bound of three hundred pictures, over the first and the last tenth of training."""
    folder = os.environ.get("HOMEOSTAT_DATA", "")
    if not folder or not (Path(folder) / "mnist").is_dir():
        pytest.skip("HOMEOSTAT_DATA names no folder with the data set.")
    pictures = (np.asarray(load_mnist().train.observations[:300]) > 127).astype(np.uint8)
    config = RowsOptions(engine=engine, mapping="convolutional", latents="4", width=32, iterations=2)
    rows = ArrayRows(pictures)
    observations = describe(rows, rows, config)
    system = build_rows_system(config, observations, key=key)
    data = jnp.asarray(observations.prepare(pictures), jnp.result_type(float))
    history = fit(system.learner(), InMemoryLoader(data, 50), num_steps=100, every=10, key=key).history
    assert history.free_energy_nats[-1] < 0.6 * history.free_energy_nats[0]
