"""Rows of a file: checked for a likelihood, divided, streamed in batches, resumed in the middle of an epoch."""

import tempfile
from pathlib import Path

import numpy as np

from homeostat.data import Finite, UnitInterval, check_rows, open_rows, split_rows
from homeostat.results import BadInputError

folder = Path(tempfile.mkdtemp())
values = np.random.default_rng(0).random((1000, 12)).astype(np.float32)
np.savez(folder / "measured.npz", values=values, times=np.arange(1000.0))

rows = open_rows(f"{folder}/measured.npz:values")  # mapped, not read
check_rows(rows, Finite(), UnitInterval())  # what a Bernoulli likelihood needs
print(f"{rows.num_rows} rows of shape {rows.shape}, {rows.dtype}")

indices = split_rows(rows.num_rows, validation=0.1, test=0.1, seed=0)
train = rows.select(indices.train)
epoch = list(train.batches(64, seed=0, epoch=3))
rest = list(train.batches(64, seed=0, epoch=3, start=10))  # stopped after ten batches
assert train.num_rows == 800 and len(epoch) == 12
assert all(np.array_equal(batch, again) for batch, again in zip(epoch[10:], rest))

values[417, 5] = np.nan
np.save(folder / "damaged.npy", values)
try:
    check_rows(open_rows(folder / "damaged.npy"), Finite())
except BadInputError as error:
    message = str(error)
    print(message)
assert "got nan in row 417, column 5" in message
