"""The README's example runs as it stands, and says what it promises."""

import re
from pathlib import Path

import jax
import pytest

README = Path(__file__).resolve().parent.parent / "README.md"


def python_blocks():
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_the_script_for_own_data_is_the_one_that_the_documentation_runs():
    _, script = python_blocks()
    example = README.parent / "docs_src" / "own_data" / "script.py"
    assert script in example.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_script_for_own_data_runs_as_it_is_printed(tmp_path, monkeypatch):
    _, script = python_blocks()
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    with jax.enable_x64(False), jax.numpy_rank_promotion("allow"):
        exec(compile(script, str(README), "exec"), names)
    assert names["means"].shape == (300, 2) and names["numbers"]["log_likelihood_nats"] < 0.0


def test_the_example_finds_the_sprite():
    code, _ = python_blocks()
    names: dict = {}
    with jax.enable_x64(False), jax.numpy_rank_promotion("allow"):
        exec(compile(code, str(README), "exec"), names)
        found = names["model"].coordinates(names["posterior"].params.loc)
        world, state = names["world"], names["state"]
        truth = world.grid.centre(state.latents)
    assert abs(float(found.x) - float(truth[0])) < 1.0
    assert abs(float(found.y) - float(truth[1])) < 1.0


def test_quick_start_has_exactly_the_two_commands():
    text = README.read_text(encoding="utf-8")
    (block,) = re.findall(r"## Quick start\n\n```sh\n(.*?)```", text, re.DOTALL)
    assert block.split("\n")[:2] == ["make demo", "make test"]
