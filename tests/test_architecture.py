"""The architecture, checked on the source: direction of imports, sizes, docstrings, names, and what must not be there."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from source import MODULES, PACKAGE, ROOT, TREES, base_names, classes, decorators, dotted, functions, imports, report

BOTTOM = ("typing", "results", "_version", "_scan", "_canonical")
CHAIN = (
    ("core",),
    ("nn",),
    ("distributions",),
    ("flows",),
    ("models",),
    ("environments",),
    ("objectives",),
    ("inference",),
    ("control",),
    ("agents",),
    ("workflow",),
    ("adapters", "runs"),
    ("experiments",),
    ("cli",),
    ("__main__",),
)
"""Every layer may import the layers before it; members of one layer do not see each other."""

RAILS = {
    "train": {"core"},
    "data": set(),
    "viz": set(),
    "testing": {"core"},
    "metrics": {"core", "nn", "distributions", "flows", "models", "environments", "objectives", "inference"},
}
"""What the packages beside the chain may see, besides the bottom."""

RAIL_USERS = {
    "train": {"agents", "workflow", "adapters", "runs", "experiments", "cli"},
    "data": {"environments", "workflow", "adapters", "runs", "experiments", "cli"},
    "viz": {"workflow", "runs", "experiments", "cli"},
    "metrics": {"agents", "workflow", "adapters", "runs", "experiments", "cli"},
    "testing": set(),
}
"""Which members of the chain may import a package beside it."""

LIBRARY_PROTOCOLS = {"Distribution", "Transform", "Constraint", "Env", "VectorEnv", "FuncEnv", "FunctionalVectorEnv"}
"""Base classes of libraries whose methods are documented there."""

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 80


def allowed(package: str) -> set[str]:
    """Top-level packages that `package` may import."""
    if package in BOTTOM:
        return {*BOTTOM}
    if package in RAILS:
        return {*BOTTOM, *RAILS[package]}
    seen = {*BOTTOM, *(rail for rail, users in RAIL_USERS.items() if package in users)}
    for layer in CHAIN:
        if package in layer:
            return seen
        seen |= {*layer}
    raise AssertionError(f"{package}: expected a package of the architecture; give it a place in {__file__}.")


def test_imports_go_one_way():
    violations = []
    for path in MODULES:
        package = dotted(path).split(".")[0]
        if not package:  # The top level re-exports from everywhere, on first use.
            continue
        for target, line in imports(path):
            top = target.split(".")[0]
            if top and top != package and top not in allowed(package):
                violations.append(f"{path.relative_to(ROOT)}:{line}: {package} must not import {top}")
    report(violations)


def test_only_packages_are_imported_across_packages():
    violations = []
    for path in MODULES:
        package = dotted(path).split(".")[0]
        for target, line in imports(path):
            top, *inner = target.split(".")
            if (
                package == "cli"
            ):  # It answers before JAX is loaded, so it may pick a light module out of a heavy package.
                continue
            if (
                package
                and top not in (package, "_version", "_scan", "_canonical")
                and any(part.startswith("_") for part in inner)
            ):
                violations.append(f"{path.relative_to(ROOT)}:{line}: import {target} from its package instead")
    report(violations)


def test_imports_have_no_cycle():
    graph = {dotted(path): {target for target, _ in imports(path)} - {dotted(path)} for path in MODULES}
    finished: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, "import cycle: " + " -> ".join([*trail[trail.index(module) :], module])
        if module not in finished:
            for target in sorted(graph.get(module, ())):
                visit(target, (*trail, module))
            finished.add(module)

    for module in sorted(graph):
        visit(module, ())


def test_third_party_imports_are_declared_dependencies():
    with open(ROOT / "pyproject.toml", "rb") as file:
        declared = tomllib.load(file)["project"]["dependencies"]
    names = {re.split(r"[<>=!\[; ]", requirement)[0].lower() for requirement in declared}
    # Import names that differ from the name of the distribution that brings them.
    roots = {name.replace("-", "_") for name in names} | {"cuthbertlib", "jaxlib", "PIL"}
    violations = []
    for path in MODULES:
        if "adapters" in path.parts:
            continue
        for node in ast.walk(TREES[path]):
            found = []
            if isinstance(node, ast.Import):
                found = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found = [node.module or ""]
            for name in found:
                root = name.split(".")[0]
                if root not in roots and root not in sys.stdlib_module_names and root != "homeostat":
                    violations.append(f"{path.relative_to(ROOT)}:{node.lineno}: {root} belongs in an adapters folder")
    report(violations)


def test_data_and_plots_keep_to_their_libraries():
    violations = []
    for path in MODULES:
        package = dotted(path).split(".")[0]
        text = path.read_text(encoding="utf-8")
        if package == "data" and re.search(r"^\s*(import|from) jax\b", text, re.MULTILINE):
            violations.append(f"{path.relative_to(ROOT)}: data is NumPy only")
        if package not in ("viz", "cli") and re.search(r"^\s*(import|from) matplotlib\b", text, re.MULTILINE):
            violations.append(f"{path.relative_to(ROOT)}: matplotlib belongs in viz")
    report(violations)


def test_files_and_functions_are_small():
    violations = []
    sources = [*MODULES, *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "benchmarks").rglob("*.py"))]
    for path in sources:
        count = len(path.read_text(encoding="utf-8").splitlines())
        if count > MAX_FILE_LINES:
            violations.append(f"{path.relative_to(ROOT)}: {count} lines, more than {MAX_FILE_LINES}")
    for path in MODULES:
        for node in ast.walk(TREES[path]):
            if isinstance(node, ast.FunctionDef):
                count = (node.end_lineno or node.lineno) - node.lineno + 1
                if count > MAX_FUNCTION_LINES:
                    violations.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} has {count} lines")
    report(violations)


def test_public_names_are_documented():
    promised = {
        method.name
        for path in MODULES
        for owner, method in functions(path)
        if owner is not None and "Abstract" in owner.name and ast.get_docstring(method)
    }
    # Fields that a member may fulfil by a property stand under "Attributes" of the abstract class.
    promised |= {
        field.target.id
        for path in MODULES
        for node in classes(path)
        for field in node.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and "AbstractVar" in ast.dump(field)
    }
    violations = []
    for path in MODULES:
        where = path.relative_to(ROOT)
        if not ast.get_docstring(TREES[path]) and path.name not in ("_version.py",):
            violations.append(f"{where}: the module has no docstring")
        for node in classes(path):
            if not node.name.startswith("_") and not ast.get_docstring(node):
                violations.append(f"{where}:{node.lineno}: {node.name} has no docstring")
        for owner, method in functions(path):
            hidden = method.name.startswith("_") or (owner is not None and owner.name.startswith("_"))
            # A method that fulfils a documented protocol, ours or a library's, inherits its documentation.
            inherits = owner is not None and (method.name in promised or base_names(owner) & LIBRARY_PROTOCOLS)
            if not hidden and not inherits and not ast.get_docstring(method):
                name = f"{owner.name}.{method.name}" if owner else method.name
                violations.append(f"{where}:{method.lineno}: {name} has no docstring")
    report(violations)


def test_modules_are_private():
    violations = []
    for path in MODULES:
        inside = path.relative_to(PACKAGE)
        public = inside.name in ("__init__.py", "__main__.py") or str(inside) in ("typing.py", "results.py")
        experiment = inside.parts[0] == "experiments" and len(inside.parts) == 3
        if not public and not experiment and not inside.name.startswith("_"):
            violations.append(f"{path.relative_to(ROOT)}: name it _{inside.name} and re-export from __init__.py")
    report(violations)


def test_packages_re_export_by_name():
    violations = []
    for path in MODULES:
        if path.name != "__init__.py":
            continue
        used = {node.id for node in ast.walk(TREES[path]) if isinstance(node, ast.Name)}
        for node in TREES[path].body:
            if isinstance(node, ast.ImportFrom) and node.level and not (node.module or "").startswith("__"):
                for alias in node.names:
                    if (
                        alias.asname != alias.name
                        and not (alias.asname or "").startswith("_")
                        and alias.name not in used
                    ):
                        violations.append(f"{path.relative_to(ROOT)}:{node.lineno}: write {alias.name} as {alias.name}")
    report(violations)


def test_annotations_are_not_postponed():
    violations = [
        f"{path.relative_to(ROOT)}:{node.lineno}: run-time shape checks need evaluated annotations"
        for path in MODULES
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.ImportFrom) and node.module == "__future__"
    ]
    report(violations)


def test_classes_are_abstract_or_final():
    exempt = {"NamedTuple", "Enumeration", "Enum", "StrEnum", "Protocol", "TypedDict"}
    violations = []
    for path in MODULES:
        for node in classes(path):
            bases = base_names(node) - {"Generic", ""}
            record = not bases or bases & exempt or any(base.endswith(("Error", "Exception")) for base in bases)
            if not record and "Abstract" not in node.name and "final" not in decorators(node):
                violations.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} is neither abstract nor final")
            concrete = [base.id for base in node.bases if isinstance(base, ast.Name) and base.id in FINAL]
            if concrete:
                violations.append(
                    f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} extends the final {concrete[0]}"
                )
    report(violations)


FINAL = {node.name for path in MODULES for node in classes(path) if "final" in decorators(node)}


def test_keys_are_keyword_only_and_never_have_a_default():
    exported = {
        (path.parent, alias.name)
        for path in MODULES
        if path.name == "__init__.py"
        for node in TREES[path].body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    violations = []
    for path in MODULES:
        for owner, function in functions(path):
            if (path.parent, (owner or function).name) not in exported:
                continue
            # Initialisers of weights follow JAX, key first; distributions follow numpyro, whose `sample` does too.
            if [argument.arg for argument in function.args.args][:2] == ["key", "shape"]:
                continue
            if function.name.startswith("_") or (owner and any("Distribution" in base for base in base_names(owner))):
                continue
            spec = function.args
            if any(argument.arg == "key" for argument in [*spec.posonlyargs, *spec.args]):
                violations.append(f"{path.relative_to(ROOT)}:{function.lineno}: {function.name}: key is keyword-only")
            for argument, default in zip(spec.kwonlyargs, spec.kw_defaults, strict=True):
                # None says that nothing is drawn; any other default would be a hidden seed.
                if argument.arg == "key" and default is not None and ast.unparse(default) != "None":
                    violations.append(f"{path.relative_to(ROOT)}:{function.lineno}: {function.name}: key has a default")
    report(violations)


def tracked_files() -> list[Path]:
    """Files that belong to the repository; without git (an unpacked archive), every file outside hidden folders."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        return [path for line in listed.stdout.splitlines() if (path := ROOT / line).is_file()]
    return [path for path in ROOT.rglob("*") if path.is_file() and not any(p.startswith(".") for p in path.parts[1:])]


# Assembled from pieces, so that this file does not contain what it looks for.
FOREIGN = [
    r"(?<![\w.])/" + r"(work|tmp|root|home|Users)/",
    "pypi" + r"\.(org|io)",
    "python" + "hosted",
    "index" + "-url",
    "conda" + r"\.anaconda",
    r"registry\." + "npmjs",
]


@pytest.mark.parametrize("pattern", FOREIGN)
def test_no_machine_path_and_no_registry(pattern):
    violations = []
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if re.search(pattern, line):
                violations.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    report(violations)
