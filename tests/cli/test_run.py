"""`homeostat run`: the folder, the result, exit statuses, claims."""

import json
import re
from pathlib import Path

import pytest


def test_a_run_leaves_its_folder(homeostat):
    out = homeostat("run", "bench/descent", "--scale", "smoke", "--out", "here", "--json")
    assert out.status == 0, out.err
    assert len(out.out.splitlines()) == 1
    folder = Path("here")
    result = json.loads((folder / "result.json").read_text())
    assert result == out.result
    assert list(result) == [
        "experiment", "scale", "seed", "config", "claims", "versions", "machine", "seconds", "artifacts",
    ]  # fmt: skip
    assert (result["experiment"], result["scale"], result["seed"]) == ("bench/descent", "smoke", 0)
    assert result["config"] == {"num_steps": 60, "rate": 0.01, "every": 10}
    assert [claim["id"] for claim in result["claims"]] == ["descent/error", "descent/steps"]
    assert list(result["claims"][0]) == ["id", "source", "metric", "unit", "value", "stderr", "expected", "passed"]
    assert result["claims"][0]["expected"] == "<= 50"
    assert result["claims"][1] | {"source": "", "metric": ""} == {
        "id": "descent/steps", "source": "", "metric": "", "unit": "count",
        "value": 60.0, "stderr": None, "expected": ">= 1", "passed": True,
    }  # fmt: skip
    assert {"python", "homeostat", "jax", "jaxlib", "numpyro"} <= set(result["versions"])
    assert set(result["machine"]) == {"cpu", "cores", "memory_gib", "accelerator", "os"}
    assert all((folder / name).is_file() for name in result["artifacts"])
    assert {"report.html", "figures/error.png", "figures/walk.gif", "metrics.jsonl"} <= set(result["artifacts"])
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["stage"] == "fit.adam"] == [10, 20, 30, 40, 50, 60]
    assert {line["stage"] for line in lines} == {"fit.adam", "walk", ""}
    assert not list(folder.rglob("*.tmp"))


def test_seed_and_options_change_the_result_and_nothing_else_does(homeostat):
    def value(*options):
        out = homeostat("run", "bench/descent", "--scale", "smoke", "--json", *options)
        assert out.status == 0, out.err
        return out.result["claims"][0]["value"]

    first = value("--out", "a")
    assert value("--out", "b", "--no-cache", "--checkpoint-seconds", 0) == first
    assert value("--out", "c", "--seed", 1) != first


def test_without_json_a_table_and_the_report_are_named(homeostat):
    out = homeostat("run", "bench/average", "--scale", "smoke")
    assert out.status == 0
    assert "average/mean" in out.out
    assert "1 of 1 claims hold" in out.out
    (folder,) = Path("runs").iterdir()
    assert re.fullmatch(r"bench-average-smoke-seed0-\d{8}-\d{6}", folder.name)
    assert str(folder / "report.html") in out.out


def test_a_group_gathers_the_claims_and_shares_artefacts(homeostat):
    group = homeostat("run", "bench", "--scale", "small", "--out", "group", "--json", "--descent.num-steps", 300)
    assert group.status == 0, group.err
    assert [claim["id"] for claim in group.result["claims"]] == [
        "descent/error", "descent/steps", "average/mean", "average/spread",
    ]  # fmt: skip
    assert group.result["config"] == {
        "descent": {"num_steps": 300, "rate": 0.01, "every": 10},
        "average": {"rows": 100},
    }
    assert len(list(Path("group/checkpoints/shared").iterdir())) == 1
    assert "figures/descent/error.png" in group.result["artifacts"]
    # Alone, an experiment gives the same bits as in its group.
    alone = homeostat("run", "bench/descent", "--scale", "small", "--out", "alone", "--json", "--num-steps", 300)
    assert alone.result["claims"] == group.result["claims"][:2]
    # Another spec is another artefact.
    other = homeostat("run", "bench", "--scale", "smoke", "--out", "other", "--json", "--average.rows", 50)
    assert other.status == 0
    assert len(list(Path("other/checkpoints/shared").iterdir())) == 2


