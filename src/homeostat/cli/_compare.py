"""Two runs side by side."""

import math
from pathlib import Path
from typing import Any, NamedTuple

from ..runs import flatten, read_result


class ClaimDifference(NamedTuple):
    """One claim in two runs.

    Attributes:
        id: the claim's id.
        unit: its unit.
        first, second: measured values, or None.
        difference: second minus first, or None.
        standard_errors: the difference in standard errors of the difference, where both runs give one.
        passed: verdicts of the two runs, None where the run does not assert the claim.
    """

    id: str
    unit: str
    first: float | None
    second: float | None
    difference: float | None
    standard_errors: float | None
    passed: tuple[bool | None, bool | None]


class RunComparison(NamedTuple):
    """Two runs side by side.

    Attributes:
        claims: every claim of either run.
        config: for each option that differs, its two values (None where a run lacks it).
        setting: the same for experiment, scale, seed, versions and machine.
    """

    claims: list[ClaimDifference]
    config: dict[str, tuple[Any, Any]]
    setting: dict[str, tuple[Any, Any]]


def compare_runs(first: Path, second: Path) -> RunComparison:
    """Compare two finished runs."""
    a, b = read_result(first), read_result(second)
    claims_a, claims_b = ({claim["id"]: claim for claim in result["claims"]} for result in (a, b))
    claims = [
        _difference(name, claims_a.get(name), claims_b.get(name)) for name in dict.fromkeys([*claims_a, *claims_b])
    ]
    names = ("experiment", "scale", "seed", "versions", "machine", "seconds", "summary")
    setting_a, setting_b = (flatten({name: result.get(name) for name in names}) for result in (a, b))
    return RunComparison(
        claims, _differences(flatten(a["config"]), flatten(b["config"])), _differences(setting_a, setting_b)
    )


def print_comparison(comparison: RunComparison, first: Path, second: Path) -> None:
    """Print a comparison on standard output."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(title="Claims")
    table.add_column("claim", no_wrap=True)
    table.add_column("unit")
    for name in (str(first), str(second), "difference", "in standard errors"):
        table.add_column(name, justify="right", overflow="fold")
    for claim in comparison.claims:
        marks = [{True: " (holds)", False: " (fails)", None: ""}[passed] for passed in claim.passed]
        values = [_number(value) + mark for value, mark in zip((claim.first, claim.second), marks, strict=True)]
        table.add_row(
            claim.id, claim.unit, *values, _number(claim.difference, "+"), _number(claim.standard_errors, "+")
        )
    if comparison.claims:
        console.print(table)
    for title, differences in (("Configuration", comparison.config), ("Setting", comparison.setting)):
        if not differences:
            console.print(f"{title}: no difference.")
            continue
        table = Table(title=title)
        for name in ("what", str(first), str(second)):
            table.add_column(name)
        for name, (a, b) in differences.items():
            table.add_row(name, _text(a), _text(b))
        console.print(table)


def _difference(id: str, a: dict[str, Any] | None, b: dict[str, Any] | None) -> ClaimDifference:
    known = a or b or {}
    first, second = (None if claim is None else claim["value"] for claim in (a, b))
    difference = second - first if first is not None and second is not None else None
    errors = [None if claim is None else claim["stderr"] for claim in (a, b)]
    scaled = None
    if difference is not None and errors[0] is not None and errors[1] is not None and math.hypot(*errors) > 0:
        scaled = difference / math.hypot(*errors)
    passed = (None if a is None else a["passed"], None if b is None else b["passed"])
    return ClaimDifference(id, known["unit"], first, second, difference, scaled, passed)


def _differences(a: dict[str, Any], b: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = dict.fromkeys([*a, *b])
    return {name: (a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name)}


def _number(value: float | int | None, sign: str = "") -> str:
    return "—" if value is None else f"{value:{sign}.4g}"


def _text(value: Any) -> str:
    return "—" if value is None else str(value)
