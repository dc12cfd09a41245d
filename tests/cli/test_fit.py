"""`homeostat fit` and what follows it, on small data of a user's own."""

import contextlib
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from homeostat.cli import main
from homeostat.cli._fit import FitOptions
from homeostat.cli._options import option_names
from homeostat.data import split_rows
from homeostat.metrics import independent_bernoulli_nats
from homeostat.results import BadInputError, CheckpointError
from homeostat.workflow import RowsOptions, SequencesOptions, load
from tolerances import ALGEBRA, AUTODIFF

RANDOM = np.random.default_rng(7)
FACTORS = RANDOM.normal(size=(2, 6))
REAL = 3.0 * RANDOM.normal(size=(64, 2)) @ FACTORS + RANDOM.normal(size=(64, 6)) + 10.0
BINARY = (RANDOM.random((64, 6)) < 1.0 / (1.0 + np.exp(-(REAL - 10.0)))).astype(np.float64)

TINY = "--latents 2 --width 4 --depth 1 --steps 60 --report-every 2 --validate-every 20 --batch-size 16"
SMALL = [*TINY.split(), "--evaluation-rows", "6", "--evaluation-samples", "30"]
# Streamed, though it would fit, so that the path of large data is the one that is killed.
STREAMED = ["--engine", "direct", "--hold-mib", "0", *SMALL]


class Outcome(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def result(self) -> dict[str, Any]:
        return json.loads(self.out)


def call(*arguments: object) -> Outcome:
    """The command line inside this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(argument) for argument in arguments])
    return Outcome(status, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with data."""
    folder = tmp_path_factory.mktemp("own")
    np.savez(folder / "data.npz", binary=BINARY, real=REAL, other=BINARY[:30])
    np.save(folder / "narrow.npy", BINARY[:, :5])
    np.savetxt(folder / "new.csv", BINARY[:30], delimiter=",", fmt="%g")
    return folder


@pytest.fixture(scope="module")
def fitted(place):
    """A Bernoulli model with a direct encoder."""
    out = call("fit", "--data", f"{place / 'data.npz'}:binary", *STREAMED, "--out", place / "fitted", "--json")
    assert out.status == 0, out.err
    return place / "fitted", out


@pytest.fixture(scope="module")
def exact(place):
    """Principal components with their exact posterior, which need not be asked for; no weight is learned by gradients."""
    options = ["--model", "probabilistic-pca", "--latents", "2", "--evaluation-rows", "6", "--evaluation-samples", "30"]
    out = call("fit", "--data", f"{place / 'data.npz'}:real", *options, "--out", place / "exact", "--json")
    assert out.status == 0, out.err
    return place / "exact", out


def test_a_fit_leaves_a_run(fitted):
    folder, out = fitted
    assert len(out.out.splitlines()) == 1
    assert out.result == json.loads((folder / "result.json").read_text())
    assert json.loads((folder / "config.json").read_text())["config"]["task"] == "rows"
    summary = out.result["summary"]
    assert (out.result["experiment"], out.result["claims"]) == ("fit", [])
    assert (summary["training_rows"], summary["validation_rows"], summary["rows"]) == (58, 6, 6)
    assert summary["likelihood"] == "bernoulli"
    assert "bernoulli, chosen from the data" in out.err
    assert "streamed" in out.err
    assert summary["failure"] is None
    assert summary["log_likelihood_nats"] >= summary["elbo_nats"] - 1.0
    assert abs(summary["elbo_nats"] + summary["distortion_nats"] + summary["rate_nats"]) < ALGEBRA
    (independent,) = summary["baselines"]
    train = BINARY[split_rows(64, validation=0.1, test=0.0, seed=0).train]
    held = BINARY[split_rows(64, validation=0.1, test=0.0, seed=0).validation]
    assert independent["nats"] == pytest.approx(-independent_bernoulli_nats(train, held), abs=ALGEBRA)
    gain = summary["log_likelihood_nats"] - independent["nats"]
    assert summary["gain_nats"] == pytest.approx(gain, abs=ALGEBRA)
    assert "nats a row" in out.err.splitlines()[-1] or "warning: " in out.err.splitlines()[-1]
    assert "Log density under simple models" in (folder / "report.html").read_text()
    figures = {"training.png", "reconstructions.png", "samples.png", "units.png"}
    assert figures == {path.name for path in (folder / "figures").iterdir()}
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "distortion_nats" in line] == list(range(2, 61, 2))
    looks = {
        line["step"]: line["validation_free_energy_nats"] for line in lines if "validation_free_energy_nats" in line
    }
    assert list(looks) == [20, 40, 60]
    # The model that is kept is the one with the best bound on the validation rows.
    assert summary["best_step"] == min(looks, key=lambda step: looks[step])
    assert "latent-gaussian with direct inference" in (folder / "report.html").read_text()
    assert not list(folder.rglob("*.tmp"))


