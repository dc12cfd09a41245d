"""The commands that use a fitted run, which is read and left as it is: infer, sample, evaluate, forecast, calibrate."""

import argparse
import inspect
import json
import shutil
import time
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

from ..runs import number, summary_rows
from ._options import COMMANDS, Parser, add_output_options, add_seed_option, seed_from
from ._terminal import Terminal

_OWN = ("run", "json", "no_cache", "seed", "data", "out")


def read_fitted_options(command: str, arguments: list[str]) -> argparse.Namespace:
    """Read the options of one command; what was not said is None.

    Raises:
        BadInputError: one is unknown, missing or has an unusable value.
    """
    found = fitted_parser(command).parse_args(arguments)
    found.seed = seed_from(found.seed)
    return found


def fitted_parser(command: str) -> Parser:
    """The parser of one command."""
    parser = Parser(prog=f"homeostat {command}", description=f"{COMMANDS[command].capitalize()}.", allow_abbrev=False)
    parser.add_argument("run", metavar="RUN", type=Path, help="the folder of a run of `homeostat fit`")
    if command in ("infer", "evaluate", "forecast"):
        parser.add_argument("--data", metavar="FILE", required=True, help="data like those that the run was fitted to")
    _add_out(command, parser)
    if command in ("infer", "evaluate", "calibrate"):
        words = "rows: iterations of inference on each (default: as fitted)"
        parser.add_argument("--iterations", metavar="N", type=_positive, help=words)
    samples = {
        "infer": "rows: posterior samples for each bound (default: 16)",
        "evaluate": "importance samples for each row (default: 5000), or draws of each one-step prediction of sequences "
        "(default: 100)",
        "forecast": "futures of each sequence (default: 1000)",
    }
    if command in samples:
        low = _positive if command == "infer" else _two
        parser.add_argument("--samples", metavar="N", type=low, help=samples[command])
    if command == "evaluate":
        words = "rows: evaluate only so many, drawn by the seed (default: all)"
        parser.add_argument("--rows", metavar="N", type=_two, help=words)
    if command == "sample":
        words = "rows (default: 64) or sequences (default: 16) to draw"
        parser.add_argument("--number", metavar="N", type=_positive, help=words)
        parser.add_argument("--horizon", metavar="K", type=_two, help="steps of each sequence (default: 100)")
    if command == "forecast":
        parser.add_argument("--horizon", metavar="K", type=_positive, help="steps ahead (default: 10)")
        words = "probabilities (default: 0.05,0.25,0.5,0.75,0.95)"
        parser.add_argument("--quantiles", metavar="P,P,...", type=_probabilities, help=words)
    if command in ("forecast", "sample"):
        words = "known inputs, where a model of sequences has any: (sequences, steps, inputs), one a step to come"
        parser.add_argument("--actions", metavar="FILE.npy", type=Path, help=words)
    if command == "calibrate":
        parser.add_argument("--simulations", metavar="N", type=_two, help="simulated rows (default: 1000; at least 80)")
    add_seed_option(parser)
    add_output_options(parser)
    return parser


def _add_out(command: str, parser: Parser) -> None:
    if command == "calibrate":
        words = "a new folder for ranks and figure (default: RUN/calibration-TIME)"
        parser.add_argument("--out", metavar="DIR", type=Path, help=words)
    else:
        words = "also write the numbers of each, a new file" if command == "evaluate" else "results, a new file"
        parser.add_argument("--out", metavar="FILE.npz", type=Path, required=command != "evaluate", help=words)


def use_fitted(command: str, options: argparse.Namespace, terminal: Terminal, output: Any) -> int:
    """Ask a fitted model, keep the answer, and print it."""
    import jax

    from ..train import plain
    from ..workflow import load

    out = _destination(command, options)
    _require_run(options.run)
    fitted = load(options.run)
    method, given = getattr(fitted, command), _given(command, options, fitted)
    pictured = command == "forecast" or (command == "sample" and getattr(fitted.description, "image_shape", ()))
    picture = _new_file(out.with_suffix(".png"), ".png") if pictured else None
    result: dict[str, Any] = {"run": str(options.run), "seed": options.seed}
    start, total = time.monotonic(), given.get("simulations") or 1_000
    if "data" in options:
        data = given["data"] = fitted.open(options.data, message=terminal.say)
        result["data"], total = options.data, len(data)
    if command == "infer":
        given["out"] = out
    with terminal.progress(f"{command} {fitted.task.name}", total) as bar:
        if command != "sample":
            given["on_progress"] = bar.move_to
        outcome = method(**given, key=jax.random.key(options.seed))
    result |= {} if out is None else {"out": str(out)}
    result |= plain(dict(outcome.numbers))
    if picture is not None:
        result["figure"] = str(picture)
    result["seconds"] = round(time.monotonic() - start, 3)
    _keep(command, outcome, result, out, picture)
    words = _words(command, result, fitted.task.unit, outcome.text)
    output.write((json.dumps(result, ensure_ascii=False) if options.json else words) + "\n")
    output.flush()
    return 0


