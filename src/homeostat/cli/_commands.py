"""The commands that look at experiments and finished runs: list, report, compare, results."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..experiments import Registry
from ..runs import Scale
from ._options import COMMANDS, Parser, load


def list_command(arguments: list[str], registry: Registry) -> int:
    """Show experiments and groups."""
    parser = Parser(prog="homeostat list", description=COMMANDS["list"], allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print JSON")
    as_json = parser.parse_args(arguments).json
    groups = registry.groups()
    if as_json:
        experiments = [_listed(e) for group in groups for e in group.experiments]
        named = [
            {
                "id": group.id,
                "summary": group.summary,
                "scales": [scale.value for scale in Scale],
                "minutes": {s.value: sum(getattr(e.minutes, s) for e in group.experiments) for s in Scale},
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
            console.print(f"  [bold cyan]{e.id}[/]  {_minutes(e.minutes)} min  {_count(e.claims)} claims")
            console.print(Padding(f"{escape(e.summary)}\n[dim]{escape(e.source)}[/]", (0, 0, 0, 6), expand=False))
    return 0


def _minutes(minutes: Iterable[float]) -> str:
    return " / ".join(f"{value:g}" for value in minutes)


def _count(claims: int | None) -> str:
    return "?" if claims is None else str(claims)


def _listed(experiment: Any) -> dict[str, Any]:
    scales = [scale.value for scale in Scale]
    return {
        **experiment._asdict(),
        "group": experiment.group,
        "scales": scales,
        "minutes": experiment.minutes._asdict(),
    }


def report_command(arguments: list[str], registry: Registry) -> int:
    """Rebuild the report of a run, or combine several runs."""
    parser = Parser(prog="homeostat report", description=COMMANDS["report"], allow_abbrev=False)
    parser.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="the folder of a finished run")
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="where a combined report goes (default: runs/report-TIME.html)"
    )
    options = parser.parse_args(arguments)
    from ..results import BadInputError
    from ..runs import combine_reports, read_result, write_report

    if len(options.runs) == 1 and options.out is None:
        result = read_result(options.runs[0])
        try:
            # A fit is no experiment of the registry, and has no claims to add.
            experiments = [] if "summary" in result else load(registry, result["experiment"])
        except BadInputError:  # an experiment that is no more: its claims were recorded, only what it adds is missing
            experiments = []
        print(write_report(options.runs[0], [result], experiments))
        return 0
    from datetime import datetime

    file = options.out or Path("runs") / f"report-{datetime.now():%Y%m%d-%H%M%S}.html"
    if file.exists():
        raise BadInputError(f"Expected a new file for the report, got {file}, which exists. Choose another --out.")
    print(combine_reports(options.runs, file))
    return 0


def compare_command(arguments: list[str], registry: Registry) -> int:
    """Show two runs side by side."""
    parser = Parser(prog="homeostat compare", description=COMMANDS["compare"], allow_abbrev=False)
    parser.add_argument("first", metavar="RUN", type=Path, help="the folder of a finished run")
    parser.add_argument("second", metavar="RUN", type=Path, help="the folder of another")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    from ..train import plain
    from ._compare import compare_runs, print_comparison

    comparison = compare_runs(options.first, options.second)
    if options.json:
        claims = [claim._asdict() for claim in comparison.claims]
        print(json.dumps(plain({**comparison._asdict(), "claims": claims})))
    else:
        print_comparison(comparison, options.first, options.second)
    return 0


def results_command(arguments: list[str], registry: Registry) -> int:
    """Merge runs of several seeds."""
    parser = Parser(prog="homeostat results", description=COMMANDS["results"], allow_abbrev=False)
    parser.add_argument(
        "runs", metavar="RUN", type=Path, nargs="+", help="finished runs that differ only in their seed"
    )
    parser.add_argument("--into", metavar="FILE", type=Path, required=True, help="results/<group>/<name>.json")
    options = parser.parse_args(arguments)
    from ..runs import markdown_table, write_results

    print(markdown_table(write_results(options.runs, options.into)))
    return 0