def test_a_killed_fit_goes_on_to_the_same_bits(fitted, place):
    unbroken, out = fitted
    broken = place / "broken"
    arguments = ["fit", "--data", f"{place / 'data.npz'}:binary", *STREAMED, "--out", str(broken)]
    process = subprocess.Popen(
        [sys.executable, "-m", "homeostat", *arguments, "--checkpoint-seconds", "0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline, file = time.monotonic() + 240, broken / "checkpoints" / "train.loop.npz"
    while time.monotonic() < deadline and process.poll() is None and not file.exists():
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert file.exists()
    assert not (broken / "result.json").exists()
    refused = call("infer", broken, "--data", place / "new.csv", "--out", place / "early.npz")
    if refused.status == 2:  # otherwise the kill came after training
        assert f"homeostat resume {broken}" in refused.err
    resumed = call("resume", broken, "--json")
    assert resumed.status == 0, resumed.err
    for name in ("summary", "config"):
        assert resumed.result[name] == out.result[name]
    assert (broken / "metrics.jsonl").read_text() == (unbroken / "metrics.jsonl").read_text()
    for name in ("training.png", "samples.png", "units.png"):
        assert (broken / "figures" / name).read_bytes() == (unbroken / "figures" / name).read_bytes()
    again = call("resume", broken)
    assert again.status == 0
    assert "log p(x)" in again.out


def test_rows_in_memory_and_from_the_disk_come_in_the_same_order():
    from homeostat.data import ArrayRows
    from homeostat.workflow import RowsOptions, RowsTask

    rows, key = ArrayRows(REAL), jax.random.key(0)
    tasks = [RowsTask(RowsOptions(batch_size=10, latents="2", hold_mib=mebibytes)) for mebibytes in (1.0, 0.0)]
    held, streamed = (task.loader(task.build(task.describe(rows, rows), key=None), rows, 3) for task in tasks)
    for start, count in ((0, 4), (4, 5), (9, 1), (2, 3)):  # over the end of an epoch, and back as after a resume
        chosen, read = (itertools.islice(loader.read(start, key=key), count) for loader in (held, streamed))
        for numbers, batch in zip(chosen, read, strict=True):
            assert jnp.array_equal(held.batch(held.arguments(), numbers, (), None, key=key)[0], batch)
    epoch = np.concatenate(list(itertools.islice(held.read(0, key=key), 6)))
    assert len(np.unique(epoch)) == 60


def test_infer_writes_a_posterior_for_each_row(fitted, place):
    folder, _ = fitted
    file = place / "posteriors.npz"
    out = call("infer", folder, "--data", place / "new.csv", "--out", file, "--json")
    assert out.status == 0, out.err
    with np.load(file) as found:
        arrays = dict(found)
    assert set(arrays) == {
        "posterior_loc", "posterior_log_scale", "mean", "elbo_nats", "distortion_nats", "rate_nats", "failed", "dims",
    }  # fmt: skip
    assert arrays["posterior_loc"].shape == (30, 2)
    assert arrays["elbo_nats"].mean() == pytest.approx(out.result["elbo_nats"], abs=ALGEBRA)
    loc, scale = arrays["posterior_loc"], np.exp(arrays["posterior_log_scale"])
    rate = 0.5 * np.sum(loc**2 + scale**2 - 1.0 - 2.0 * np.log(scale), axis=1)
    np.testing.assert_allclose(arrays["rate_nats"], rate, atol=1e3 * ALGEBRA)
    again = call("infer", folder, "--data", place / "new.csv", "--out", file)
    assert again.status == 2
    assert "which exists" in again.err and "--force" in again.err
    replaced = call("infer", folder, "--data", f"{place / 'data.npz'}:binary", "--out", file, "--force", "--json")
    assert replaced.status == 0, replaced.err
    with np.load(file) as found:
        assert len(found["elbo_nats"]) == 64
    (place / "folder.npz").mkdir()
    in_the_way = call("infer", folder, "--data", place / "new.csv", "--out", place / "folder.npz", "--force")
    assert in_the_way.status == 2 and "which is a folder" in in_the_way.err
    assert not list(place.glob(".*.tmp"))


def test_evaluate_agrees_with_the_closed_form(exact, place):
    folder, _ = exact
    file = place / "rows.npz"
    data = f"{place / 'data.npz'}:real"
    out = call("evaluate", folder, "--data", data, "--rows", 20, "--samples", 30, "--json", "--out", file)
    assert out.status == 0, out.err
    from homeostat.data import permutation
    from homeostat.inference import fit_probabilistic_pca
    from homeostat.models.static import ProbabilisticPCA

    model = load(folder).selected.learned.model
    assert isinstance(model, ProbabilisticPCA)
    normal = stats.multivariate_normal(np.asarray(model.offset), np.asarray(model.covariance()))
    rows = REAL[np.sort(permutation(64, 0)[:20])]
    # 32-bit rows enter the model.
    expected = normal.logpdf(rows.astype(np.float32).astype(float))
    with np.load(file) as found:
        np.testing.assert_allclose(found["log_likelihood_nats"], expected, atol=1e-5)
        np.testing.assert_allclose(found["monte_carlo_stderr_nats"], 0.0, atol=1e-5)
    assert out.result["log_likelihood_nats"] == pytest.approx(expected.mean(), abs=1e-5)
    assert out.result["stderr_nats"] == pytest.approx(expected.std(ddof=1) / np.sqrt(20), rel=1e-4)
    assert "bits_per_dimension" not in out.result
    said = call("infer", folder, "--data", data, "--out", place / "exact-codes.npz")
    assert "log p(x), exact, " in said.out
    # Learned from all training rows, though only their mean and covariance passed through.
    from homeostat.data import split_rows

    train = REAL[split_rows(64, validation=0.1, test=0.0, seed=0).train].astype(np.float32)
    direct = fit_probabilistic_pca(jnp.asarray(train, float), 2)
    assert jnp.allclose(direct.covariance(), model.covariance(), atol=1e-4)


@pytest.mark.slow
def test_an_exact_posterior_is_calibrated(exact, place):
    folder, _ = exact
    out = call("calibrate", folder, "--simulations", 80, "--out", place / "calibration", "--json")
    assert out.status == 0, out.err
    assert out.result["calibrated"], out.result["verdict"]
    assert len(out.result["p_values"]) == 2
    assert np.shape(out.result["coverage"]) == (4, 2)
    assert {path.name for path in (place / "calibration").iterdir()} == {
        "calibration.png", "calibration.json", "ranks.npz",
    }  # fmt: skip


def test_sample_draws_rows_in_their_own_unit(exact, place):
    folder, _ = exact
    out = call("sample", folder, "--number", 300, "--out", place / "drawn.npz", "--json")
    assert out.status == 0, out.err
    with np.load(place / "drawn.npz") as found:
        assert found["latents"].shape == (300, 2)
        spread = REAL.std(axis=0) / np.sqrt(300)
        assert np.all(np.abs(found["samples"].mean(axis=0) - REAL.mean(axis=0)) < 5.0 * spread + REAL.std(axis=0) / 8.0)
    assert "picture" not in out.result
    table = call("sample", folder, "--number", 300, "--out", place / "drawn.csv")
    assert table.status == 0, table.err
    cells = np.genfromtxt(place / "drawn.csv", delimiter=",", skip_header=1)
    with np.load(place / "drawn.npz") as found:
        np.testing.assert_allclose(cells, np.column_stack([np.arange(300), *found.values()]), rtol=AUTODIFF)


def test_training_stops_at_what_is_not_finite_and_keeps_the_model(place):
    folder = place / "burst"
    arguments = ["--engine", "direct", *SMALL, "--learning-rate", "1e200", "--validate-every", "2"]
    out = call("fit", "--data", f"{place / 'data.npz'}:real", *arguments, "--out", folder, "--json")
    assert out.status == 4, out.err
    assert "error: training stopped at update " in out.err
    failure = out.result["summary"]["failure"]
    assert failure.startswith("update ")
    assert "became NaN or infinite" in failure
    assert (folder / "fitted.json").is_file()
    assert call("resume", folder, "--json").status == 4


BAD = np.where(BINARY == 1.0, np.inf, 0.0)


@pytest.mark.parametrize(
    ("array", "options", "said"),
    [
        (BAD, [], "finite numbers"),
        (2.0 * BINARY, ["--likelihood", "bernoulli"], "numbers from 0 to 1"),
        (BINARY - 1.0, ["--likelihood", "multinomial"], "counts"),
        (0.0 * BINARY, ["--likelihood", "multinomial"], "at least one count"),
        (BINARY, ["--latents", "0"], "at least one latent variable"),
        (BINARY, ["--beta", "2", "--anneal", "10"], "--beta and --anneal"),
        (BINARY, ["--engine", "ladder"], "--latents 64,32"),
        (BINARY, ["--engine", "drect"], "invalid choice"),
        (BINARY, ["--latnets", "3"], "Did you mean --latents"),
        (BINARY, ["--seed", "-1"], "Expected a seed"),
        (BINARY[:0], [], "rows of at least one number"),
        (BINARY.astype(str), [], "numbers"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, monkeypatch, array, options, said):
    monkeypatch.chdir(tmp_path)
    np.save("data.npy", array)
    out = call("fit", "--data", "data.npy", *SMALL, *options, "--json")
    assert out.status == 2, out.err
    assert out.out == ""
    assert "Traceback" not in out.err
    error = " ".join(out.err.splitlines()).split("error: ")[-1]
    assert error.startswith("Expected ")
    assert said in error
    assert [path.name for path in Path().iterdir() if path.name != "runs"] == ["data.npy"]
    assert not any(Path("runs").iterdir()) if Path("runs").exists() else True


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("fit",), "no --data"),
        (("fit", "--data", "nowhere.npy"), "found no file"),
        (("evaluate", "{fitted}", "--data", "{place}/narrow.npy"), "as the fitted model"),
        (("evaluate", "{fitted}", "--data", "{place}/data.npz:real"), "numbers from 0 to 1"),
        (("evaluate", "{fitted}", "--data", "{place}/new.csv", "--samples", "1"), "at least 2"),
        (("infer", "{fitted}", "--data", "{place}/new.csv", "--out", "{place}/x.npy"), "ends in .npz"),
        (
            ("infer", "{fitted}", "--data", "{place}/new.csv", "--iterations", "3", "--out", "{place}/x.npz"),
            "one iteration",
        ),
        (("sample", "{place}", "--out", "{place}/x.npz"), "the folder of a run"),
        (("sample", "{fitted}"), "--out"),
        (("calibrate", "{fitted}", "--simulations", "10"), "at least 80 simulations"),
        (("smaple", "{fitted}"), "Did you mean sample?"),
        (("forecast", "{fitted}", "--data", "{place}/new.csv", "--out", "{place}/x.npz"), "a fit to sequences"),
        (("sample", "{fitted}", "--horizon", "3", "--out", "{place}/x.npz"), "got --horizon, which means nothing"),
        (("fit", "--data", "{place}/new.csv", "--pasts", "3"), "say --task sequences"),
    ],
)
def test_mistakes_about_a_fitted_run(fitted, place, arguments, said):
    out = call(*(argument.format(fitted=fitted[0], place=place) for argument in arguments))
    assert out.status == 2, out.err
    assert out.out == ""
    assert "Traceback" not in out.err
    assert said in " ".join(out.err.split())
    assert not (place / "x.npz").exists()


def test_a_changed_file_is_noticed_on_resume(fitted, place, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(fitted[0], copy)
    (copy / "result.json").unlink()
    data = place / "data.npz"
    kept, times = data.read_bytes(), (data.stat().st_atime_ns, data.stat().st_mtime_ns)
    try:
        np.savez(data, binary=1.0 - BINARY, real=REAL, other=BINARY[:30])
        out = call("resume", copy)
    finally:
        data.write_bytes(kept)
        os.utime(data, ns=times)
    assert out.status == 2
    assert "the file has changed" in " ".join(out.err.split())


def test_runs_of_earlier_versions_are_refused_with_their_version(fitted, tmp_path):
    content = json.loads((fitted[0] / "config.json").read_text()) | {"homeostat": "0.0.7", "format": 1}
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"written by homeostat 0\.0\.7 in format 1"):
        load(tmp_path)


def test_a_fit_in_memory_is_saved_and_read_back(fitted, place, tmp_path):
    loaded = load(fitted[0])
    loaded.save(tmp_path / "copy")
    copy, key = load(tmp_path / "copy"), jax.random.key(1)
    assert copy.task == loaded.task
    one, other = (model.infer(str(place / "new.csv"), key=key).arrays for model in (loaded, copy))
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])
    with pytest.raises(BadInputError, match="as the fitted model"):
        copy.open(BINARY[:, :5])


def test_help_comes_without_jax():
    command = "import sys; from homeostat.cli import main; main(['fit', '--help']); print({'jax', 'pyarrow'} & {*sys.modules})"
    out = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines()[-1] == "set()"
    assert "nats" in out.stdout


@pytest.mark.parametrize(("task", "default"), [("rows", RowsOptions()), ("sequences", SequencesOptions())])
def test_help_stands_in_groups_that_hold_every_option_once(task, default):
    lines = call("fit", "--task", task, "--help").out.splitlines()
    found = [line.split()[0].rstrip(",") for line in lines if line.startswith("  --")]
    assert sorted(found) == sorted([*option_names(FitOptions()), *option_names(default)])
    titles = [line.strip() for line in lines if line.endswith(" options")]
    assert titles == [f"{name} options" for name in ("data", "model", "run", "training", "inference", "rarely-needed")]
