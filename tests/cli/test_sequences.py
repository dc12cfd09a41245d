"""`homeostat fit` on sequences, and infer, evaluate, sample and forecast after it."""

import contextlib
import io
import itertools
import json
from typing import Any

import jax
import numpy as np
import pytest

from homeostat.cli import main
from homeostat.cli._fit import read_fit_options
from homeostat.data import FullLength, Sequences, TableColumns, holds_sequences, whole_batches
from homeostat.results import BadInputError
from homeostat.workflow import SequencesOptions, SequencesTask, load, read_inputs
from homeostat.workflow.sequences._describe import describe_sequences
from homeostat.workflow.sequences._inference import rows_at_once, score_sequences, summarize_sequences

from homeostat.workflow.sequences._inference import step_free_energies  # isort: skip

RANDOM = np.random.default_rng(3)
LENGTHS = (6, 5, 7, 6, 7, 5)


def table(scale=1.0, uneven=False):
    """Three columns with gaps, one known input."""
    draw = np.random.default_rng(0)
    lines = ["animal,when,a,b,c,push"]
    for number, length in enumerate(LENGTHS):
        when = np.cumsum(draw.uniform(0.5, 2.0, length)) if uneven else np.arange(length)
        walk = np.cumsum(draw.normal(size=(length, 3)), axis=0) + 3
        for step in range(length):
            cells = [repr(float(scale * value)) if draw.random() > 0.1 else "" for value in walk[step]]
            lines.append(f"rat {number},{float(when[step])!r},{','.join(cells)},{draw.normal():.3f}")
    return "\n".join(lines) + "\n"


COLUMNS = "--sequence-column animal --time-column when"
EXACT = f"{COLUMNS} --model linear-gaussian --latents 2 --steps 3 --bounds 1 --columns a,b,c".split()
DEEP = (
    f"{COLUMNS} --action-columns push --model srnn --latents 2 --width 4 --memory 3 --piece 4 --batch-size 2 --steps 4 "
    "--report-every 2 --validate-every 4 --bounds 1 --validation-fraction 0.34"
).split()


