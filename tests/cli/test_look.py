"""`list`, help, `--version`, `report`, `compare`, `results`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

LABORATORY = Path(__file__).resolve().parent


def test_listing_needs_no_jax():
    code = (
        f"import sys; sys.path.insert(0, {str(LABORATORY)!r})\n"
        "from homeostat.cli import main\nfrom homeostat.experiments import Registry\n"
        "for command in (['list'], ['list', '--json'], ['--help'], ['run', '--help'], ['--version']):\n"
        "    assert main(command, registry=Registry('laboratory')) == 0\n"
        "assert 'jax' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "bench/descent" in done.stdout


def test_list_as_json(homeostat):
    listed = homeostat("list", "--json").result
    assert [e["id"] for e in listed["experiments"]] == ["bench/descent", "bench/average", "faults/ends"]
    first = listed["experiments"][0]
    assert first["summary"] == "Fit a linear map by Adam, in a stage, with minibatches."
    assert first["minutes"] == {"smoke": 0.05, "small": 0.1, "paper": 1.0}
    assert (first["source"], first["claims"], first["group"]) == ("the tests of the command line", 2, "bench")
    bench = listed["groups"][0]
    assert bench["id"] == "bench"
    assert bench["summary"] == "Two experiments that share a data set."
    assert bench["minutes"]["paper"] == pytest.approx(1.01)
    assert bench["experiments"] == ["bench/descent", "bench/average"]


def test_help_explains_the_configuration(homeostat):
    out = homeostat("run", "bench/descent", "--help", "--scale", "smoke")
    assert out.status == 0
    assert "--num-steps INT" in out.out
    assert "Updates (count). (default: 60)" in out.out
    assert "--checkpoint-seconds" in out.out
    assert "--descent.rate FLOAT" in homeostat("run", "bench", "--help").out
    assert not list(Path().iterdir())


def test_version(homeostat):
    from homeostat import __version__

    assert homeostat("--version").out == f"homeostat {__version__}\n"


@pytest.fixture
def two_runs(homeostat):
    """Two seeds of one experiment."""
    for seed in (3, 1):
        out = homeostat("run", "bench/average", "--scale", "small", "--out", f"seed{seed}", "--seed", seed)
        assert out.status == 0
    return Path("seed3"), Path("seed1")


def test_compare(homeostat, two_runs):
    comparison = homeostat("compare", *two_runs, "--json").result
    results = [json.loads((run / "result.json").read_text()) for run in two_runs]
    values = [result["claims"][1]["value"] for result in results]
    claim = comparison["claims"][1]
    assert (claim["first"], claim["second"], claim["difference"]) == (*values, values[1] - values[0])
    assert claim["standard_errors"] is None
    assert claim["passed"] == [True, True]
    assert comparison["config"] == {}
    assert comparison["setting"]["seed"] == [3, 1]
    printed = homeostat("compare", *two_runs)
    assert printed.status == 0
    assert "average/spread" in printed.out
    assert "Configuration: no difference." in printed.out


def test_report_of_one_run_and_of_two(homeostat, two_runs):
    page = two_runs[0] / "report.html"
    before = page.read_text()
    page.unlink()
    assert homeostat("report", two_runs[0]).out.strip() == str(page)
    assert page.read_text() == before
    assert homeostat("report", *two_runs, "--out", "both.html").status == 0
    both = Path("both.html").read_text()
    assert "seed 3" in both
    assert "seed 1" in both
    assert "http" not in both.replace("http-equiv", "")
    again = homeostat("report", *two_runs, "--out", "both.html")
    assert again.status == 2
    assert "choose another name, or say --force" in again.err


def test_claims_measured_but_not_asserted_are_shown_apart(homeostat):
    out = homeostat("run", "bench/average", "--scale", "smoke", "--out", "here", "--json")
    assert [claim["id"] for claim in out.result["claims"]] == ["average/mean"]
    page = Path("here/report.html").read_text()
    assert "average/spread" in page
    assert "not asserted" in page
    assert "at small, paper" in page


def test_results_of_several_seeds(homeostat, two_runs):
    out = homeostat("results", *two_runs, "--into", "results/bench/average.json")
    assert out.status == 0
    assert "| mean output (`average/mean`)" in out.out
    merged = json.loads(Path("results/bench/average.json").read_text())
    assert merged["seed"] == [1, 3]
    a, b = (json.loads((run / "result.json").read_text())["claims"][0]["value"] for run in reversed(two_runs))
    claim = merged["claims"][0]
    assert claim["values"] == [a, b]
    assert claim["value"] == pytest.approx((a + b) / 2, rel=1e-12)
    # For two values, the standard error of the mean is half their distance.
    assert claim["stderr"] == pytest.approx(abs(a - b) / 2, rel=1e-12)
    assert claim["passed"] is True
    assert claim["expected"] == "in [-1, 1]"


def test_results_refuses_to_mix(homeostat, two_runs):
    homeostat("run", "bench/average", "--scale", "small", "--out", "other", "--rows", "50")
    out = homeostat("results", two_runs[0], "other", "--into", "x.json")
    assert out.status == 2
    assert "the same config" in out.err
    assert not Path("x.json").exists()
    out = homeostat("results", two_runs[0], two_runs[0], "--into", "x.json")
    assert out.status == 2
    assert "every seed once" in out.err
    assert homeostat("results", two_runs[0], "--into", "x.txt").status == 2


def test_documentation_tables_are_filled(homeostat, two_runs, tmp_path):
    from homeostat.results import BadInputError
    from homeostat.runs import fill_tables

    homeostat("results", *two_runs, "--into", "results/bench/average.json")
    page = "before\n<!-- results: results/bench/average.json -->\nstale\n<!-- end of results -->\nafter\n"
    filled = fill_tables(page, tmp_path)
    assert "stale" not in filled
    assert "average/mean" in filled
    assert filled.startswith("before\n")
    assert filled.endswith("after\n")
    assert fill_tables(filled, tmp_path) == filled
    with pytest.raises(BadInputError, match="no such file"):
        fill_tables("<!-- results: results/none.json -->\n<!-- end of results -->", tmp_path)
