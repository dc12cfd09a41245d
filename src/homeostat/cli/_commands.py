"""The commands that look at experiments and finished runs: list, report, compare, results."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from ..runs import Scale
from ._options import Force, Run, Runs, Session, bad_input, read_options, require_free
from ._run import load


@final
@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """Show experiments and groups, their sources, scales and expected minutes."""

    json: bool = False
    """Print JSON."""


@final
@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Rebuild the report of a run, or combine several runs in one."""

    runs: Runs
    """Folders of finished runs."""
    out: Path | None = None
    """Where a combined report goes; runs/report-TIME.html by default."""
    force: Force = False


@final
@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Show two runs side by side."""

    first: Run
    """The folder of a finished run."""
    second: Run
    """The folder of another."""
    json: bool = False
    """Print JSON."""


@final
@dataclass(frozen=True, kw_only=True)
class ResultsOptions:
    """Merge runs of several seeds into one file with means and standard errors."""

    runs: Runs
    """Finished runs that differ only in their seed."""
    into: Path
    """The file: results/<group>/<name>.json."""


def list_command(arguments: list[str], session: Session) -> int:
    """Show experiments and groups."""
    options, _ = read_options(ListOptions, arguments, "homeostat list")
    groups = session.registry.groups()
    if options.json:
        scales = [scale.value for scale in Scale]
        experiments = [
            {**e._asdict(), "group": e.group, "scales": scales, "minutes": e.minutes._asdict()}
            for group in groups
            for e in group.experiments
        ]
        named = [
            {
                "id": group.id,
                "summary": group.summary,
                "scales": scales,
                "minutes": {s: sum(getattr(e.minutes, s) for e in group.experiments) for s in scales},
                "experiments": [e.id for e in group.experiments],
            }
            for group in groups
        ]
        print(json.dumps({"experiments": experiments, "groups": named}))
        return 0
    from rich.console import Console
    from rich.markup import escape
    from rich.padding import Padding

    console = Console(highlight=False)
    console.print(f"[dim]minutes on two CPU cores at the scales {' / '.join(Scale)}[/]\n")
    for group in groups:
        minutes = _minutes(sum(getattr(e.minutes, scale) for e in group.experiments) for scale in Scale)
        console.print(f"[bold]{group.id}[/]  {minutes} min  {escape(group.summary)}")
        for e in group.experiments:
            claims = "?" if e.claims is None else e.claims
            console.print(f"  [bold cyan]{e.id}[/]  {_minutes(e.minutes)} min  {claims} claims")
            console.print(Padding(f"{escape(e.summary)}\n[dim]{escape(e.source)}[/]", (0, 0, 0, 6), expand=False))
    return 0


def _minutes(minutes: Iterable[float]) -> str:
    return " / ".join(f"{value:g}" for value in minutes)


def report_command(arguments: list[str], session: Session) -> int:
    """Rebuild the report of a run, or combine several runs."""
    options, _ = read_options(ReportOptions, arguments, "homeostat report")
    runs = _some(options.runs, "report")
    from ..results import BadInputError
    from ..runs import combine_reports, read_result, write_report

    if len(runs) == 1 and options.out is None:
        result = read_result(runs[0])
        try:
            # A fit is no experiment of the registry, and has no claims to add.
            experiments = [] if "summary" in result else load(session.registry, result["experiment"])
        except BadInputError:  # an experiment that is no more: its claims were recorded, only what it adds is missing
            experiments = []
        print(write_report(runs[0], [result], experiments))
        return 0
    from datetime import datetime

    file = options.out or Path("runs") / f"report-{datetime.now():%Y%m%d-%H%M%S}.html"
    require_free(file, options.force)
    print(combine_reports(runs, file))
    return 0


def compare_command(arguments: list[str], session: Session) -> int:
    """Show two runs side by side."""
    options, _ = read_options(CompareOptions, arguments, "homeostat compare")
    from ..runs import compare_runs

    comparison = compare_runs(options.first, options.second)
    if options.json:
        print(json.dumps(comparison))
    else:
        _print_comparison(comparison, str(options.first), str(options.second))
    return 0


def _print_comparison(comparison: dict[str, Any], first: str, second: str) -> None:
    from rich.console import Console
    from rich.table import Table

    console, table = Console(highlight=False), Table(title="Claims")
    table.add_column("claim", no_wrap=True)
    table.add_column("unit")
    for name in (first, second, "difference", "in standard errors"):
        table.add_column(name, justify="right", overflow="fold")
    for claim in comparison["claims"]:
        marks = [{True: " (holds)", False: " (fails)", None: ""}[passed] for passed in claim["passed"]]
        values = [_number(claim[name]) + mark for name, mark in zip(("first", "second"), marks, strict=True)]
        differences = [_number(claim[name], "+") for name in ("difference", "standard_errors")]
        table.add_row(claim["id"], claim["unit"], *values, *differences)
    if comparison["claims"]:
        console.print(table)
    for title, differences in (("Configuration", comparison["config"]), ("Setting", comparison["setting"])):
        if not differences:
            console.print(f"{title}: no difference.")
            continue
        table = Table(title=title)
        for name in ("what", first, second):
            table.add_column(name)
        for name, pair in differences.items():
            table.add_row(name, *("—" if value is None else str(value) for value in pair))
        console.print(table)


def _number(value: float | int | None, sign: str = "") -> str:
    return "—" if value is None else f"{value:{sign}.4g}"


def results_command(arguments: list[str], session: Session) -> int:
    """Merge runs of several seeds."""
    options, _ = read_options(ResultsOptions, arguments, "homeostat results")
    runs = _some(options.runs, "results")
    from ..runs import markdown_table, write_results

    print(markdown_table(write_results(runs, options.into)))
    return 0


def _some(runs: tuple[Path, ...], command: str) -> list[Path]:
    if not runs:
        raise bad_input(f"Expected at least one run, got none. `homeostat {command} --help` explains the arguments.")
    return [*runs]