def _require_run(path: Path) -> None:
    """Say what a folder is, where it is neither a run nor a saved model."""
    from ..runs import read_request

    if not (path / "fitted.json").is_file():
        read_request(path)


def _given(command: str, options: argparse.Namespace, fitted: Any) -> dict[str, Any]:
    """The options that were said, all of which the fitted model must know."""
    from ..results import BadInputError

    given = {name: value for name, value in vars(options).items() if name not in _OWN and value is not None}
    known = inspect.signature(getattr(fitted, command)).parameters
    takes_all = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values())
    for name in given:
        if name not in known and not takes_all:
            raise BadInputError(
                f"Expected options of `homeostat {command}` for a fit to {fitted.task.name}, got --{name}, which means nothing "
                f"there: leave it out."
            )
    if "seed" in known:
        given["seed"] = options.seed
    if "actions" in given:
        given["actions"] = read_inputs(given["actions"])
    return given


def _destination(command: str, options: argparse.Namespace) -> Any:
    """Where results go: a new file, a new folder, or nowhere."""
    from ..results import BadInputError

    if command != "calibrate":
        return None if options.out is None else _new_file(options.out, ".npz")
    folder = options.out or options.run / f"calibration-{datetime.now():%Y%m%d-%H%M%S}"
    if folder.exists():
        raise BadInputError(
            f"Expected a new folder for the calibration, got {folder}, which exists: choose another --out."
        )
    return folder


def _new_file(path: Path, suffix: str) -> Path:
    """A path where nothing stands yet."""
    from ..results import BadInputError

    if path.suffix != suffix:
        raise BadInputError(f"Expected a file that ends in {suffix} for --out, got {path}: rename it.")
    if path.exists():
        raise BadInputError(f"Expected a new file for --out, got {path}, which exists: choose another name.")
    return path


def _keep(command: str, outcome: Any, result: dict[str, Any], out: Path | None, picture: Path | None) -> None:
    """Write arrays and figures."""
    from ..runs import encode_png
    from ..train import write_bytes, write_json
    from ..workflow import write_arrays

    if command == "calibrate" and out is not None:
        try:
            write_bytes(out / "calibration.png", encode_png(outcome.figure))
            write_arrays(out / "ranks.npz", outcome.arrays)
            # Last, because a folder with the numbers is whole.
            write_json(out / "calibration.json", result)
        except OSError:
            shutil.rmtree(out, ignore_errors=True)
            raise
        return
    if out is not None and command != "infer":
        write_arrays(out, outcome.arrays)
    if picture is not None:
        write_bytes(picture, encode_png(outcome.figure))


def _words(command: str, result: dict[str, Any], unit: str, text: str) -> str:
    """The answer for reading."""
    if command == "calibrate":
        return f"{text}\n\nRanks, numbers and figure: {result['out']}"
    if command == "evaluate":
        lines = [f"{words:<42}{value:>20}" for words, value in summary_rows(result, unit)]
        return "\n".join([f"{result['rows']} {unit}s, averages per {unit}", *lines])
    if command == "infer":
        name, per = ("elbo_nats", "row") if "elbo_nats" in result else ("free_energy_per_step_nats", "step")
        what = "bound on log p(x)" if per == "row" else "free energy"
        return f"{result['rows']} {unit}s; {what} {number(result[name])} nats per {per}; written to {result['out']}"
    drawn = f", drawn in {result['figure']}" if "figure" in result else ""
    if command == "sample":
        return f"{result['rows']} {unit}s written to {result['out']}{drawn}"
    return (
        f"{result['rows']} sequences continued by {result['horizon']} steps: mean and quantiles of {result['samples']} futures, "
        f"written to {result['out']}; the first of them is{drawn[1:]}"
    )


def read_inputs(file: Path) -> Any:
    """Known inputs, from a .npy.

    Raises:
        BadInputError: it is something else.
    """
    import numpy as np

    from ..results import BadInputError

    try:
        given = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BadInputError(f"Expected an array (.npy) of known inputs, but {file} cannot be read: {error}.") from error
    if not isinstance(given, np.ndarray):
        given.close()
        raise BadInputError(
            f"Expected an array (.npy) of known inputs, got an archive of arrays in {file}: save one alone."
        )
    if given.dtype.kind not in "buif":
        raise BadInputError(f"Expected numbers as known inputs, got the type {given.dtype} in {file}: convert them.")
    return given


def _probabilities(text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or any(not 0.0 <= value <= 1.0 for value in found):
        raise argparse.ArgumentTypeError(f"expected numbers from 0 to 1 joined by commas, got {text!r}")
    return found


def _positive(text: str) -> int:
    return _at_least(text, 1)


def _two(text: str) -> int:
    return _at_least(text, 2)


def _at_least(text: str, low: int) -> int:
    if not text.isdecimal() or int(text) < low:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least {low}, got {text!r}")
    return int(text)