def test_the_report_is_one_offline_file(homeostat):
    homeostat("run", "bench/descent", "--scale", "smoke", "--out", "here")
    page = Path("here/report.html").read_text()
    assert "http://" not in page
    assert "https://" not in page
    assert "src='data:image/png;base64," in page
    assert "data:image/gif;base64," in page
    assert "Error &lt;against&gt; the segment." in page
    assert "Nothing &amp; more." in page
    assert page.index("descent/error") < page.index("data:image/png")
    assert "jaxlib" in page
    assert "num_steps" in page
    assert "polyline" in page


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (("--value", "1"), 0, ""),
        (("--value", "0"), 3, ""),
        (("--value", "nan"), 3, ""),
        (("--end", "nothing"), 3, ""),
        (("--end", "crash"), 1, "RuntimeError: an experiment with a mistake"),
        (("--end", "crash-late"), 1, "homeostat resume there"),
        (("--end", "bad-input"), 2, "Expected something else, got this. Do that."),
        (("--end", "interrupt"), 130, "homeostat resume there"),
    ],
)
def test_exit_statuses(homeostat, options, status, said):
    names = {"crash-late": "crash_late", "bad-input": "bad_input"}
    options = [names.get(option, option) for option in options]
    out = homeostat("run", "faults/ends", "--out", "there", "--json", *options)
    assert out.status == status, out.err
    assert said in out.err
    assert ("Traceback" in out.err) == (status == 1)
    if status in (0, 3):
        assert "an experiment that prints" in out.err
        claims = {claim["id"]: claim for claim in out.result["claims"]}
        assert claims["ends/other"]["passed"] is True
        assert claims["ends/value"]["passed"] is (status == 0)
    else:
        assert out.out == ""
        assert not Path("there/result.json").exists()
    if status == 2:
        assert not Path("there").exists()


def test_failing_claims_stay_visible(homeostat):
    out = homeostat("run", "faults/ends", "--out", "there", "--value", "0")
    assert out.status == 3
    assert "FAILS" in out.out
    assert "1 of 2 claims hold" in out.out
    assert "✗ fails" in Path("there/report.html").read_text()
    out = homeostat("run", "faults/ends", "--out", "unmeasured", "--end", "nothing", "--json")
    assert out.result["claims"][0]["value"] is None


def test_a_run_never_overwrites(homeostat):
    first = homeostat("run", "bench/average", "--scale", "smoke", "--out", "here", "--json")
    before = {path: path.stat().st_mtime_ns for path in Path("here").rglob("*")}
    again = homeostat("run", "bench/average", "--scale", "smoke", "--out", "here", "--json")
    assert again.status == 2
    assert again.out == ""
    assert "Expected a new or empty folder" in again.err
    assert "homeostat resume here" in again.err
    assert {path: path.stat().st_mtime_ns for path in Path("here").rglob("*")} == before
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("keep")
    assert homeostat("run", "bench/average", "--scale", "smoke", "--out", "mine").status == 2
    assert [path.name for path in Path("mine").iterdir()] == ["notes.txt"]
    Path("file").write_text("keep")
    assert homeostat("run", "bench/average", "--scale", "smoke", "--out", "file").status == 2
    Path("empty").mkdir()
    empty = homeostat("run", "bench/average", "--scale", "smoke", "--out", "empty", "--json")
    assert empty.result["claims"] == first.result["claims"]


def test_two_processes_cannot_write_one_run(homeostat):
    import fcntl

    Path("busy").mkdir()
    with open("busy/.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        out = homeostat("run", "bench/average", "--scale", "smoke", "--out", "busy")
    assert out.status == 2
    assert "another process is writing" in out.err
    assert not Path("busy/config.json").exists()