def call(*arguments):
    """Status, standard output and standard error of the command line inside this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(argument) for argument in arguments])
    return status, out.getvalue(), err.getvalue()


def result(*arguments):
    status, out, err = call(*arguments, "--json")
    assert status == 0, err
    return json.loads(out)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with data and the cache of conversions."""
    folder = tmp_path_factory.mktemp("sequences")
    (folder / "walk.csv").write_text(table())
    (folder / "large.csv").write_text(table(scale=10.0))
    (folder / "uneven.csv").write_text(table(uneven=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def exact(place):
    return result("fit", "--data", place / "walk.csv", *EXACT, "--out", place / "exact")


def observed(place):
    return sum(line.split(",")[column] != "" for line in (place / "walk.csv").read_text().split()[1:] for column in (1, 2, 3))  # fmt: skip


def test_a_fit_is_a_run_with_figures_and_the_same_in_any_unit(place, exact):
    assert exact["experiment"] == "fit" and exact["config"]["task"] == "sequences" and exact["claims"] == []
    summary = exact["summary"]
    assert (summary["training_rows"], summary["validation_rows"], summary["rows_of"]) == (5, 1, "validation")
    drawn = {f"figures/{name}.png" for name in ("one-step", "prediction-update", "beliefs", "whiteness")}
    assert {"report.html"} | drawn <= set(exact["artifacts"])
    report = (place / "exact" / "report.html").read_text()
    assert "sequences to train on" in report and "Averages over sequences" in report
    assert exact["config"]["engine"] == "exact"
    told = summary["baselines"][0]["nats"]
    np.testing.assert_allclose(summary["gain_nats"], -summary["free_energy_per_step_nats"] - told, rtol=1e-6)
    # One sequence to validate on: the error is that over blocks of its steps.
    assert summary["gain_of"] == "exact" and summary["gain_stderr_nats"] > 0.0
    large = result("fit", "--data", place / "large.csv", *EXACT, "--out", place / "large")["summary"]
    # Data in units ten times smaller have a density ten times smaller for every number that was seen.
    told = result("evaluate", place / "exact", "--data", place / "walk.csv", "--samples", "20")
    other = result("evaluate", place / "large", "--data", place / "large.csv", "--samples", "20")
    difference = (told["elbo_nats"] - other["elbo_nats"]) * len(LENGTHS)
    seen = sum(cell != "" for line in table().split("\n")[1:-1] for cell in line.split(",")[2:5])
    np.testing.assert_allclose(difference, seen * np.log(10.0), rtol=1e-6)
    np.testing.assert_allclose(other["one_step_error"], 10 * told["one_step_error"], rtol=1e-6)
    assert large["training_steps"] == summary["training_steps"] and told["steps"] == sum(LENGTHS)


def series(folder):
    """A file of one series of months, as a spreadsheet writes it."""
    cells = (str(cell).replace(".", ",") for cell in np.cumsum(np.random.default_rng(1).normal(size=30)).tolist())
    rows = [f"01.{1 + n % 12:02}.{1959 + n // 12};{cell}" for n, cell in enumerate(cells)]
    (folder / "series.csv").write_text("\n".join(["date;passengers", *rows]))
    return folder / "series.csv"


SAID = (
    "table: one sequence of 30 steps (no column of sequences; --sequence-column names one)",
    "cells are parted by semicolons",
    "columns: passengers",
    "time: months from 1959-01 (column date)",
)


def test_one_series_is_opened_and_what_was_found_is_said(tmp_path):
    told = []
    for words in ([], ["--model", "linear-gaussian"]):
        asked = read_fit_options(["--data", str(series(tmp_path)), *words])
        assert asked is not None and asked.task == "sequences"
        found = SequencesTask(asked.options).open(tmp_path / "series.csv", message=told.append)
        assert found.lengths.tolist() == [30] and {*SAID} <= {*told}


@pytest.mark.slow
def test_one_series_is_fitted(tmp_path):
    options = ["--model", "linear-gaussian", "--latents", "1", "--steps", "2", "--bounds", "1"]
    status, out, err = call("fit", "--data", series(tmp_path), *options, "--out", tmp_path / "run", "--json")
    assert status == 0 and all(line in err for line in SAID), err
    assert json.loads(out)["summary"]["training_steps"] == 30
    assert result("evaluate", tmp_path / "run", "--data", tmp_path / "series.csv")["steps"] == 30


def test_beliefs_of_each_step(place, exact):
    inferred = result("infer", place / "exact", "--data", place / "walk.csv", "--out", place / "beliefs.npz")
    told = result("evaluate", place / "exact", "--data", place / "walk.csv", "--out", place / "nats.npz")
    with np.load(place / "beliefs.npz") as beliefs, np.load(place / "nats.npz") as nats:
        assert beliefs["mean"].shape == beliefs["deviation"].shape == (6, 7, 2)
        assert beliefs["lengths"].tolist() == list(LENGTHS) and beliefs["labels"][2] == "rat 2"
        inside = np.arange(7)[None, :] < np.array(LENGTHS)[:, None]
        np.testing.assert_array_equal(np.isfinite(beliefs["mean"]).all(axis=2), inside)
        totals = np.nansum(beliefs["free_energy_nats"], axis=1)
        # Of these the error of a gain over blocks of steps is made.
        fitted = load(place / "exact")
        data = fitted.open(place / "walk.csv")
        each = step_free_energies(fitted.system, fitted.selected.learned, data, key=jax.random.key(0))
        for row, length, energies in zip(beliefs["free_energy_nats"], LENGTHS, each, strict=True):
            np.testing.assert_allclose(energies, row[:length], rtol=1e-9)
        np.testing.assert_allclose(totals, nats["free_energy_nats"], rtol=1e-9)
    np.testing.assert_allclose(inferred["free_energy_per_step_nats"], totals.sum() / sum(LENGTHS), rtol=1e-9)
    np.testing.assert_allclose(told["free_energy_per_step_nats"], totals.sum() / sum(LENGTHS), rtol=1e-9)


def test_forecasts_have_quantiles_and_agree_with_the_model(place, exact):
    made = result(
        "forecast", place / "exact", "--data", place / "walk.csv", "--out", place / "next.npz", "--horizon", "3",
        "--samples", "4000", "--quantiles", "0.1,0.5,0.9",
    )  # fmt: skip
    assert made["horizon"] == 3 and made["rows"] == 6
    assert made["figure"] == str(place / "next.png") and (place / "next.png").read_bytes()[1:4] == b"PNG"
    with np.load(place / "next.npz") as found:
        assert found["mean"].shape == (6, 3, 3) and found["quantiles"].shape == (6, 3, 3, 3)
        assert (np.diff(found["quantiles"], axis=1) > 0).all()
        low, middle, high = np.moveaxis(found["quantiles"], 1, 0)
        # Futures are Gaussian: the mean is the median, and 80 % lie within 1.2816 deviations.
        deviation = (high - low) / (2 * 1.2816)
        assert (np.abs(found["mean"] - middle) < 5 * 1.6 * deviation / np.sqrt(4000)).all()
        # What is ahead is less certain the farther it is.
        assert (deviation[:, 2] > deviation[:, 0]).mean() > 0.6


def test_columns_are_found_by_name_and_durations_are_compared(place, exact):
    swapped = [line.split(",") for line in table().splitlines()]
    (place / "swapped.csv").write_text(
        "\n".join(",".join(row[i] for i in (4, 0, 5, 3, 1, 2)) for row in swapped) + "\n"
    )
    one, other = (
        result("infer", place / "exact", "--data", place / f"{name}.csv", "--out", place / f"by-name-{name}.npz")
        for name in ("walk", "swapped")
    )
    assert one["free_energy_per_step_nats"] == other["free_energy_per_step_nats"]
    slow = [[row[0], row[1] if row[1] == "when" else str(2 * float(row[1])), *row[2:]] for row in swapped]
    (place / "slow.csv").write_text("\n".join(map(",".join, slow)) + "\n")
    for name, message in (("slow", "Expected steps of the duration 1"), ("uneven", "Expected steps of one duration")):
        status, _, err = call("evaluate", place / "exact", "--data", place / f"{name}.csv")
        assert status == 2 and message in err, err


def test_draws_that_need_too_much_memory_are_refused(place, exact):
    options = ["--horizon", "100000", "--samples", "100000"]
    status, _, err = call(
        "forecast", place / "exact", "--data", place / "walk.csv", "--out", place / "much.npz", *options
    )
    assert status == 2 and "fit into 4 GiB" in err
    observations = describe_sequences(walks := Sequences(RANDOM.normal(size=(2, 5, 3))), walks, SequencesOptions())
    system = SequencesTask(SequencesOptions(latents=3)).build(observations, key=None)
    assert [rows_at_once(system, draws) for draws in (10, 2_000_000)] == [32, 1]


def test_bits_are_those_of_observed_numbers_and_steps_those_with_any():
    values = RANDOM.random((2, 4, 3)).round()
    mask = np.ones(values.shape, bool)
    mask[0, 1], mask[1, 2, :2] = False, False
    sequences = Sequences(values.astype(np.uint8), observed=mask)
    options = SequencesOptions(model="srnn", latents=2, width=3, memory=2)
    observations = describe_sequences(sequences, sequences, options)
    assert observations.discrete
    system = SequencesTask(options).build(observations, key=jax.random.key(0))
    scores = score_sequences(system, system.learned, sequences, key=jax.random.key(1))
    assert scores.num_steps.tolist() == [3, 4] and scores.num_observed.tolist() == [9, 10]
    told = summarize_sequences(scores, discrete=True)
    total = scores.free_energy_nats.sum()
    np.testing.assert_allclose(told["free_energy_per_step_nats"], total / 7)
    np.testing.assert_allclose(told["bits_per_dimension"], total / 19 / np.log(2))
    alone = score_sequences(system, system.learned, sequences.select([1]), key=jax.random.key(1))
    assert "elbo_stderr_nats" in told and "elbo_stderr_nats" not in summarize_sequences(alone, discrete=False)


def test_sequences_from_the_model(place, exact):
    result("sample", place / "exact", "--out", place / "drawn.npz", "--horizon", "4", "--number", "5")
    with np.load(place / "drawn.npz") as found:
        assert found["samples"].shape == (5, 4, 3) and found["states"].shape == (5, 4, 2)
        assert np.isfinite(found["samples"]).all()


@pytest.mark.slow
def test_a_deep_model_with_durations_and_known_inputs(place):
    made = result("fit", "--data", place / "uneven.csv", *DEEP, "--out", place / "deep")
    assert made["summary"]["last_step"] == 4 and made["summary"]["failure"] is None
    result("infer", place / "deep", "--data", place / "uneven.csv", "--out", place / "deep.npz")
    wrong = call("forecast", place / "deep", "--data", place / "uneven.csv", "--out", place / "f.npz")
    assert wrong[0] == 2 and "Expected --actions" in wrong[2]
    np.save(place / "push.npy", np.zeros((6, 3, 1)))
    options = ["--horizon", "3", "--samples", "20", "--actions", place / "push.npy"]
    result("forecast", place / "deep", "--data", place / "uneven.csv", "--out", place / "f.npz", *options)
    with np.load(place / "f.npz") as found:
        assert found["mean"].shape == (6, 3, 3) and np.isfinite(found["quantiles"]).all()
    np.save(place / "push.npy", np.zeros((6, 4, 1)))
    wrong = call("forecast", place / "deep", "--data", place / "uneven.csv", "--out", place / "g.npz", *options)
    assert wrong[0] == 2 and "(6, 3, 1)" in wrong[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "walk.csv", *EXACT[:6], "--engine", "direct"), "--engine"),
        (("--data", "walk.csv", *EXACT[:6], "--engine", "amortized"), "Expected --engine exact with --model linear-gaussian"),
        (("--data", "uneven.csv", *EXACT), "steps of one duration for --model linear-gaussian"),
        (("--data", "walk.csv", *COLUMNS.split(), "--model", "svg"), "frames of 64 x 64"),
        (("--data", "walk.csv", *EXACT, "--likelihood", "bernoulli"), "a gaussian likelihood"),
        (("--data", "walk.csv", *COLUMNS.split(), "--likelihood", "bernoulli"), "from 0 to 1 for a bernoulli"),
        (("--data", "walk.csv", *COLUMNS.split(), "--engine", "published", "--iterations", "2"), "with --engine amortized"),
        (("--data", "walk.csv", *EXACT, "--latent", "3"), "Did you mean --latents"),
        (("--data", "walk.csv", *EXACT, "--piece", "1"), "--piece of at least 2"),
        (("--data", "walk.csv", "--sequence-column", "rat", "--task", "sequences"), "columns rat in"),
        (("--data", "walk.csv", "--sequence-column", "rat"), "say --task sequences"),
        (("--model", "srnn"), "got no --data"),
        (("--data", "none.wav"), "no file at"),
    ],
)  # fmt: skip
def test_what_cannot_be_fitted_leaves_nothing_behind(place, monkeypatch, arguments, message):
    monkeypatch.chdir(place)
    status, _, err = call("fit", *arguments, "--out", "refused")
    assert status == 2 and message in err, err
    assert not (place / "refused").exists()


