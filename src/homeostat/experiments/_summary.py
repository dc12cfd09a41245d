"""What can be said about an experiment from its file's text, without running it."""

import ast
from pathlib import Path
from typing import Any, NamedTuple

from ..runs import Minutes, ProtocolError

REQUIRED = ("SOURCE", "MINUTES", "CLAIMS")
"""Names that make a module an experiment."""


class Summary(NamedTuple):
    """What can be said about an experiment without running its module.

    Attributes:
        id: `<group>/<name>`.
        summary: the first line of the docstring.
        claims: how many claims the module writes down, or None if they are not a plain tuple.
        module: the module's import name.
    """

    id: str
    summary: str
    source: str
    minutes: Minutes
    claims: int | None
    module: str

    @property
    def group(self) -> str:
        """The id without its last part."""
        return self.id.partition("/")[0]


def summarize(file: Path, id: str, module: str) -> Summary | None:
    """Read an experiment's file; None if it is none.

    Raises:
        ProtocolError: `SOURCE` or `MINUTES` is no literal.
    """
    tree = ast.parse(file.read_text(), filename=str(file))
    assigned = _assigned(tree)
    if not all(name in assigned for name in REQUIRED):
        return None
    source, minutes = literal(tree, "SOURCE"), _minutes(assigned["MINUTES"])
    if not isinstance(source, str) or minutes is None:
        raise ProtocolError(
            "Expected SOURCE to be a string literal and MINUTES to be Minutes(smoke=..., small=..., paper=...) with "
            f"literal numbers in {file}, got something else. They are read without running the file."
        )
    claims = assigned["CLAIMS"]
    # One id may stand several times, with another relation for another scale.
    ids = {_claim_id(item) for item in claims.elts} if isinstance(claims, ast.Tuple) else {None}
    return Summary(id, first_line(tree), source, minutes, None if None in ids else len(ids), module)


def _claim_id(node: ast.expr) -> str | None:
    if not isinstance(node, ast.Call):
        return None
    candidates = [*node.args[:1], *(k.value for k in node.keywords if k.arg == "id")]
    first = candidates[0] if candidates else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def _assigned(tree: ast.Module) -> dict[str, ast.expr]:
    """What a module assigns to its names."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id: node.value for target in targets if isinstance(target, ast.Name)}
    return found


def literal(tree: ast.Module, name: str) -> Any:
    """The value of a name that is assigned a literal, or None."""
    node = _assigned(tree).get(name)
    try:
        return None if node is None else ast.literal_eval(node)
    except ValueError:
        return None


def _minutes(node: ast.expr) -> Minutes | None:
    if not isinstance(node, ast.Call):
        return None
    try:
        return Minutes(
            *(float(ast.literal_eval(argument)) for argument in node.args),
            **{str(k.arg): float(ast.literal_eval(k.value)) for k in node.keywords},
        )
    except (TypeError, ValueError):
        return None


def first_line(tree: ast.Module) -> str:
    """First line of a module's docstring."""
    return (ast.get_docstring(tree) or "").partition("\n")[0]
