"""One run from its request to its result."""

import contextlib
from typing import Any

import jax

from ..results import BadInputError
from ..train import plain, write_json
from ._claims import Claim
from ._context import RunContext, experiment_key
from ._experiment import Experiment
from ._folder import RunFolder
from ._machine import machine, versions
from ._report import write_report
from ._terminal import AbstractTerminal, Interrupts

_FILES = ("config.json", "ledger.json", "metrics.jsonl")


def execute(
    folder: RunFolder, experiments: list[Experiment], configs: dict[str, Any], *, terminal: AbstractTerminal
) -> dict[str, Any]:
    """Run the experiments in the folder (or what is left of them) and write the report and the result.

    Returns:
        The content of `result.json`.
    """
    try:
        return _execute(folder, experiments, configs, terminal)
    except BadInputError:
        raise
    except (Exception, KeyboardInterrupt):
        # The time spent so far belongs to the run; a disk that cannot take it must not hide the reason for ending.
        with contextlib.suppress(OSError):
            folder.save()
        raise


def _execute(
    folder: RunFolder, experiments: list[Experiment], configs: dict[str, Any], terminal: AbstractTerminal
) -> dict[str, Any]:
    request = folder.request
    root_key = jax.random.key(request.seed)
    alone = len(experiments) == 1 and experiments[0].id == request.experiment
    interrupts = Interrupts(terminal)
    with interrupts.caught():
        for number, experiment in enumerate(experiments, 1):
            terminal.say(f"{experiment.id} ({number} of {len(experiments)}): {experiment.summary}")
            context = RunContext(
                folder, experiment, alone=alone, root_key=root_key, terminal=terminal, interrupts=interrupts
            )
            key = experiment_key(root_key, experiment.id)
            experiment.run(configs[experiment.name], context, key=key)
        folder.save()
        claims = [
            assess(claim, folder.part(experiment.name)["measurements"].get(claim.id))
            for experiment in experiments
            for claim in experiment.asserted(request.scale)
        ]
        result = {
            "experiment": request.experiment,
            "scale": request.scale,
            "seed": request.seed,
            "config": request.config,
            "claims": claims,
            "versions": versions(),
            "machine": machine(),
            "seconds": round(folder.seconds, 3),
            "artifacts": _artifacts(folder),
        }
        if not request.scale:
            # A fit has no scale and no claims: what it says of itself stands in a part of its own.
            result["summary"] = folder.part(experiments[0].name).get("summary", {})
        write_report(folder.path, [result], experiments)
        # Last, because a run with a result is a finished run.
        write_json(folder.path / "result.json", result)
    return plain(result)


def assess(claim: Claim, measured: dict[str, Any] | None) -> dict[str, Any]:
    """A claim beside what was measured; without a measurement, or with one that is not finite, it fails."""
    value = None if measured is None else measured["value"]
    return {
        "id": claim.id,
        "source": claim.source,
        "metric": claim.metric,
        "unit": claim.unit,
        "value": value,
        "stderr": None if measured is None else measured["stderr"],
        "expected": str(claim.expected),
        "passed": value is not None and claim.expected.check(value),
    }


def exit_status(result: dict[str, Any]) -> int:
    """0 if every claim holds, 3 otherwise; 4 for a fit whose training had to stop because something was not finite."""
    if result.get("summary", {}).get("failure") is not None:
        return 4
    return 0 if all(claim["passed"] for claim in result["claims"]) else 3


def _artifacts(folder: RunFolder) -> list[str]:
    present = {name for name in _FILES if (folder.path / name).exists()} | {"report.html", "result.json"}
    figures = (path for path in (folder.path / "figures").rglob("*.*") if path.is_file())
    return sorted(present | {path.relative_to(folder.path).as_posix() for path in figures})
