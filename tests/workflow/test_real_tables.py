"""Twelve tables and series that people know, at the first command: a number, baselines, and a warning wherever one of them wins."""

import csv
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn.datasets")
statsmodels = pytest.importorskip("statsmodels.datasets")

pytestmark = pytest.mark.slow

ROWS = {
    "iris": (sklearn.load_iris, ["--model", "factor-analysis", "--latents", "2"]),
    "wine": (sklearn.load_wine, ["--model", "factor-analysis", "--latents", "1:4"]),
    "breast cancer": (sklearn.load_breast_cancer, ["--model", "factor-analysis", "--latents", "16"]),
    "diabetes": (sklearn.load_diabetes, ["--model", "probabilistic-pca", "--latents", "4"]),
    "digits": (sklearn.load_digits, ["--engine", "direct", "--latents", "8", "--steps", "1000"]),
    "linnerud": (sklearn.load_linnerud, ["--model", "factor-analysis", "--latents", "1"]),
}
SERIES = {
    "sunspots": ("sunspots", ["--time-column", "YEAR"]),
    "co2": ("co2", ["--season", "52.18"]),
    "nile": ("nile", ["--time-column", "year", "--model", "linear-gaussian", "--latents", "1"]),
    "macrodata": (
        "macrodata",
        ["--columns", "realgdp,realcons,realinv", "--model", "linear-gaussian", "--latents", "3"],
    ),
    "el nino": ("elnino", ["--time-column", "YEAR", "--model", "linear-gaussian", "--latents", "3"]),
    "interest and inflation": (
        "interest_inflation",
        ["--columns", "Dp,R", "--model", "hidden-markov", "--states", "2"],
    ),
}


def summary(folder, task, table, names, arguments):
    """The summary of a fit to a table that was written as text."""
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(table)
    command = [
        sys.executable,
        "-m",
        "homeostat",
        "fit",
        "--data",
        folder / "table.csv",
        "--task",
        task,
        "--out",
        folder / "run",
    ]
    # As a user has it: the settings of tests compile fast and run slowly.
    ours = {name: text for name, text in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    done = subprocess.run(
        [*map(str, command), *arguments],
        env={**ours, "XDG_CACHE_HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if "factor-analysis" in arguments:
        # Expectation maximisation that was stopped has found no maximum.
        assert "ended after 500 updates, the most that this engine takes" in done.stderr
    return json.loads((folder / "run" / "result.json").read_text())["summary"]


def check(found):
    """The number is finite and stands beside baselines, and where the best of them wins by more than the error, a warning says so."""
    gain, error = found["gain_nats"], found["gain_stderr_nats"]
    assert math.isfinite(gain) and error > 0.0
    assert all(math.isfinite(baseline["nats"]) for baseline in found["baselines"])
    told = any("worse than its baseline" in line for line in found["warnings"])
    assert told == (gain < -error)


@pytest.mark.parametrize("name", ROWS)
def test_rows(name, tmp_path):
    load, arguments = ROWS[name]
    data = load()
    check(summary(tmp_path, "rows", np.asarray(data.data), data.feature_names, arguments))


@pytest.mark.parametrize("name", SERIES)
def test_series(name, tmp_path):
    source, arguments = SERIES[name]
    frame = getattr(statsmodels, source).load_pandas().data
    if source == "co2":
        frame = frame.reset_index(names="date")
    # What is missing is an empty cell.
    table = frame.astype(object).where(frame.notna(), "").to_numpy()
    check(summary(tmp_path, "sequences", table, [*frame.columns], arguments))
