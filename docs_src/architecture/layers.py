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


COLUMNS = {
    0: ("experiments", "agents", "environments", "flows", "testing", "nn"),
    2: ("adapters", "metrics", "runs", "train"),
    3: ("data", "viz"),
}
"""Columns of the parts beside the chain, which stands in column 1."""
LATE = {"metrics", "train", "data", "viz"}
"""Parts that stand right below what imports them; the others stand right above what they import."""

STEP, WIDTH, HEIGHT = 124, 108, 24


def column(part):
    return next((number for number, members in COLUMNS.items() if part in members), 1)


def row(part):
    return min(row(other) for other in parts if part in uses[other]) - 1 if part in LATE else level(part)


top = max(map(row, parts))
place = {part: (74 + STEP * column(part), 30 + 46 * (top - row(part))) for part in sorted(parts)}
# An arrow that follows from others is left out.
arrows = [
    (upper, lower)
    for upper in sorted(parts)
    for lower in sorted(uses[upper])
    if not any(lower in reaches(other) for other in uses[upper] - {lower})
]


def line(upper, lower):
    """From the lower edge of a box to the upper edge of another; beside the column where boxes stand between."""
    (x1, y1), (x2, y2) = place[upper], place[lower]
    y1, y2 = y1 + HEIGHT / 2, y2 - HEIGHT / 2 - 3
    bend = -72 if x1 == x2 and y2 - y1 > 40 else 0
    return f'<path d="M{x1} {y1:.0f} C{x1 + bend} {y1 + 22:.0f} {x2 + bend} {y2 - 22:.0f} {x2} {y2:.0f}"/>'


lines = [line(*arrow) for arrow in arrows]
boxes = [
    f'<rect x="{x - WIDTH // 2}" y="{y - HEIGHT // 2}" width="{WIDTH}" height="{HEIGHT}" rx="5"/>'
    f'<text x="{x}" y="{y + 4}">{part}</text>'
    for part, (x, y) in place.items()
]
size = (max(x for x, _ in place.values()) + 74, 60 + 46 * top)
svg = f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}" font-family="sans-serif" font-size="12">
<marker id="head" orient="auto" markerWidth="7" markerHeight="7" refX="3" refY="3"><path d="M0 0 L6 3 L0 6 z" fill="#607d8b"/></marker>
<rect width="{size[0]}" height="{size[1]}" fill="#ffffff"/>
<g stroke="#607d8b" fill="none">{"".join(lines).replace("<path", '<path marker-end="url(#head)"')}</g>
<g fill="#e0f2f1" stroke="#00796b">{"".join(boxes).replace("<text", '<text fill="#102027" stroke="none" text-anchor="middle"')}</g>
</svg>
"""
if "--write" in sys.argv:
    PICTURE.write_text(svg, encoding="utf-8")
assert PICTURE.read_text(encoding="utf-8") == svg, "the picture is older than the imports: run this file with --write"