def test_commands_on_the_wrong_run_or_data(place, exact, monkeypatch):
    monkeypatch.chdir(place)
    narrow = table().replace(",push", "", 1).replace(",c", "", 1)
    (place / "narrow.csv").write_text("\n".join(",".join(line.split(",")[:4]) for line in narrow.splitlines()) + "\n")
    status, _, err = call("infer", "exact", "--data", "narrow.csv", "--out", "x.npz")
    assert status == 2 and "columns" in err
    status, _, err = call("forecast", "elsewhere", "--data", "walk.csv", "--out", "x.npz")
    assert status == 2 and "elsewhere" in err
    status, _, err = call("forecast", "exact", "--data", "walk.csv", "--out", "x.npz", "--quantiles", "0.5,2")
    assert status == 2 and "numbers from 0 to 1" in err
    np.save("numbers.npy", np.zeros(3))
    status, _, err = call("sample", "exact", "--out", "x.npz", "--actions", "numbers.npy")
    assert status == 2 and "no known inputs" in err
    np.savez("archive.npz", np.zeros(3))
    np.save("words.npy", np.array(["a"]))
    for name, message in (
        ("archive.npz", "archive of arrays"),
        ("words.npy", "the type <U1"),
        ("walk.csv", "cannot be read"),
    ):
        with pytest.raises(BadInputError, match=message):
            read_inputs(place / name)
    status, _, err = call("calibrate", "exact")
    assert status == 2 and "Expected a fit to rows" in err


