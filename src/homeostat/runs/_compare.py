"""Two runs side by side."""

import math
from pathlib import Path
from typing import Any

from ..train import plain
from ._folder import read_result
from ._report import flatten


def compare_runs(first: Path, second: Path) -> dict[str, Any]:
    """Compare two finished runs.

    Returns:
        `claims`: of every claim of either run its `id`, `unit`, `first` and `second` value, `difference` (second minus first), the
        difference in `standard_errors` of the difference where both runs give one, and both verdicts `passed`. `config` and
        `setting` (experiment, scale, seed, versions, machine): two values for each entry that differs, None where a run lacks it.
    """
    a, b = read_result(first), read_result(second)
    claims_a, claims_b = ({claim["id"]: claim for claim in result["claims"]} for result in (a, b))
    claims = [_difference(id, claims_a.get(id), claims_b.get(id)) for id in dict.fromkeys([*claims_a, *claims_b])]
    names = ("experiment", "scale", "seed", "versions", "machine", "seconds", "summary")
    settings = ({name: result.get(name) for name in names} for result in (a, b))
    return plain(
        {"claims": claims, "config": _differences(a["config"], b["config"]), "setting": _differences(*settings)}
    )


def _difference(id: str, a: dict[str, Any] | None, b: dict[str, Any] | None) -> dict[str, Any]:
    def both(name: str) -> tuple[Any, Any]:
        return None if a is None else a[name], None if b is None else b[name]

    (first, second), errors = both("value"), both("stderr")
    difference = None if None in (first, second) else second - first
    error = 0.0 if None in errors else math.hypot(*errors)
    return {
        "id": id,
        "unit": (a or b or {})["unit"],
        "first": first,
        "second": second,
        "difference": difference,
        "standard_errors": None if difference is None or not error else difference / error,
        "passed": both("passed"),
    }


def _differences(first: dict[str, Any], second: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    a, b = flatten(first), flatten(second)
    return {name: (a.get(name), b.get(name)) for name in dict.fromkeys([*a, *b]) if a.get(name) != b.get(name)}
