"""The commands that use a fitted run, which is read and left as it is: infer, sample, evaluate, forecast, calibrate."""

import inspect
import json
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, final

from ..runs import number, summary_rows, version
from ._options import AbstractRunOptions, Force, Run, Session, bad_input, read_options, require_free
from ._terminal import reserved_output

_OWN = ("run", "json", "no_cache", "seed", "data", "out", "force")


@dataclass(frozen=True, kw_only=True)
class AbstractFittedOptions(AbstractRunOptions):
    """Options of commands on a fitted run; what is not said is None."""

    run: Run
    """The folder of a run of `homeostat fit`."""
    seed: int = 0
    """Random seed, 0 to 4294967295."""


@dataclass(frozen=True, kw_only=True)
class AbstractDataOptions(AbstractFittedOptions):
    """Options of commands on new data."""

    data: str
    """Data like those that the run was fitted to."""


@final
@dataclass(frozen=True, kw_only=True)
class InferOptions(AbstractDataOptions):
    """Posterior and bound of each row of new data, or belief about each step of new sequences, with a fitted model."""

    out: Path
    """Results, a new .npz, or one table as .csv or .parquet."""
    force: Force = False
    iterations: int | None = None
    """Rows: iterations of inference on each; as fitted by default (count)."""
    samples: int | None = None
    """Rows: posterior samples for each bound; 16 by default (count)."""


@final
@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(AbstractDataOptions):
    """Bound and importance-weighted log-likelihood of new data under a fitted model."""

    out: Path | None = None
    """Also write the numbers of each, a new .npz."""
    force: Force = False
    iterations: int | None = None
    """Rows: iterations of inference on each; as fitted by default (count)."""
    samples: int | None = None
    """Importance samples for each row, by default 5000; or draws of each one-step prediction of sequences, by default 100 (count)."""
    rows: int | None = None
    """Rows: evaluate only so many, drawn by the seed; all by default (count)."""


@final
@dataclass(frozen=True, kw_only=True)
class SampleOptions(AbstractFittedOptions):
    """Draw rows or sequences from a fitted model."""

    out: Path
    """Results, a new .npz, or one table as .csv or .parquet."""
    force: Force = False
    number: int | None = None
    """Rows, by default 64, or sequences, by default 16, to draw (count)."""
    horizon: int | None = None
    """Steps of each sequence; 100 by default (count)."""
    actions: Path | None = None
    """Known inputs (.npy), where a model of sequences has any: (sequences, steps, inputs), one a step to come."""


@final
@dataclass(frozen=True, kw_only=True)
class ForecastOptions(AbstractDataOptions):
    """Mean and quantiles of how sequences go on, with a model fitted to sequences."""

    out: Path
    """Results, a new .npz, or one table as .csv or .parquet."""
    force: Force = False
    horizon: int | None = None
    """Steps ahead; 10 by default (count)."""
    samples: int | None = None
    """Futures of each sequence; 1000 by default (count)."""
    quantiles: str | None = None
    """Probabilities joined by commas; 0.05,0.25,0.5,0.75,0.95 by default."""
    actions: Path | None = None
    """Known inputs (.npy), where a model of sequences has any: (sequences, steps, inputs), one a step to come."""


@final
@dataclass(frozen=True, kw_only=True)
class CalibrateOptions(AbstractFittedOptions):
    """Simulation-based calibration of a fitted model with its engine."""

    out: Path | None = None
    """A new folder for ranks and figure; RUN/calibration-TIME by default."""
    iterations: int | None = None
    """Iterations of inference on each row; as fitted by default (count)."""
    simulations: int | None = None
    """Simulated rows, at least 80; 1000 by default (count)."""


_KINDS: dict[str, type[AbstractFittedOptions]] = {
    "infer": InferOptions,
    "evaluate": EvaluateOptions,
    "sample": SampleOptions,
    "forecast": ForecastOptions,
    "calibrate": CalibrateOptions,
}
_AT_LEAST_TWO = (("evaluate", "samples"), ("forecast", "samples"), ("evaluate", "rows"), ("sample", "horizon"))


def fitted_command(command: str, arguments: list[str], session: Session) -> int:
    """Ask a fitted model, keep the answer, and print it."""
    options, _ = read_options(_KINDS[command], arguments, f"homeostat {command}")
    for name, value in vars(options).items():
        least = 2 if (command, name) in _AT_LEAST_TWO else 1
        if name not in _OWN and isinstance(value, int) and value < least:
            raise bad_input(f"Expected --{name} of at least {least}, got {value}: choose more.")
    session.terminal.say(f"homeostat {version()}: {command} with {options.run}")
    with reserved_output(options.json) as output:
        from ..runs import compilation_cache

        with compilation_cache(not options.no_cache, session.terminal):
            result, words = _answer(command, options, session)
        output.write((json.dumps(result, ensure_ascii=False) if options.json else words) + "\n")
        output.flush()
    return 0


