"""Convolutional networks by name learn pictures."""

import os
from pathlib import Path

import numpy as np
import pytest

from homeostat.data import ArrayRows, load_mnist
from homeostat.train import fit
from homeostat.workflow import RowsOptions, RowsTask


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["direct", "iterative"])
def test_digits_are_learned(engine, key):
    """The bound of three hundred pictures, over the first and the last tenth of training."""
    folder = os.environ.get("HOMEOSTAT_DATA", "")
    if not folder or not (Path(folder) / "mnist").is_dir():
        pytest.skip("HOMEOSTAT_DATA names no folder with the data set.")
    pictures = (np.asarray(load_mnist().train.observations[:300]) > 127).astype(np.uint8)
    options = RowsOptions(
        engine=engine,
        mapping="convolutional",
        latents="4",
        width=32,
        iterations=2,
        batch_size=50,
        validation_fraction=0.0,
    )
    task, rows = RowsTask(options), ArrayRows(pictures)
    system = task.build(task.describe(rows, rows), key=key)
    loader = task.loader(system, rows, 0)
    history = fit(system.learner(), loader, num_steps=100, every=10, key=key).history
    assert history.free_energy_nats[-1] < 0.6 * history.free_energy_nats[0]
