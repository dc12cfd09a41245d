"""`homeostat train` and what can be asked of its runs."""

import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest

from homeostat.cli import main
from homeostat.workflow import ControlOptions

SMALL = ["--width", "16", "--batch-size", "32", "--warmup", "100", "--steps", "700", "--episodes", "4", "--worlds", "2"]


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    status = main(list(arguments))
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name of an environment, got none"),
        (["--env", "Pendullum-v1"], "Near it: .*Pendulum-v1"),
        (["--env", "pendulum", "--steps", "0"], "more steps than the warm-up of 1,000, got 0"),
        (["--env", "pendulum", "--seeds", "0"], "--seeds of at least 1, got 0"),
        (["--env", "pendulum", "--episodes", "0"], "--episodes of at least 1, got 0"),
        (["--env", "pendulum", "--polcy", "direct"], "Did you mean --policy"),
        (["--env", "pendulum", "--updates-per-step", "0.3"], "whole number of updates"),
        (["--env", "pendulum", "--replay", "1000000000000", "--steps", "1000000000000"], "lower --replay"),
        (["--env", "pendulum", "--temperature", "0"], "temperature above zero"),
    ],
)
def test_mistakes_are_sentences_and_leave_no_folder(arguments, message, capsys, tmp_path):
    folder = tmp_path / "run"
    status, _, said = run(capsys, "train", *arguments, "--out", str(folder))
    assert status == 2
    assert re.search(message, " ".join(said.split())), said
    assert not folder.exists()


def test_help_tells_the_defaults_of_the_environment(capsys):
    status, out, _ = run(capsys, "train", "--env", "pendulum", "--help")
    assert status == 0
    assert "10000" in out
    assert ControlOptions().steps == 100_000


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["direct", "iterative"])
def test_an_agent_is_trained_evaluated_and_read_back(policy, capsys, tmp_path):
    """The aim probe is learned in seconds, and the folder gives the agent back."""
    folder = tmp_path / "run"
    options = [*SMALL, "--steps", "1500", "--learning-rate", "0.005", "--temperature", "0.01", "--policy", policy]
    status, out, said = run(
        capsys, "train", "--env", "aim-probe", *options, "--seeds", "2", "--out", str(folder), "--json"
    )
    assert status == 0, said
    result = json.loads(out)
    assert result["summary"]["mean_return"] > -0.05
    assert {"figures/learning.png", "report.html"} <= set(result["artifacts"])
    assert "mean return" in (folder / "report.html").read_text()
    status, out, said = run(capsys, "evaluate", str(folder), "--episodes", "6", "--json")
    assert status == 0, said
    again = json.loads(out)
    assert again["mean_return"] > -0.05
    assert [len(returns) for returns in again["returns"]] == [6, 6]
    from homeostat.workflow import load_agent

    agent = load_agent(folder)
    for seen in (-1.0, 1.0):
        np.testing.assert_allclose(agent.predict(np.array([seen], np.float32)), [0.5 * seen], atol=0.2)
    status, out, said = run(capsys, "resume", str(folder))
    assert status == 0
    assert "mean return" in out


@pytest.mark.slow
def test_a_stopped_training_ends_in_the_same_bits(tmp_path, capsys):
    """Interrupted after its first checkpoint and resumed: replay, worlds, targets and optimisers are where they were."""

    options = ["--env", "aim-probe", *SMALL, "--steps", "2100", "--checkpoint-seconds", "0"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    command = [sys.executable, "-m", "homeostat", "train", *options, "--out"]
    assert subprocess.run([*command, str(whole)], capture_output=True).returncode == 0
    process = subprocess.Popen([*command, str(stopped)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoint = stopped / "checkpoints" / "seed-0.loop.npz"
    for _ in range(600):
        if checkpoint.exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    process.kill()
    process.wait()
    assert not (stopped / "result.json").exists()
    assert (
        subprocess.run([sys.executable, "-m", "homeostat", "resume", str(stopped)], capture_output=True).returncode == 0
    )
    returns = [json.loads((folder / "result.json").read_text())["summary"]["returns"] for folder in (whole, stopped)]
    assert returns[0] == returns[1]
    with np.load(whole / "agent.npz") as ours, np.load(stopped / "agent.npz") as theirs:
        for name in ours.files:
            if name.endswith(".npy"):
                continue
            np.testing.assert_array_equal(ours[name], theirs[name])
