"""Draws docs/images/architecture.svg from the imports of the package; run with `--write` after a change of the layers."""

import ast
import sys
from pathlib import Path

import homeostat

PACKAGE = Path(homeostat.__file__).parent
PICTURE = Path(__file__).resolve().parents[2] / "docs" / "images" / "architecture.svg"
GROUND = {"typing", "results", "_version", "__main__", "__init__", "_scan"}


def imported(file):
    """Top-level parts of the package that a module imports, wherever the import stands."""
    inside = file.relative_to(PACKAGE).parts
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = inside[: len(inside) - node.level]
            path = [*base, *(node.module or "").split(".")] if node.module else [*base]
            yield from [path[0]] if path else [alias.name for alias in node.names]


parts = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()} - GROUND
uses = {part: set() for part in parts}
for part in parts:
    for file in (PACKAGE / part).rglob("*.py"):
        uses[part] |= {name for name in imported(file) if name in parts and name != part}


def level(part):
    """Length of the longest way down."""
    return 1 + max((level(below) for below in uses[part]), default=-1)


def reaches(part):
    """Everything below, directly or not."""
    return uses[part].union(*(reaches(below) for below in uses[part]))


rows = {}
for part in sorted(parts):
    rows.setdefault(level(part), []).append(part)
top, width, height = max(rows), 108, 46
place = {
    part: (20 + 540 * (column + 1) / (len(row) + 1), 30 + (top - depth) * height)
    for depth, row in rows.items()
    for column, part in enumerate(row)
}
# An arrow that follows from others is left out.
arrows = [
    (upper, lower)
    for upper in sorted(parts)
    for lower in sorted(uses[upper])
    if not any(lower in reaches(other) for other in uses[upper] - {lower})
]
lines = [
    f'<line x1="{place[a][0]:.0f}" y1="{place[a][1] + 12:.0f}" x2="{place[b][0]:.0f}" y2="{place[b][1] - 13:.0f}"/>'
    for a, b in arrows
]
boxes = [
    f'<g><rect x="{x - width / 2:.0f}" y="{y - 12:.0f}" width="{width}" height="24" rx="5"/>'
    f'<text x="{x:.0f}" y="{y + 4:.0f}">{part}</text></g>'
    for part, (x, y) in sorted(place.items())
]
svg = f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 580 {60 + top * height}" font-family="sans-serif" font-size="12">
<rect width="580" height="{60 + top * height}" fill="#ffffff"/>
<g stroke="#8a9a9a">{"".join(lines)}</g>
<g fill="#e0f2f1" stroke="#00796b">{"".join(boxes).replace("<text", '<text fill="#102027" stroke="none" text-anchor="middle"')}</g>
</svg>
"""
if "--write" in sys.argv:
    PICTURE.write_text(svg, encoding="utf-8")
assert PICTURE.read_text(encoding="utf-8") == svg, "the picture is older than the imports: run this file with --write"
