"""The shape of the package, checked on the source: who runs engines, how long experiments are, what is public, how much there is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from source import MODULES, PACKAGE, ROOT, TREES, classes, dotted, report

MAX_EXPERIMENT_LINES = 220
MAX_LINES = 64_000


def inside(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_the_package_does_not_grow_unseen():
    assert sum(map(lines, MODULES)) <= MAX_LINES, "delete something, or raise the limit and say why in the commit"


def test_engines_are_run_by_the_verbs():
    report(
        [
            f"{inside(path)}: run the engine by `infer` or `unroll`"
            for path in MODULES
            if inside(path).split("/")[0] not in ("inference", "testing")
            and re.search(r"engine\.step\(", path.read_text(encoding="utf-8"))
        ]
    )


def test_experiments_are_short():
    report(
        [
            f"{inside(path)}: {lines(path)} lines, more than {MAX_EXPERIMENT_LINES}"
            for path in MODULES
            if inside(path).startswith("experiments/") and lines(path) > MAX_EXPERIMENT_LINES
        ]
    )


def exports() -> Iterator[tuple[str, Path]]:
    """Names that packages re-export from their modules, each with the module that defines it."""
    for path in MODULES:
        if path.name != "__init__.py":
            continue
        for node in TREES[path].body:
            if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
                home = path.parent / f"{node.module.replace('.', '/')}.py"
                yield from ((alias.name, home) for alias in node.names if home in TREES)


def test_public_classes_have_a_name_each():
    homes: dict[str, set[str]] = {}
    for name, home in exports():
        if any(node.name == name for node in classes(home)):
            homes.setdefault(name, set()).add(inside(home))
    report([f"{name}: public in {', '.join(sorted(where))}" for name, where in homes.items() if len(where) > 1])


def test_public_names_are_used():
    pages = [path for folder in ("docs", "docs_src", "benchmarks") for path in (ROOT / folder).rglob("*.*")]
    pages = [path for path in [ROOT / "README.md", *pages] if path.suffix in (".md", ".py")]
    modules = [path for path in MODULES if path.name != "__init__.py"]
    words = {path: {*re.findall(r"\w+", path.read_text(encoding="utf-8"))} for path in [*modules, *pages]}
    report(
        [
            f"{name}: public in {inside(home)}, but used by no other module and no page: un-export it"
            for name, home in exports()
            # Protocols and law suites are there for members that others write.
            if not name.startswith("Abstract") and dotted(home).split(".")[0] != "testing"
            if not any(name in words[path] for path in words if path != home)
        ]
    )
