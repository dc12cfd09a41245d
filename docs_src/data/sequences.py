"""Sequences of different lengths from a table: checked, divided whole, standardised by training statistics, batched."""

import tempfile
from pathlib import Path

import numpy as np

from homeostat.data import (
    SequenceFormat,
    Standardization,
    TableColumns,
    FullLength,
    Windows,
    open_sequences,
    sequence_batches,
    split_sequences,
    standardized,
    whole_batches,
)
from homeostat.results import BadInputError

folder, draw = Path(tempfile.mkdtemp()), np.random.default_rng(0)
lines = ["patient,hour,pulse,pressure,dose"]
for patient in range(40):
    hours = np.cumsum(draw.uniform(0.5, 2.0, draw.integers(5, 30)))
    for hour in hours:
        pressure = f"{draw.normal(120, 15):.0f}" if draw.random() < 0.6 else ""  # not measured every time
        lines.append(f"{patient},{hour:.2f},{draw.normal(75, 8):.0f},{pressure},{draw.integers(3)}")
(folder / "ward.csv").write_text("\n".join(lines))

columns = TableColumns("patient", "hour", values=("pulse", "pressure"), actions=("dose",))
patients = open_sequences(folder / "ward.csv", SequenceFormat(columns), cache=folder)
first = patients.read(0)
print(f"{len(patients)} sequences, {patients.num_steps} steps of shape {patients.shape}")
assert first.values.shape == first.observed.shape and first.actions.shape == (len(first.values) - 1, 1)

splits = split_sequences(patients, validation=0.1, test=0.2, seed=0)  # whole patients
splits = standardized(splits, Standardization.by_entry(splits.train))

# Training: pieces of 8 steps, one shape. Evaluation: every sequence whole, filled up to one of three lengths.
for batch in sequence_batches(splits.train, Windows(8), 16, seed=0, epoch=0):
    assert batch.values.shape == (16, 8, 2) and batch.elapsed.shape == (16, 7)
whole = FullLength.fitted(splits.test.lengths, 3)
batches = list(whole_batches(splits.test, whole, 4))
assert sum(batch.num_rows for batch in batches) == len(splits.test)
print(f"test sequences are filled up to {whole.bounds} steps")

(folder / "unsorted.csv").write_text("sequence,time,x\na,0,1\na,2,1\na,1,1\n")
try:
    open_sequences(folder / "unsorted.csv", cache=folder)
except BadInputError as error:
    message = str(error)
    print(message)
assert "got 1 after 2 in step 2" in message
