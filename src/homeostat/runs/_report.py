"""Turns run folders into a report."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..results import CheckpointError
from ..train import read_json_lines, write_text
from ..viz import (
    ClaimRow,
    CurvesItem,
    ImageItem,
    Item,
    NoteItem,
    Report,
    Section,
    TableItem,
    format_value,
    render_report,
)
from ._experiment import Experiment
from ._folder import read_ledger, read_result
from ._summary import summary_rows


def write_report(path: Path, results: list[dict[str, Any]], experiments: Sequence[Experiment] = ()) -> Path:
    """Write `report.html` into a run's folder; `experiments` adds the claims that were measured but not asserted."""
    file = path / "report.html"
    write_text(file, render_report(_report([path], results, experiments)))
    return file


def combine_reports(paths: list[Path], file: Path) -> Path:
    """One report about several finished runs."""
    write_text(file, render_report(_report(paths, [read_result(path) for path in paths], ())))
    return file


def _report(paths: list[Path], results: list[dict[str, Any]], experiments: Sequence[Experiment]) -> Report:
    several = len(paths) > 1
    claims: list[ClaimRow] = []
    sections: list[Section] = []
    appendix: list[TableItem] = []
    for path, result in zip(paths, results, strict=True):
        label = _label(result) if several else ""
        claims += [row._replace(id=f"{label} · {row.id}" if label else row.id) for row in claim_rows(result)]
        ledger = read_ledger(path)
        claims += _not_asserted(ledger, result, experiments)
        sections += _results(result, label)
        for name, part in ledger.items():
            items = [_item(path, item) for item in part["items"].values()]
            if items:
                lead = next((experiment.summary for experiment in experiments if experiment.name == name), "")
                name, lead = ("What was learned", "") if "summary" in result else (name, lead)
                sections.append(Section(f"{label}: {name}" if label else name, lead, items))
        curves = _curves(path)
        if curves:
            sections.append(Section(f"{label}: recorded numbers" if label else "Recorded numbers", "", curves))
        appendix += _appendix(result, label)
    first = results[0]
    title = _title(first) if not several else f"{len(results)} runs"
    lead = "; ".join(f"{_label(result)}, {_duration(result['seconds'])}" for result in results)
    unclaimed = all("summary" in result for result in results)
    return Report(title, lead, None if unclaimed else claims, sections, appendix)


def _title(result: dict[str, Any]) -> str:
    if "summary" not in result:
        return result["experiment"]
    if "title" in result["summary"]:
        return result["summary"]["title"]
    config = result["config"]
    return f"{config['model']} with {config['engine']} inference"


def _label(result: dict[str, Any]) -> str:
    if "title" in result.get("summary", {}):
        return f"{_title(result)}, seed {result['seed']}"
    if "summary" in result:
        return f"{_title(result)} on {Path(result['config']['data']).name}, seed {result['seed']}"
    return f"{result['experiment']} at {result['scale']}, seed {result['seed']}"


def _results(result: dict[str, Any], label: str) -> list[Section]:
    """The numbers of a fit, which has no claims."""
    if "summary" not in result:
        return []
    summary = result["summary"]
    if "results" in summary:
        rows = [*summary["results"], *([("training was stopped", summary["failure"])] if summary["failure"] else [])]
        return [Section(f"{label}: results" if label else "Results", "", [TableItem(("what", "value"), rows, "")])]
    # Runs of earlier versions do not say what they were fitted to.
    unit = summary.get("unit", "row")
    rows = [
        (
            f"{unit}s to train on, to validate on ({summary['rows']} of the {summary['rows_of']} {unit}s were measured)",
            f"{summary['training_rows']:,}, {summary['validation_rows']:,}",
        ),
        ("likelihood", summary["likelihood"]),
        ("updates that the model has seen, of those made", f"{summary['best_step']:,} of {summary['last_step']:,}"),
        *summary_rows(summary, unit),
    ]
    if summary["failure"] is not None:
        rows.append(("training was stopped", summary["failure"]))
    # Runs of earlier versions have no baselines.
    rows += [("warning", warning) for warning in summary.get("warnings", ())]
    caption = f"Averages over {unit}s, in nats, with standard errors over {unit}s; no weight was learned from validation {unit}s."
    items = [TableItem(("what", "value"), rows, caption), *_baselines(summary)]
    return [Section(f"{label}: results" if label else "Results", "", items)]


