"""The source of the package as syntax trees, for the tests of its architecture."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "homeostat"

MODULES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}


def dotted(path: Path) -> str:
    """The dotted name of a module inside the package, "" for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


KNOWN = {dotted(path) for path in MODULES}


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Modules of the package that a file imports, wherever the import stands, with the line."""
    package = dotted(path).split(".") if path.name == "__init__.py" else dotted(path).split(".")[:-1]
    package = [part for part in package if part]
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "homeostat":
                    yield alias.name.removeprefix("homeostat").lstrip("."), node.lineno
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = package[: len(package) - node.level + 1]
            elif (node.module or "").split(".")[0] == "homeostat":
                base = []
            else:
                continue
            module = (node.module or "").removeprefix("homeostat").lstrip(".") if not node.level else node.module or ""
            base = [*base, *(part for part in module.split(".") if part)]
            for alias in node.names:
                full = ".".join([*base, alias.name])
                yield full if full in KNOWN else ".".join(base), node.lineno


def report(violations: list[str]) -> None:
    assert not violations, "\n" + "\n".join(violations)


def functions(path: Path) -> Iterator[tuple[ast.ClassDef | None, ast.FunctionDef]]:
    """Functions and methods with the class that holds them; functions inside functions are left out."""
    for node in TREES[path].body:
        if isinstance(node, ast.FunctionDef):
            yield None, node
        elif isinstance(node, ast.ClassDef):
            yield from ((node, inner) for inner in node.body if isinstance(inner, ast.FunctionDef))


def classes(path: Path) -> Iterator[ast.ClassDef]:
    yield from (node for node in TREES[path].body if isinstance(node, ast.ClassDef))


def base_names(node: ast.ClassDef) -> set[str]:
    """Last names of the bases, without their type arguments."""
    bases = [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]
    return {base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "") for base in bases}


def decorators(node: ast.ClassDef | ast.FunctionDef) -> set[str]:
    calls = [item.func if isinstance(item, ast.Call) else item for item in node.decorator_list]
    return {item.attr if isinstance(item, ast.Attribute) else getattr(item, "id", "") for item in calls}
