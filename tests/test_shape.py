"""The shape of the package, checked on the source: who runs engines, how long experiments are, what is public.

Each list names what is still to be mended; a test fails on what is not in its list, and on what is there without need.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from source import MODULES, PACKAGE, ROOT, TREES, classes, dotted, report

MAX_EXPERIMENT_LINES = 220


def report_beyond(known: set[str], found: dict[str, str]) -> None:
    """No violation beyond the known ones, and none known that is gone."""
    new = [f"{name}: {sentence}" for name, sentence in sorted(found.items()) if name not in known]
    gone = [
        f"{name}: no longer a violation, remove it from the list in {__file__}" for name in sorted(known - {*found})
    ]
    report(new + gone)


def inside(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


ENGINES_BY_HAND: set[str] = set()
"""Files that still run an engine by its steps."""


def test_engines_are_run_by_the_verbs():
    users = [path for path in MODULES if re.search(r"engine\.step\(", path.read_text(encoding="utf-8"))]
    found = {inside(path): "run the engine by `infer` or `unroll`" for path in users}
    report_beyond(ENGINES_BY_HAND, {k: v for k, v in found.items() if k.split("/")[0] not in ("inference", "testing")})


LONG_EXPERIMENTS: set[str] = set()
"""Experiments that still have more lines than an experiment may."""


def test_experiments_are_short():
    lengths = {
        inside(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in MODULES
        if inside(path).startswith("experiments/")
    }
    found = {
        name: f"{count} lines, more than {MAX_EXPERIMENT_LINES}"
        for name, count in lengths.items()
        if count > MAX_EXPERIMENT_LINES
    }
    report_beyond(LONG_EXPERIMENTS, found)


def exports() -> Iterator[tuple[str, Path]]:
    """Names that packages re-export from their modules, each with the module that defines it."""
    for path in MODULES:
        if path.name != "__init__.py":
            continue
        for node in TREES[path].body:
            if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
                home = path.parent / f"{node.module.replace('.', '/')}.py"
                yield from ((alias.name, home) for alias in node.names if home in TREES)


SHARED_NAMES: set[str] = set()
"""Names that two public classes still share."""


def test_public_classes_have_a_name_each():
    homes: dict[str, set[str]] = {}
    for name, home in exports():
        if any(node.name == name for node in classes(home)):
            homes.setdefault(name, set()).add(inside(home))
    found = {name: f"public in {', '.join(sorted(where))}" for name, where in homes.items() if len(where) > 1}
    report_beyond(SHARED_NAMES, found)


UNUSED_NAMES = {"AuxiliaryScore", "BeliefAgentState", "BernoulliEmissions", "BootstrapProposal", "Bouncing", "CategoricalEmissions", "Codes", "ConditionalFlowParams", "Descent", "ENV_ID", "FlowParams", "GatedTransition", "GroupNorm", "MostLikely", "MovingDigits", "NoLookahead", "PoissonEmissions", "RecurrentState", "ScaledSequences", "SequenceScores", "StateParts", "Taper", "UniformDequantization", "Upsampling", "even_batch", "gaussian_divergence", "log_multinomial_coefficient", "register", "render_blocks", "scale_tril_of", "split_regime"}  # fmt: skip
"""Public names that nothing uses, and which stay so that people can name what they hold or are given."""


def test_public_names_are_used():
    pages = [path for folder in ("docs", "docs_src", "benchmarks") for path in (ROOT / folder).rglob("*.*")]
    pages = [path for path in [ROOT / "README.md", *pages] if path.suffix in (".md", ".py")]
    modules = [path for path in MODULES if path.name != "__init__.py"]
    words = {path: {*re.findall(r"\w+", path.read_text(encoding="utf-8"))} for path in [*modules, *pages]}
    found = {
        name: f"public in {inside(home)}, but used by no other module and no page: un-export it"
        for name, home in exports()
        # Protocols and law suites are there for members that others write.
        if not name.startswith("Abstract") and dotted(home).split(".")[0] != "testing"
        if not any(name in words[path] for path in words if path != home)
    }
    report_beyond(UNUSED_NAMES, found)
