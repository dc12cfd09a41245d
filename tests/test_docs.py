"""Every example of the documentation runs, as it stands, in the precision that a user has."""

import re
import runpy
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "docs_src").rglob("*.py"))
PAGES = sorted((ROOT / "docs").rglob("*.md"))
LONG = {
    "architecture/engine.py", "architecture/model.py", "learned_control/learn_a_policy.py", "inference/check_your_own.py", "latent_gaussian/two_levels.py", "own_data/script.py", "perception/modes.py",
    "predictive_coding/feedforward.py", "predictive_coding/learn.py", "sequential_models/melodies.py", "smoothers/counts.py",
    "smoothers/recognition.py", "templates/calibrate.py", "templates/learn_a_template.py", "templates/several_objects.py",
}  # fmt: skip
"""Examples that train, sample or compile for long."""


def _example(path):
    name = path.relative_to(ROOT / "docs_src").as_posix()
    return pytest.param(path, id=name, marks=[pytest.mark.slow] if name in LONG else [])


@pytest.mark.parametrize("path", [_example(path) for path in EXAMPLES])
# What warns in an example is seen by the reader, but no fault of the library's.
@pytest.mark.filterwarnings("default")
def test_example_runs(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with jax.enable_x64(False), jax.numpy_rank_promotion("allow"):
        runpy.run_path(str(path), run_name="__main__")


def test_every_example_asserts_something():
    silent = [
        str(path.relative_to(ROOT)) for path in EXAMPLES if "assert" not in path.read_text(encoding="utf-8").lower()
    ]
    assert not silent, f"examples without an assertion: {silent}"


def test_every_example_is_shown_in_a_page():
    shown = {
        name for page in PAGES for name in re.findall(r"<!-- example: ([\w/]+\.py)", page.read_text(encoding="utf-8"))
    }
    hidden = {str(path.relative_to(ROOT / "docs_src")) for path in EXAMPLES} - shown
    assert not hidden, f"examples that no page includes: {sorted(hidden)}"


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    missing = [str(page.relative_to(ROOT / "docs")) for page in PAGES]
    missing = [name for name in missing if name not in navigation]
    assert not missing, f"pages that the navigation lacks: {missing}"


def test_examples_and_tables_in_the_pages_are_those_of_the_files():
    filled = runpy.run_path(str(ROOT / ".ci" / "fill_pages.py"))["filled"]
    stale = [page.name for page in PAGES if filled(page) != page.read_text(encoding="utf-8")]
    assert not stale, f"pages that are out of date: {stale}; run `make pages`"
    assert "homeostat run" in (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
