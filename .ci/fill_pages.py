"""Fill the pages of the documentation: examples from `docs_src/`, tables of results from `results/`.

An example stands between `<!-- example: folder/file.py -->` (or `folder/file.py:section`) and `<!-- end of example -->`, so that a page
shows its code wherever Markdown is read. Sections of a file are marked by comments `[start:section]` and `[end:section]`.
"""

import re
import sys
from pathlib import Path

from homeostat.runs import fill_tables

ROOT = Path(__file__).resolve().parent.parent
_EXAMPLE = re.compile(r"(<!-- example: ([\w/]+\.py)(?::(\w+))? -->\n).*?(<!-- end of example -->)", re.DOTALL)


def shown(file: Path, section: str | None) -> str:
    """The code of a file, or of one of its sections, as a page shows it."""
    text = file.read_text(encoding="utf-8")
    if section is not None:
        found = re.search(rf"^# \[start:{section}\]\n(.*?)^# \[end:{section}\]\n", text, re.DOTALL | re.MULTILINE)
        if found is None:
            raise SystemExit(f"Expected the section {section} in {file}, found none.")
        text = found[1]
    return re.sub(r"^# \[(start|end):\w+\]\n", "", text, flags=re.MULTILINE).strip("\n")


def filled(page: Path) -> str:
    """A page with its examples, and the page of results with its tables, as they are now."""

    def block(match: re.Match[str]) -> str:
        return f"{match[1]}```python\n{shown(ROOT / 'docs_src' / match[2], match[3])}\n```\n{match[4]}"

    text = _EXAMPLE.sub(block, page.read_text(encoding="utf-8"))
    return fill_tables(text, ROOT) if page.name == "results.md" else text


def pages() -> list[Path]:
    """All pages."""
    return sorted((ROOT / "docs").rglob("*.md"))


if __name__ == "__main__":
    for page in pages():
        after = filled(page)
        if after != page.read_text(encoding="utf-8"):
            page.write_text(after, encoding="utf-8")
            sys.stdout.write(f"filled {page.relative_to(ROOT)}\n")