def _answer(command: str, options: Any, session: Session) -> tuple[dict[str, Any], str]:
    import jax

    from ..workflow import load

    out = _destination(command, options)
    fitted = load(options.run)
    method, given = getattr(fitted, command), _given(command, options, fitted)
    pictured = command == "forecast" or (command == "sample" and getattr(fitted.description, "image_shape", ()))
    picture = _new_file(out.with_suffix(".png"), (".png",), options.force) if pictured else None
    result: dict[str, Any] = {"run": str(options.run), "seed": options.seed}
    start, total = time.monotonic(), given.get("simulations") or 1_000
    if hasattr(options, "data"):
        data = given["data"] = fitted.open(options.data, message=session.terminal.say)
        result["data"], total = options.data, len(data)
    streamed = command == "infer" and out.suffix == ".npz"
    if streamed:
        given["out"] = out
    with session.terminal.progress(f"{command} {fitted.task.name}", total) as bar:
        if command != "sample":
            given["on_progress"] = bar.move_to
        outcome = method(**given, key=jax.random.key(options.seed))
    result |= {} if out is None else {"out": str(out)}
    result |= outcome.plain()
    if picture is not None:
        result["figure"] = str(picture)
    result["seconds"] = round(time.monotonic() - start, 3)
    if command == "calibrate":
        outcome.save_calibration(out, result)
    else:
        outcome.save(None if streamed else out, picture)
    return result, _words(command, result, fitted.task.unit, outcome.text)


def _given(command: str, options: Any, fitted: Any) -> dict[str, Any]:
    """The options that were said, all of which the fitted model must know."""
    given = {name: value for name, value in vars(options).items() if name not in _OWN and value is not None}
    known = inspect.signature(getattr(fitted, command)).parameters
    takes_all = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values())
    for name in given:
        if name not in known and not takes_all:
            raise bad_input(
                f"Expected options of `homeostat {command}` for a fit to {fitted.task.name}, got --{name}, which means nothing "
                f"there: leave it out."
            )
    if "seed" in known:
        given["seed"] = options.seed
    if "actions" in given:
        from ..workflow import read_inputs

        given["actions"] = read_inputs(given["actions"])
    if "quantiles" in given:
        given["quantiles"] = _probabilities(given["quantiles"])
    return given


def _destination(command: str, options: Any) -> Any:
    """Where results go: a new file, a new folder, or nowhere."""
    if command != "calibrate":
        suffixes = (".npz",) if command == "evaluate" else (".npz", ".csv", ".parquet")
        return None if options.out is None else _new_file(options.out, suffixes, options.force)
    folder = options.out or options.run / f"calibration-{datetime.now():%Y%m%d-%H%M%S}"
    if folder.exists():
        raise bad_input(f"Expected a new folder for the calibration, got {folder}, which exists: choose another --out.")
    return folder


def _new_file(path: Path, suffixes: tuple[str, ...], force: bool) -> Path:
    """A path where nothing stands yet, or a file that may be replaced."""
    if path.suffix not in suffixes:
        raise bad_input(f"Expected a file that ends in {' or '.join(suffixes)} for --out, got {path}: rename it.")
    require_free(path, force)
    return path


def _words(command: str, result: dict[str, Any], unit: str, text: str) -> str:
    """The answer for reading."""
    if command == "calibrate":
        return f"{text}\n\nRanks, numbers and figure: {result['out']}"
    if command == "evaluate":
        lines = [f"{words:<42}{value:>20}" for words, value in summary_rows(result, unit)]
        return "\n".join([f"{result['rows']} {unit}s, averages per {unit}", *lines])
    if command == "infer":
        name, per = ("elbo_nats", "row") if "elbo_nats" in result else ("free_energy_per_step_nats", "step")
        what = "free energy" if per == "step" else "log p(x), exact," if result["exact"] else "bound on log p(x)"
        return f"{result['rows']} {unit}s; {what} {number(result[name])} nats per {per}; written to {result['out']}"
    drawn = f", drawn in {result['figure']}" if "figure" in result else ""
    if command == "sample":
        return f"{result['rows']} {unit}s written to {result['out']}{drawn}"
    # Probabilities of symbols are exact.
    futures = (
        f"mean and quantiles of {result['samples']} futures" if "samples" in result else "probabilities of symbols"
    )
    return (
        f"{result['rows']} sequences continued by {result['horizon']} steps: {futures}, "
        f"written to {result['out']}; the first of them is{drawn[1:]}"
    )


def _probabilities(text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or any(not 0.0 <= value <= 1.0 for value in found):
        raise bad_input(f"Expected numbers from 0 to 1 joined by commas for --quantiles, got {text!r}.")
    return found
