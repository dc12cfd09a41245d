"""Hooks of the documentation build.

`::: homeostat.package` in a page becomes one entry for every name that the package exports: packages re-export from private
modules, which the reference generator would take for imports and leave out. TeX becomes MathML, which browsers show without
a script, so the pages need no network.
"""

import ast
import html as entities
import re
from pathlib import Path

from latex2mathml.converter import convert

SOURCE = Path(__file__).resolve().parent.parent / "src"


def on_page_markdown(markdown: str, **_: object) -> str:
    """Called by MkDocs with the text of every page."""
    return re.sub(r"^::: (homeostat[\w.]*)$", _entries, markdown, flags=re.MULTILINE)


def on_page_content(html: str, **_: object) -> str:
    """Called by MkDocs with the body of every page."""
    html = re.sub(
        r'<span class="arithmatex">\\\((.*?)\\\)</span>', lambda m: _math(m[1], "inline"), html, flags=re.DOTALL
    )
    return re.sub(r'<div class="arithmatex">\\\[(.*?)\\\]</div>', lambda m: _math(m[1], "block"), html, flags=re.DOTALL)


def _math(tex: str, display: str) -> str:
    return convert(entities.unescape(tex).strip(), display=display)


def _entries(match: re.Match[str]) -> str:
    package = match.group(1)
    init = SOURCE.joinpath(*package.split("."), "__init__.py")
    if not init.exists():
        return match.group(0)
    tree = ast.parse(init.read_text(encoding="utf-8"))
    names = sorted(
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
        if not (alias.asname or alias.name).startswith("_")
    )
    summary = (ast.get_docstring(tree) or "").split("\n\n")[0]
    entries = [f"::: {package}.{name}\n" for name in names]
    return "\n".join([f"## `{package}`\n", summary + "\n", *entries])
