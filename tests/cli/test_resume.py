"""Runs that end before their time, in real processes, and what `homeostat resume` makes of them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

LABORATORY = Path(__file__).resolve().parent
STEPS = 200


def start(*arguments: object) -> subprocess.Popen:
    """The command line in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "laboratory", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(LABORATORY), os.environ.get("PYTHONPATH", "")])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_lines(folder: Path, stage: str, count: int, process: subprocess.Popen) -> None:
    """Return as soon as the run has recorded `count` segments of a loop."""
    deadline = time.monotonic() + 120
    file = folder / "metrics.jsonl"
    while time.monotonic() < deadline and process.poll() is None:
        if file.exists() and file.read_text().count(f'"stage": "{stage}"') >= count:
            return
        time.sleep(0.005)
    raise AssertionError(f"the run ended or stalled before {count} segments of {stage}: {process.communicate()}")


def stored_step(checkpoint: Path) -> int:
    """The step at which a loop's checkpoint was taken."""
    with zipfile.ZipFile(checkpoint) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    (step,) = (leaf["value"] for leaf in manifest["leaves"] if leaf["path"].endswith(".step"))
    return step


def content(folder: Path) -> dict[str, object]:
    """All that must not depend on whether a run was broken."""
    result = json.loads((folder / "result.json").read_text())
    del result["seconds"]
    figures = {path.name: path.read_bytes() for path in (folder / "figures").iterdir()}
    return {"result": result, "metrics": (folder / "metrics.jsonl").read_text(), "figures": figures}


def test_killed_runs_end_in_the_same_bits(homeostat, tmp_path):
    options = ("bench/descent", "--num-steps", STEPS)
    unbroken = homeostat("run", *options, "--out", "unbroken", "--json")
    assert unbroken.status == 0, unbroken.err

    broken = tmp_path / "broken"
    process = start("run", *options, "--checkpoint-seconds", 0, "--out", broken)
    wait_for_lines(broken, "fit.adam", 4, process)
    process.kill()
    process.communicate()
    assert not (broken / "result.json").exists()
    # The loop goes on from here, not from its start: a segment is recorded before its checkpoint is written.
    assert stored_step(broken / "checkpoints" / "fit.adam.loop.npz") >= 30

    process = start("resume", broken)
    wait_for_lines(broken, "walk", 4, process)
    process.kill()
    process.communicate()
    assert not (broken / "result.json").exists()

    resumed = homeostat("resume", broken, "--json")
    assert resumed.status == 0, resumed.err
    assert "fit: restored" in resumed.err
    assert resumed.result == json.loads((broken / "result.json").read_text())
    assert content(broken) == content(Path("unbroken"))
    assert not list(broken.rglob("*.tmp"))

    # A finished run is not run again.
    before = (broken / "result.json").stat().st_mtime_ns
    again = homeostat("resume", broken, "--json")
    assert (again.status, again.result) == (0, resumed.result)
    assert (broken / "result.json").stat().st_mtime_ns == before


def test_ctrl_c_leaves_a_checkpoint_and_says_how_to_go_on(homeostat, tmp_path):
    folder = tmp_path / "run"
    # No checkpoint would be due within this run: the one that is found was written because of the signal.
    process = start(
        "run", "bench/descent", "--num-steps", 20_000, "--checkpoint-seconds", 1000, "--json", "--out", folder
    )
    wait_for_lines(folder, "fit.adam", 3, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert f"homeostat resume {folder}" in err
    assert "Traceback" not in err
    assert stored_step(folder / "checkpoints" / "fit.adam.loop.npz") >= 30
    assert json.loads((folder / "ledger.json").read_text())["seconds"] > 0


@pytest.fixture
def unfinished(homeostat):
    """A run that crashed after its first stage."""
    out = homeostat("run", "faults/ends", "--out", "run", "--end", "interrupt")
    assert out.status == 130
    return Path("run")


def test_resume_refuses_what_is_not_a_run(homeostat, unfinished):
    out = homeostat("resume", "rum")
    assert out.status == 2
    assert "Expected the folder of a run" in out.err
    assert "Traceback" not in out.err
    Path("empty").mkdir()
    assert homeostat("resume", "empty").status == 2
    (unfinished / "config.json").write_text("{")
    out = homeostat("resume", unfinished)
    assert out.status == 2
    assert "Expected JSON" in out.err


def test_resume_refuses_an_edited_configuration(homeostat, unfinished):
    config = json.loads((unfinished / "config.json").read_text())
    config["config"]["value"] = 0.75
    (unfinished / "config.json").write_text(json.dumps(config))
    out = homeostat("resume", unfinished)
    assert out.status == 2
    assert "edited or foreign config.json" in out.err


def test_a_run_of_another_version_is_refused_with_that_version(homeostat, unfinished):
    """Run folders of format 1 had folders for checkpoints and no version in config.json."""
    config = json.loads((unfinished / "config.json").read_text())
    for said, change in (("0.1", {"format": 1}), ("9.9", {"format": 3, "homeostat": "9.9"})):
        (unfinished / "config.json").write_text(json.dumps(config | change))
        out = homeostat("resume", unfinished)
        assert out.status == 2
        assert f"written by homeostat {said}" in out.err
        assert f"format {change['format']}" in out.err


def test_resume_refuses_a_foreign_checkpoint(homeostat, unfinished):
    homeostat("run", "faults/ends", "--out", "other", "--seed", 1, "--end", "interrupt")
    shutil.rmtree(unfinished / "checkpoints")
    shutil.copytree("other/checkpoints", unfinished / "checkpoints")
    out = homeostat("resume", unfinished)
    assert out.status == 2
    assert "belongs to another run" in out.err
    assert "Traceback" not in out.err


def test_resume_refuses_a_damaged_checkpoint(homeostat, unfinished):
    data = unfinished / "checkpoints" / "short.stage.npz"
    data.write_bytes(bytes(reversed(data.read_bytes())))
    out = homeostat("resume", unfinished)
    assert out.status == 2
    assert "Expected an undamaged checkpoint" in out.err
    assert "Traceback" not in out.err


def test_resume_asks_for_the_precision_of_the_start(homeostat, unfinished):
    import jax

    assert jax.config.jax_enable_x64
    with jax.enable_x64(False):
        out = homeostat("resume", unfinished)
    assert out.status == 2
    assert "JAX_ENABLE_X64=1" in out.err
