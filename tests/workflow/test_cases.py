"""Tables that gave wrong answers elsewhere, with the right ones; what each is stands in `tests/cases/README.md`."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from homeostat.workflow import SequencesOptions, SequencesTask, fit

CASES = Path(__file__).resolve().parent.parent / "cases"
LINEAR = SequencesOptions(model="linear-gaussian", engine="exact", latents=1, steps=100, bounds=1)
DEEP = SequencesOptions(model="deep-markov", latents=2, width=16, steps=40, validate_every=40, bounds=1)


def nats(name, options, of=None):
    """Free energy per step of a fit to a table, on the table or another; and the fit."""
    fitted = fit(SequencesTask(options), CASES / f"{name}.csv", key=jax.random.key(0))
    numbers = fitted.evaluate(CASES / f"{of or name}.csv", key=jax.random.key(1)).numbers
    return numbers["free_energy_per_step_nats"], numbers, fitted


@pytest.fixture(autouse=True)
def place(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "name", [pytest.param("cov_c", marks=SLOW), "cov_off", pytest.param("batch_rare0", marks=SLOW)]
)
def test_known_inputs_keep_their_effect_whatever_their_level(name):
    """x' = 0.9 x + 0.5 (u - 300) + 0.1 e, y = x + 0.1 e: -0.38 nats a step, and an error of 0.16 one step ahead."""
    inputs = "u,rare" if name == "batch_rare0" else "u"
    found, numbers, fitted = nats(name, replace(LINEAR, columns="y", action_columns=inputs))
    assert found < -0.37
    assert numbers["one_step_error"] < 0.165
    assert fitted.effects["y"]["u"] == pytest.approx(0.5, abs=0.02)
    assert list(fitted.effects["y"]) == ["u"]


@SLOW
def test_a_large_level_is_no_constant_and_changes_nothing():
    expected, *_ = nats("utm0", LINEAR)
    # The files have six digits after the point.
    assert nats("utm", LINEAR)[0] == pytest.approx(expected, abs=1e-4)
    assert nats("unix", LINEAR)[0] == pytest.approx(expected, abs=1e-4)


@SLOW
def test_one_series_is_fitted():
    assert nats("dates_single", LINEAR)[0] < 0.3


@SLOW
def test_a_constant_column_adds_nothing_even_on_new_data(tmp_path):
    expected, *_ = nats("k0", replace(DEEP, columns="v"))
    for name in ("k0", "k100"):
        assert nats(name, DEEP)[0] == pytest.approx(expected, rel=1e-5)
    # In new data it is 0.1001.
    table = (CASES / "k0.csv").read_text().replace(",0.1\n", ",0.1001\n")
    (tmp_path / "new.csv").write_text(table)
    fitted = nats("k0", DEEP)[2]
    numbers = fitted.evaluate(tmp_path / "new.csv", key=jax.random.key(1), samples=2).numbers
    assert numbers["free_energy_per_step_nats"] == pytest.approx(expected, rel=1e-5)


@SLOW
def test_the_unit_of_an_input_changes_nothing(tmp_path):
    lines = (CASES / "cov_c.csv").read_text().splitlines()
    rows = np.array([[float(cell) for cell in line.split(",")] for line in lines[1:]])
    rows[:, 3] *= 1e4
    np.savetxt(tmp_path / "large.csv", rows, delimiter=",", header=lines[0], comments="", fmt="%.17g")
    options = replace(DEEP, columns="y", action_columns="u")
    expected, *_ = nats("cov_c", options)
    fitted = fit(SequencesTask(options), tmp_path / "large.csv", key=jax.random.key(0))
    numbers = fitted.evaluate(tmp_path / "large.csv", key=jax.random.key(1), samples=2).numbers
    assert numbers["free_energy_per_step_nats"] == pytest.approx(expected, rel=1e-3)
