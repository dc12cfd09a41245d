"""Results of several seeds in one file, the tables that the documentation makes of them, and two runs side by side."""

import json
import math
import re
from pathlib import Path
from typing import Any

from ..results import BadInputError, CheckpointError
from ..train import plain, write_json
from ._claims import relation
from ._folder import read_result
from ._report import flatten

_BLOCK = re.compile(r"(<!-- results: (?P<file>[^\s>]+) -->\n)(?P<table>.*?)(<!-- end of results -->)", re.DOTALL)


def merge_results(paths: list[Path]) -> dict[str, Any]:
    """Merge finished runs that differ in nothing but the seed.

    The schema is that of `result.json`, with a list of seeds under `seed`; each claim's `value` is the mean over seeds,
    `stderr` its standard error (for one seed, the run's own), `values` holds one value for each seed, and `passed` says
    whether the mean satisfies the relation.

    Raises:
        BadInputError: the runs differ in more than the seed, or a seed comes twice.
    """
    results = sorted((read_result(path) for path in paths), key=lambda result: result["seed"])
    first = results[0]
    for name in ("experiment", "scale", "config"):
        for result in results:
            if result[name] != first[name]:
                raise BadInputError(
                    f"Expected runs with the same {name}, got seeds {first['seed']} and {result['seed']} with "
                    "different ones. Merge only runs that differ in their seed; `homeostat compare` shows what differs."
                )
    seeds = [result["seed"] for result in results]
    if len(set(seeds)) != len(seeds):
        raise BadInputError(f"Expected every seed once, got the seeds {seeds}. Leave out the repeated runs.")
    claims = [_merge_claim([_claim(result, claim["id"]) for result in results]) for claim in first["claims"]]
    return {
        "experiment": first["experiment"],
        "scale": first["scale"],
        "seed": seeds,
        "config": first["config"],
        "claims": claims,
        "versions": _common(results, "versions"),
        "machine": _common(results, "machine"),
        "seconds": round(sum(result["seconds"] for result in results), 3),
        "artifacts": [],
    }


def write_results(paths: list[Path], file: Path) -> dict[str, Any]:
    """Merge finished runs into a file, such as `results/<group>/<name>.json`."""
    if file.suffix != ".json":
        raise BadInputError(f"Expected a file that ends in .json, got {file}. Name it results/<group>/<name>.json.")
    merged = merge_results(paths)
    write_json(file, merged)
    return merged


def markdown_table(result: dict[str, Any]) -> str:
    """A result, merged or of one run, as a table in Markdown."""
    seeds = result["seed"] if isinstance(result["seed"], list) else [result["seed"]]
    lines = ["| claim | measured | expected | holds |", "|---|---:|---:|:---:|"]
    for claim in result["claims"]:
        unit = f" {claim['unit']}" if claim["unit"] else ""
        error = "" if claim["stderr"] is None else f" ± {claim['stderr']:.2g}"
        value = "not measured" if claim["value"] is None else f"{claim['value']:.4g}{error}{unit}"
        mark = "yes" if claim["passed"] else "**no**"
        lines.append(f"| {_cell(claim['metric'])} (`{claim['id']}`) | {value} | {claim['expected']}{unit} | {mark} |")
    machine, made_with = result["machine"], result["versions"]
    lines += [
        "",
        f"`homeostat run {result['experiment']} --scale {result['scale']}`, seed{'s' if len(seeds) > 1 else ''} "
        f"{', '.join(map(str, seeds))}; {result['seconds'] / len(seeds):.0f} s a run on {machine['cores']} cores "
        f"({machine['cpu']}; accelerator: {machine['accelerator']}), homeostat {made_with['homeostat']}, "
        f"jax {made_with['jax']}. Values are {'means over seeds' if len(seeds) > 1 else 'measured'} ± standard errors.",
    ]
    return "\n".join(lines) + "\n"


def fill_tables(text: str, root: Path) -> str:
    """Fill the blocks of a Markdown page that ask for results.

    A block is `<!-- results: results/dsprites/small.json -->`, a line with `<!-- end of results -->`, and what stands
    between them, which is replaced.

    Args:
        root: the folder that the files' names are relative to.
    """

    def table(match: re.Match[str]) -> str:
        file = root / match["file"]
        if not file.is_file():
            raise BadInputError(f"Expected the results {file}, got no such file. Make them with `homeostat results`.")
        try:
            return f"{match[1]}\n{markdown_table(json.loads(file.read_text()))}\n{match[4]}"
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"Expected results in {file}, got something else. Make them again.") from error

    return _BLOCK.sub(table, text)


def _claim(result: dict[str, Any], id: str) -> dict[str, Any]:
    for claim in result["claims"]:
        if claim["id"] == id:
            return claim
    raise BadInputError(
        f"Expected the claim {id!r} in every run, got none in that of seed {result['seed']}. "
        "The runs come from different versions of the code: run the older ones again."
    )


def _merge_claim(claims: list[dict[str, Any]]) -> dict[str, Any]:
    values = [claim["value"] for claim in claims]
    mean = stderr = None
    if all(value is not None for value in values):
        mean = math.fsum(values) / len(values)
        stderr = claims[0]["stderr"]
        if len(values) > 1:
            variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
            stderr = math.sqrt(variance / len(values))
    expected = relation(claims[0]["expected"])
    passed = mean is not None and expected.check(mean)
    return {**claims[0], "value": mean, "stderr": stderr, "values": values, "passed": passed}


def _common(results: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Entries of all runs; where runs differ, all their values."""
    merged: dict[str, Any] = {}
    for part in dict.fromkeys(key for result in results for key in result[name]):
        values = list(dict.fromkeys(result[name].get(part) for result in results))
        merged[part] = values[0] if len(values) == 1 else " and ".join(map(str, values))
    return merged


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


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
