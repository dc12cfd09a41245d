"""Bad input ends in a sentence: what was expected, what came, what to do; status 2, nothing half-written."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

LABORATORY = Path(__file__).resolve().parent


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "bench/decsent"), "Did you mean bench/descent"),
        (("run", "descent"), "Did you mean bench/descent"),
        (("run", "--scale", "smoke", "benhc"), "Did you mean bench"),
        (("run", "zzz"), "There are: bench, faults"),
        (("run",), "Expected the id of an experiment"),
        (("run", "bench", "--scale", "smal"), "invalid choice 'smal'"),
        (("run", "bench", "--seed", "-1"), "Expected a seed from 0 to 4294967295, got '-1'"),
        (("run", "bench", "--seed", "4294967296"), "Expected a seed"),
        (("run", "bench", "--seed", "one"), "Error parsing --seed"),
        (("run", "bench", "--checkpoint-seconds", "-1"), "Expected seconds"),
        (("run", "bench/descent", "--num-stps", "3"), "Did you mean --num-steps?"),
        (("run", "bench", "--num-steps", "3"), "Did you mean --descent.num-steps?"),
        (("run", "bench/descent", "--sed", "3"), "Did you mean --seed"),
        (("run", "bench/descent", "--num-steps", "many"), "invalid literal for int()"),
        (("run", "bench/descent", "--num-steps"), "Missing value for argument '--num-steps'"),
        (("run", "faults/ends", "--end", "wel"), "invalid choice 'wel'"),
        (("run", "bench/descent", "extra"), "got 'extra'"),
        (("rnu", "bench"), "Did you mean run?"),
        (("resume",), "Missing from homeostat resume"),
        (("report", "nowhere"), "Expected the folder of a run"),
        (("compare", "nowhere", "elsewhere"), "Expected the folder of a run"),
        (("results", "nowhere", "--into", "x.json"), "Expected the folder of a run"),
        (("list", "--jsn"), "Did you mean --json?"),
    ],
)
def test_mistakes_on_the_command_line(homeostat, arguments, said):
    out = homeostat(*arguments)
    assert out.status == 2
    assert out.out == ""
    error = out.err.splitlines()[-1]
    assert error.startswith("error: Expected "), out.err
    assert said in error
    assert "Traceback" not in out.err
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("victim", ["config.json", "ledger.json", "report.html", "result.json"])
def test_a_disk_that_fails(homeostat, monkeypatch, code, victim):
    """The file system refuses one file at its last step, as a full or read-only disk does."""
    replace = os.replace

    def refuse(source, target, **options):
        if Path(target).name == victim:
            raise OSError(code, os.strerror(code), str(target))
        return replace(source, target, **options)

    monkeypatch.setattr(os, "replace", refuse)
    out = homeostat("run", "bench/average", "--scale", "smoke", "--out", "run", "--json")
    assert out.status == 2
    assert out.out == ""
    assert "Traceback" not in out.err
    assert f"got '{os.strerror(code)}'" in out.err
    assert victim in out.err
    assert not (Path("run") / victim).exists()
    assert not list(Path().rglob("*.tmp"))
    if victim == "config.json":
        assert not Path("run").exists()
        return
    assert "homeostat resume run" in out.err
    monkeypatch.setattr(os, "replace", replace)
    assert homeostat("resume", "run", "--json").status == 0


def test_a_full_disk_while_arrays_are_written(homeostat, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(np.lib.format, "write_array", refuse)
        out = homeostat("run", "faults/ends", "--out", "run", "--json")
    assert out.status == 2
    assert "No space left on device" in out.err
    assert "Traceback" not in out.err
    assert not list(Path("run/checkpoints").iterdir())
    assert homeostat("resume", "run", "--json").status == 0


def test_a_cache_that_cannot_be_written_is_only_a_warning(homeostat, monkeypatch):
    import jax

    Path("taken").write_text("a file where the cache folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path("taken").absolute()))
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        out = homeostat("run", "bench/average", "--scale", "smoke", "--json")
        assert out.status == 0
        assert "warning: compiled programs are not kept" in out.err
        assert jax.config.jax_compilation_cache_dir is None
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_the_first_line_comes_within_three_seconds():
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "laboratory", "run", "bench/average"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(LABORATORY), os.environ.get("PYTHONPATH", "")])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stderr.readline()
    seconds = time.monotonic() - start
    process.kill()
    process.communicate()
    assert "bench/average at small, seed 0" in line
    assert seconds < 3
