"""A report as one HTML file: it opens offline, loads nothing, and follows the reader's light or dark setting."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias


class ClaimRow(NamedTuple):
    """One line of the table of claims.

    Attributes:
        verdict: "pass", "fail" or "not asserted".
    """

    id: str
    metric: str
    unit: str
    value: str
    expected: str
    source: str
    verdict: str


class ImageItem(NamedTuple):
    """A figure or an animation: the encoded image (`png` or `gif`) and what it shows."""

    content: bytes
    format: str
    caption: str


class TableItem(NamedTuple):
    """A table: names of the columns, cells as text or numbers, and what it shows."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str


class NoteItem(NamedTuple):
    """A paragraph."""

    text: str


class CurvesItem(NamedTuple):
    """Recorded numbers against the step.

    Attributes:
        curves: for each series its name, steps and values.
    """

    caption: str
    curves: Sequence[tuple[str, Sequence[float | int], Sequence[float | int]]]


Item: TypeAlias = ImageItem | TableItem | NoteItem | CurvesItem


class Section(NamedTuple):
    """A part of the report.

    Attributes:
        lead: a sentence below it.
    """

    title: str
    lead: str
    items: Sequence[Item]


class Report(NamedTuple):
    """A whole report.

    Attributes:
        lead: a line below it (scale, seed, duration).
        claims: the table at the top; None where nothing was to be claimed.
        appendix: tables at the end: configuration, versions, machine.
    """

    title: str
    lead: str
    claims: Sequence[ClaimRow] | None
    sections: Sequence[Section]
    appendix: Sequence[TableItem]


def render_report(report: Report) -> str:
    """The HTML text of a report."""
    title = html.escape(report.title)
    body = "\n".join(
        [
            f"<header><p class='kind'>homeostat report</p><h1>{title}</h1>",
            f"<p class='lead'>{html.escape(report.lead)}</p></header>",
            "" if report.claims is None else _claims_section(report.claims),
            *[_section(section) for section in report.sections],
            "<section id='appendix'><h2>How it was made</h2>",
            *[_table(item) for item in report.appendix],
            "</section>",
        ]
    )
    style = Path(__file__).with_name("_report.css").read_text(encoding="utf-8")
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        "<meta name='color-scheme' content='light dark'>"
        # Says to the browser what the text says to the reader: nothing is loaded from anywhere.
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{title}</title><style>\n{style}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def format_value(value: Any, stderr: Any = None) -> str:
    """A number with as many digits as its standard error (or four), for reading."""
    if value is None:
        return "—"
    if not _is_number(value):
        return str(value)
    return f"{value:.4g}" if stderr is None else f"{value:.4g} ± {stderr:.2g}"


def _claims_section(rows: Sequence[ClaimRow]) -> str:
    asserted = [row for row in rows if row.verdict != "not asserted"]
    passed = sum(row.verdict == "pass" for row in asserted)
    head = f"<h2>Claims <span class='count'>{passed} of {len(asserted)} hold</span></h2>"
    return f"<section id='claims'>{head}\n{_claims(rows)}\n</section>"


def _claims(rows: Sequence[ClaimRow]) -> str:
    marks = {"pass": "✓ holds", "fail": "✗ fails", "not asserted": "not asserted"}
    cells = [
        f"<tr class='{row.verdict.replace(' ', '-')}'><td><span class='verdict'>{marks[row.verdict]}</span></td>"
        f"<td>{html.escape(row.metric)}<small>{html.escape(row.id)} · {html.escape(row.source)}</small></td>"
        f"<td class='number'>{html.escape(row.value)}<small>{html.escape(row.unit)}</small></td>"
        f"<td class='number'>{html.escape(_symbols(row.expected))}</td></tr>"
        for row in rows
    ]
    if not cells:
        return "<p>No claim is asserted at this scale.</p>"
    names = ("<th>Verdict", "<th>Claim", "<th class='number'>Measured", "<th class='number'>Expected")
    head = f"<thead><tr>{'</th>'.join(names)}</th></tr></thead>"
    return f"<div class='scroll'><table class='claims'>{head}<tbody>{''.join(cells)}</tbody></table></div>"


def _symbols(expected: str) -> str:
    return expected.replace(">=", "≥").replace("<=", "≤")


def _section(section: Section) -> str:
    lead = f"<p class='lead'>{html.escape(section.lead)}</p>" if section.lead else ""
    items = "\n".join(_item(item) for item in section.items)
    return f"<section><h2>{html.escape(section.title)}</h2>{lead}\n{items}</section>"


def _item(item: Item) -> str:
    if isinstance(item, ImageItem):
        data = base64.b64encode(item.content).decode()
        caption = html.escape(item.caption)
        return (
            f"<figure><img src='data:image/{item.format};base64,{data}' alt='{caption}'>"
            f"<figcaption>{caption}</figcaption></figure>"
        )
    if isinstance(item, TableItem):
        return _table(item)
    if isinstance(item, CurvesItem):
        return _curves(item)
    return "".join(f"<p>{html.escape(paragraph)}</p>" for paragraph in item.text.split("\n\n"))


def _table(item: TableItem) -> str:
    def cell(value: Any, tag: str) -> str:
        kind = " class='number'" if _is_number(value) else ""
        return f"<{tag}{kind}>{html.escape(format_value(value))}</{tag}>"

    numeric = [all(_is_number(row[column]) for row in item.rows) for column in range(len(item.columns))]
    head = "".join(
        f"<th{' class=number' if right and item.rows else ''}>{html.escape(name)}</th>"
        for name, right in zip(item.columns, numeric, strict=True)
    )
    rows = "".join(f"<tr>{''.join(cell(value, 'td') for value in row)}</tr>" for row in item.rows)
    return (
        f"<figure class='table'><div class='scroll'><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
        f"<figcaption>{html.escape(item.caption)}</figcaption></figure>"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _curves(item: CurvesItem) -> str:
    plots = "".join(_curve(*curve) for curve in item.curves)
    return f"<figure class='curves'><div>{plots}</div><figcaption>{html.escape(item.caption)}</figcaption></figure>"


def _curve(name: str, steps: Sequence[float | int], values: Sequence[float | int]) -> str:
    low, high = min(values), max(values)
    first, last = min(steps), max(steps)
    points = " ".join(
        f"{4 + 232 * (x - first) / ((last - first) or 1):.1f},{66 - 60 * (y - low) / ((high - low) or 1):.1f}"
        for x, y in zip(steps, values, strict=True)
    )
    return (
        f"<div class='curve'><b>{html.escape(name)}</b>"
        f"<svg viewBox='0 0 240 70' role='img' aria-label='{html.escape(name)} against the step'>"
        f"<polyline points='{points}'/></svg>"
        f"<small>{low:.4g} to {high:.4g}, last {values[-1]:.4g}; steps {first:g} to {last:g}</small></div>"
    )