def _baselines(summary: dict[str, Any]) -> list[TableItem]:
    """The baselines, the best on held-out training data first."""
    if not summary.get("baselines"):
        return []
    per, part = summary["gain_per"], summary["rows_of"]
    rows = [(each["name"], each["nats"], each["training_held_out_nats"]) for each in summary["baselines"]]
    columns = ("baseline", f"nats per {per}, {part} data", f"nats per {per}, held-out training data")
    caption = (
        f"Log density under simple models of the training data. The gain is that over the first, the best on a part held out of "
        f"them. Of the model its log density is compared ({summary['gain_of']})."
    )
    return [TableItem(columns, rows, caption)]


def _duration(seconds: float | int) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def claim_rows(result: dict[str, Any]) -> list[ClaimRow]:
    """The asserted claims of a result in words and printed numbers, with `pass` or `fail`."""
    return [_row(claim, "pass" if claim["passed"] else "fail") for claim in result["claims"]]


def _row(claim: dict[str, Any], verdict: str) -> ClaimRow:
    return ClaimRow(
        id=claim["id"],
        metric=claim["metric"],
        unit=claim["unit"],
        value=format_value(claim["value"], claim["stderr"]),
        expected=claim["expected"],
        source=claim["source"],
        verdict=verdict,
    )


def _not_asserted(ledger: dict[str, Any], result: dict[str, Any], experiments: Sequence[Experiment]) -> list[ClaimRow]:
    asserted = {claim["id"] for claim in result["claims"]}
    rows: dict[str, ClaimRow] = {}
    for experiment in experiments:
        measured = ledger.get(experiment.name, {}).get("measurements", {})
        for claim in experiment.claims:
            if claim.id in measured and claim.id not in asserted:
                expected = f"{claim.expected} at {', '.join(claim.scales)}"
                rows[claim.id] = _row({**vars(claim), **measured[claim.id], "expected": expected}, "not asserted")
    return [*rows.values()]


def _item(path: Path, item: dict[str, Any]) -> Item:
    if item["kind"] in ("figure", "animation"):
        file = path / item["file"]
        if not file.is_file():
            raise CheckpointError(
                f"Expected the image {file}, which the run recorded, got no such file. Restore it, or run again."
            )
        return ImageItem(file.read_bytes(), file.suffix.lstrip("."), item["caption"])
    if item["kind"] == "table":
        return TableItem(item["columns"], item["rows"], item["caption"])
    return NoteItem(item["caption"])


def _curves(path: Path) -> list[CurvesItem]:
    """The numbers of metrics.jsonl against the step, for series of three points or more."""
    series: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    for line in read_json_lines(path / "metrics.jsonl"):
        name = line["stage"] or line["experiment"]
        for metric, value in line.items():
            if metric not in ("experiment", "stage", "step") and isinstance(value, int | float):
                steps, values = series.setdefault(name, {}).setdefault(metric, ([], []))
                steps.append(line["step"])
                values.append(value)
    curves = [
        (f"{name}: {metric}", *points)
        for name, metrics in series.items()
        for metric, points in metrics.items()
        if len(points[0]) >= 3
    ]
    return [CurvesItem("Each against the step at which it was recorded.", curves)] if curves else []


def _appendix(result: dict[str, Any], label: str) -> list[TableItem]:
    end = f" ({label})" if label else ""
    return [
        TableItem(("option", "value"), list(flatten(result["config"]).items()), f"Configuration{end}."),
        TableItem(("package", "version"), list(result["versions"].items()), f"Versions{end}."),
        TableItem(("part", "value"), list(result["machine"].items()), f"Machine{end}."),
    ]


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested configuration as one level of dotted names; other values than numbers become text."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value if isinstance(value, int | float | str) else json.dumps(value)
    return flat
