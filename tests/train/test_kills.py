"""Training that is killed at any time ends in the bits of training that is not."""

import os
import random
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().with_name("killed_training.py")
KILLS = 25


def start(*arguments: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, SCRIPT, *map(str, arguments)], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )


def members(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.slow
def test_25_kills_change_no_bit(tmp_path):
    unbroken = start(tmp_path / "unbroken-loop.npz", tmp_path / "unbroken.npz")
    unbroken.communicate()
    assert unbroken.returncode == 0

    chance, loop, result = random.Random(0), tmp_path / "loop.npz", tmp_path / "broken.npz"
    reached, whole_when_killed = [], 0
    while len(reached) < KILLS:
        process = start(loop, result)
        assert process.stdout is not None
        first = process.stdout.readline()
        # Most of the time goes into writing, so most kills hit a write.
        time.sleep(chance.uniform(0.0, 0.25))
        process.kill()
        process.communicate()
        assert not result.is_file(), "training ended before it was killed often enough"
        reached.append(int(first))
        whole_when_killed += loop.is_file()
    assert reached == sorted(reached)
    assert reached[-1] > reached[0]
    assert whole_when_killed >= KILLS - 1
    last = start(loop, result)
    last.communicate()
    assert last.returncode == 0
    assert members(result) == members(tmp_path / "unbroken.npz")
