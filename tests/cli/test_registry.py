"""Finding and loading experiments, and what is refused."""

import sys
from pathlib import Path

import pytest

from homeostat.experiments import Registry
from homeostat.runs import AtLeast, AtMost, Between, ProtocolError, relation

GOOD = '''"""Summary."""
from dataclasses import dataclass
from homeostat.runs import AtLeast, Claim, Minutes
SOURCE = "a " "source"
MINUTES = Minutes(1, small=2, paper=3)
CLAIMS = (Claim("a/b", SOURCE, "metric", "unit", AtLeast(1)),)
@dataclass(frozen=True)
class Config:
    size: int = 1
    """Size (count)."""
    @classmethod
    def for_scale(cls, scale):
        return cls()
def run(config, context, *, key):
    context.measure("a/b", 1)
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest):
    """A function that writes one experiment into a new package and gives the package's registry."""
    name = "package_" + "".join(c if c.isalnum() else "_" for c in request.node.name)
    group = tmp_path / name / "group"
    group.mkdir(parents=True)
    (tmp_path / name / "__init__.py").write_text("")
    (group / "__init__.py").write_text('"""Group."""\n')
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(text: str) -> Registry:
        (group / "one.py").write_text(text)
        return Registry(name)

    yield write
    for module in [module for module in sys.modules if module.startswith(name)]:
        del sys.modules[module]


def test_a_module_is_found_by_its_text(package):
    (summary,) = package(GOOD).experiments()
    assert (summary.id, summary.source, summary.minutes, summary.claims) == ("group/one", "a source", (1, 2, 3), 1)


def test_the_text_says_what_the_module_says(package):
    registry = package(GOOD)
    (summary,) = registry.find("group/one")
    loaded = registry.load(summary)
    assert (loaded.source, loaded.minutes) == (summary.source, summary.minutes)
    assert len({claim.id for claim in loaded.claims}) == summary.claims
    assert loaded.asserted("smoke") == ()
    assert loaded.asserted("paper") == loaded.claims


def test_other_modules_are_not_experiments(package):
    assert package("VALUE = 1\n").experiments() == ()


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('SOURCE = "a " "source"', "SOURCE = str(1)", "string literal"),
        ("MINUTES = Minutes(1, small=2, paper=3)", "MINUTES = (1, 2, 3)", "Minutes"),
        ("frozen=True", "frozen=False", "frozen dataclass"),
        ("size: int", "seed: int", "other field names"),
        ("return cls()", "return None", "to return a Config"),
        ("def run(", "def walk(", "to define run"),
        ("AtLeast(1)),)", 'AtLeast(1), scales=("large",)),)', "scales of claim"),
        ("AtLeast(1)),)", 'AtLeast(1)), Claim("a/b", SOURCE, "m", "u", AtLeast(2)))', "got two"),
    ],
)
def test_modules_that_break_the_protocol(package, before, after, said):
    assert before in GOOD
    registry = package(GOOD.replace(before, after))
    with pytest.raises(ProtocolError, match=said):
        registry.load(registry.experiments()[0])


def test_every_experiment_of_the_package_keeps_the_protocol():
    registry = Registry()
    for summary in registry.experiments():
        loaded = registry.load(summary)
        assert loaded.claims
        assert summary.summary
        assert summary.source
        assert all(minutes > 0 for minutes in summary.minutes)


@pytest.mark.parametrize(
    ("expected", "inside", "outside"),
    [(AtLeast(0.95), 0.95, 0.9499), (AtMost(0.1), 0.1, 0.1001), (Between(-1, 1), -1.0, 1.0001)],
)
def test_relations(expected, inside, outside):
    assert expected.check(inside)
    assert not expected.check(outside)
    assert not any(expected.check(value) for value in (float("nan"), float("inf"), float("-inf")))
    assert relation(str(expected)) == expected


@pytest.mark.parametrize("text", ["", "0.95", "> 0.95", ">= much", "in [1]", "in 1, b"])
def test_other_texts_are_no_relations(text):
    with pytest.raises(ValueError, match="Expected a relation"):
        relation(text)