def test_what_holds_sequences(tmp_path):
    np.savez(tmp_path / "rows.npz", values=np.zeros((3, 4)))
    np.savez(tmp_path / "sequences.npz", values=np.zeros((3, 4, 2)), lengths=np.array([3, 4, 2]))
    for folder, names in (("sounds", "a.wav"), ("images", "a.png b.gif"), ("films", "a.gif"), ("both", "a.png b.wav")):
        (tmp_path / folder).mkdir()
        for name in names.split():
            (tmp_path / folder / name).write_bytes(b"")
    (tmp_path / "long.csv").write_text("sequence,x\na,1\na,2\n")
    (tmp_path / "wide.csv").write_text("animal,x\na,1\na,2\n")
    (tmp_path / "rises.csv").write_text("x,Date\n1,2021-01-31\n2,2021-02-28\n")
    (tmp_path / "falls.csv").write_text("x,year\n1,2021\n2,2021\n")
    for name in ("films", "sounds", "long.csv", "sequences.npz", "sequences.npz:values", "rises.csv", "x.wav"):
        assert holds_sequences(tmp_path / name)
    for name in ("images", "rows.npz", "rows.npz:values", "wide.csv", "falls.csv", "x.csv", "x.parquet"):
        assert not holds_sequences(tmp_path / name)
    assert holds_sequences(tmp_path / "wide.csv", TableColumns("animal"))
    assert holds_sequences(tmp_path / "falls.csv", TableColumns(time="x"))
    assert not holds_sequences(tmp_path / "rises.csv", TableColumns(drop=("Date",)))
    with pytest.raises(BadInputError, match="found both .* say --task rows or --task sequences"):
        holds_sequences(tmp_path / "both")
    whole = (tmp_path / "sequences.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(BadInputError, match="cannot be read"):
        holds_sequences(tmp_path / "cut.npz")


def test_the_task_is_named_by_itself_by_the_model_or_by_the_data(tmp_path):
    np.save(tmp_path / "data.npy", np.zeros((3, 4, 2)))
    (tmp_path / "long.csv").write_text("animal,x\na,1\n")
    array = ["--data", str(tmp_path / "data.npy")]

    def task(*words):
        asked = read_fit_options([*words])
        assert asked is not None
        return asked.task, asked.options.engine

    assert task(*array) == ("rows", "iterative")
    assert task(*array, "--task", "sequences") == ("sequences", "amortized")
    assert task(*array, "--model=linear-gaussian") == ("sequences", "exact")
    assert task(*array, "--season", "12") == ("sequences", "exact")
    assert task(*array, "--model", "srnn", "--engine", "published") == ("sequences", "published")
    assert task("--data", str(tmp_path / "long.csv"), "--sequence-column", "animal") == ("sequences", "amortized")
    with pytest.raises(BadInputError, match="say --task sequences"):
        task(*array, "--no-grey")


def test_a_loader_goes_on_where_it_stopped():
    sequences = Sequences([RANDOM.normal(size=(length, 2)) for length in LENGTHS])
    task = SequencesTask(SequencesOptions(piece=6, batch_size=4))
    system = task.build(task.describe(sequences, sequences), key=None)

    def batches(start, count):
        return list(itertools.islice(task.loader(system, sequences, 5).read(start, key=jax.random.key(0)), count))

    whole, later = batches(0, 9), batches(6, 3)
    for one, other in zip(jax.tree.leaves(whole[6:]), jax.tree.leaves(later), strict=True):
        np.testing.assert_array_equal(one, other)
    assert whole[0].observations.shape == (4, 6, 2) and not np.stack([batch.mask for batch in whole]).all()
    with pytest.raises(BadInputError, match="bernoulli"):
        describe_sequences(sequences, sequences, SequencesOptions(likelihood="bernoulli"))


@pytest.mark.parametrize(
    ("model", "engine", "kind"),
    [
        ("linear-gaussian", "exact", float),
        ("hidden-markov", "exact", float),
        ("hidden-markov", "exact", bool),
        ("deep-markov", "amortized", float),
        ("deep-markov", "published", bool),
        ("vrnn", "amortized", np.uint8),
        ("vrnn", "published", float),
        ("srnn", "amortized", bool),
        ("srnn", "published", np.uint8),
        ("svg", "amortized", np.uint8),
        ("svg", "published", float),
    ],
)
def test_every_model_with_every_filter_fits_together(model, engine, kind):
    shape = (64, 64) if model == "svg" else (5,)
    values = RANDOM.random((2, 3, *shape))
    values = values > 0.5 if kind is bool else (200 * values).astype(kind)
    sequences = Sequences(values)
    config = SequencesOptions(model=model, engine=engine, latents=3, width=4, memory=5)
    observations = describe_sequences(sequences, sequences, config)
    names = {float: "gaussian", bool: "bernoulli", np.uint8: "discretized-gaussian"}
    assert observations.likelihood == names[kind]
    task = SequencesTask(config)
    system = task.build(observations, key=None)
    assert task.start(system).learned is system.learned
    assert observations.event_shape == shape
    if engine != "exact":
        learner: Any = system.learner()
        assert learner.learned.model is system.learned.model
        assert (learner.problem.detach is jax.lax.stop_gradient) == (engine == "amortized")
    stored = observations.restore(
        np.asarray(observations.batch(next(whole_batches(sequences, FullLength((3,)), 2)))[0])
    )
    np.testing.assert_allclose(stored, values, rtol=1e-12)
