"""`homeostat fit`, and how `homeostat resume` goes on with one."""

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple, get_args

from ..runs import summary_rows
from ..workflow import SEQUENCE_MODELS, RowsOptions, SequencesOptions
from ..workflow.rows._options import ModelName
from ._options import (
    Parser,
    add_checkpoint_options,
    add_output_options,
    add_seed_option,
    option_names,
    print_fields,
    read_fields,
    seconds_from,
    seed_from,
    unknown_option,
)
from ._terminal import Terminal

FAILED = 4
"""Exit status of a fit whose training had to stop because something was not finite."""

FIT = "fit"
"""What stands in the place of an experiment's id."""

DATA = (
    "rows: .npy, .npz (FILE.npz:NAME if it holds several arrays), .csv, or a folder of images; sequences: .npz with lengths or "
    "mask, .csv or .parquet with columns of sequences and times, .wav, .mid, .mp4, .gif, or a folder of such files"
)
_COMMAND = "homeostat fit"
_DEFAULTS: dict[str, Any] = {"rows": RowsOptions(), "sequences": SequencesOptions()}


class FitRequest(NamedTuple):
    """What stands on the command line of `homeostat fit`.

    Attributes:
        data: the rows or sequences, an absolute path with `:name` where an archive holds several arrays.
        seed: the random seed.
        out: the run's folder, or None for one under `runs/`.
        json: whether standard output is kept for the result.
        cache: whether compiled programs are kept between processes.
        checkpoint_seconds: least time between two checkpoints.
        task: `rows` or `sequences`.
        options: of the task.
    """

    data: str
    seed: int
    out: Path | None
    json: bool
    cache: bool
    checkpoint_seconds: float
    task: str
    options: Any


def fit_parser() -> Parser:
    """Our own options of `homeostat fit`."""
    parser = Parser(
        prog=_COMMAND,
        usage="homeostat fit --data FILE[:name] [options] [options of the model, the inference and the training]",
        description="Fit a generative model with its inference to data, and keep it as a run.",
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("--data", metavar="FILE", help=DATA)
    parser.add_argument(
        "--task",
        choices=list(_DEFAULTS),
        help="what the data are (default: that of --model, or what the file says of itself)",
    )
    add_seed_option(parser)
    parser.add_argument("--out", metavar="RUN", help="the run's folder (default: runs/fit-MODEL-ENGINE-seedN-TIME)")
    add_output_options(parser)
    add_checkpoint_options(parser)
    return parser


def read_fit_options(arguments: list[str]) -> FitRequest | None:
    """The options; None where help is asked for, which is then printed.

    Raises:
        BadInputError: an option is unknown, missing or has an unusable value.
    """
    parser = fit_parser()
    found, rest = parser.parse_known_args(arguments)
    task, default = _task(found, rest)
    if found.help:
        _print_help(parser, task, default)
        return None
    options, unknown = read_fields(type(default), default, rest, _COMMAND)
    if unknown:
        own = [name for action in parser._actions for name in action.option_strings if name.startswith("--")]
        names = [*own, *(f"--{name}" for name in option_names(default))]
        other = next(name for name in _DEFAULTS if name != task)
        if unknown[0].partition("=")[0].removeprefix("--").removeprefix("no-") in option_names(_DEFAULTS[other]):
            raise _bad_input(
                f"Expected an option of a fit to {task}, got {unknown[0]}, which is one of fits to {other}: say --task {other}, or "
                f"leave it out."
            )
        raise unknown_option(f"a fit to {task}", _COMMAND, unknown[0], names)
    if not found.data:
        raise _bad_input(f"Expected data to fit to, got no --data. There are {DATA}.")
    return FitRequest(
        data=str(Path(found.data).absolute()),
        seed=seed_from(found.seed),
        out=None if found.out is None else Path(found.out),
        json=found.json,
        cache=not found.no_cache,
        checkpoint_seconds=seconds_from(found.checkpoint_seconds),
        task=task,
        options=options,
    )


def _task(found: Any, rest: list[str]) -> tuple[str, Any]:
    """The task that is named, that the model belongs to, or that the data say; with its default options."""
    peek = Parser(allow_abbrev=False, add_help=False)
    peek.add_argument("--model")
    peek.add_argument("--sequence-column", default="sequence")
    asked, _ = peek.parse_known_args(rest)
    task = found.task
    if task is None and asked.model in (*SEQUENCE_MODELS, *get_args(ModelName)):
        task = "sequences" if asked.model in SEQUENCE_MODELS else "rows"
    elif task is None and found.data:
        from ..data import holds_sequences

        task = "sequences" if holds_sequences(found.data, asked.sequence_column) else "rows"
    task = task or "rows"
    default = _DEFAULTS[task]
    # It has one filter only, which need not be said.
    return task, dataclasses.replace(default, engine="exact") if asked.model == "linear-gaussian" else default


def _print_help(parser: Parser, task: str, default: Any) -> None:
    """All options with their units and defaults."""
    print(parser.format_help())
    print(f"Options of fits to {task}:")
    print_fields(type(default), default, _COMMAND)
    print(
        "\nexit status: 0 fitted; 1 a crash; 2 bad input; 4 training stopped because something was not finite (the model from "
        "before is kept); 130 Ctrl-C (a checkpoint is kept)"
    )
    other = next(name for name in _DEFAULTS if name != task)
    print(f"\n`homeostat fit --task {other} --help` lists the options of fits to {other}")


def start_fit(asked: FitRequest, terminal: Terminal, at_work: list[Path], output: Any, precision: int) -> int:
    """Fit in a new run folder; bad input leaves none behind.

    Args:
        asked: of the command line.
        terminal: for progress.
        at_work: gets the folder, for whoever has to say how to go on.
        output: for the result.
        precision: bits of a number.
    """
    from ..results import BadInputError
    from ..runs import Request, default_folder, erase_if_nothing_done, new_run
    from ..workflow import task_from

    task_from(asked.options).check()
    config = {"task": asked.task, "data": asked.data, **dataclasses.asdict(asked.options)}
    request = Request(
        experiment=FIT,
        scale="",
        seed=asked.seed,
        config=json.loads(json.dumps(config)),
        arguments=[],
        checkpoint_seconds=asked.checkpoint_seconds,
        precision=precision,
    )
    options = asked.options
    path = asked.out or default_folder(request._replace(experiment=f"fit-{options.model}", scale=options.engine))
    with new_run(path, request) as folder:
        at_work.append(path)
        terminal.say(f"run folder: {path}")
        try:
            return _work(folder, asked.data, options, asked.cache, asked.json, terminal, output)
        except BadInputError:
            erase_if_nothing_done(folder)
            raise


def resume_fit(folder: Any, cache: bool, as_json: bool, terminal: Terminal, output: Any) -> int:
    """Go on with a fit that was interrupted.

    Raises:
        CheckpointError: another version of the code started it.
    """
    from ..results import CheckpointError

    config = dict(folder.request.config)
    try:
        kind, data = type(_DEFAULTS[config.pop("task")]), config.pop("data")
        options = kind(**config)
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"Expected the options of a fit in {folder.path}, got others: another version of homeostat started it. Use that "
            f"version, or start a new run."
        ) from error
    return _work(folder, data, options, cache, as_json, terminal, output)


def _work(folder: Any, data: str, options: Any, cache: bool, as_json: bool, terminal: Terminal, output: Any) -> int:
    from ..runs import Experiment, Minutes, compilation_cache, execute, quiet_store
    from ..workflow import fit, task_from

    def run(config: Any, context: Any, *, key: Any) -> None:
        fit(task_from(config), data, context, key=key)

    summary = f"{options.model} with {options.engine} inference on {data}"
    experiment = Experiment(FIT, summary, "", Minutes(0, 0, 0), (), type(options), run)
    with compilation_cache(cache, terminal), quiet_store():
        result = execute(folder, [experiment], {FIT: options}, terminal=terminal)
    return print_fit(result, folder.path, as_json, output)


def print_fit(result: dict[str, Any], path: Path, as_json: bool, output: Any) -> int:
    """The end of a fit on standard output, and its exit status."""
    summary = result["summary"]
    status = 0 if summary.get("failure") is None else FAILED
    if as_json:
        output.write(json.dumps(result, ensure_ascii=False) + "\n")
        output.flush()
        return status
    from rich.console import Console
    from rich.table import Table

    console = Console(file=output, highlight=False)
    table = Table(header_style="bold")
    unit = summary.get("unit", "row")
    table.add_column(f"{summary['rows_of']} {unit}s ({summary['rows']})")
    table.add_column(f"per {unit} on average", justify="right")
    for row in summary_rows(summary, unit):
        table.add_row(*row)
    console.print(table)
    console.print(f"Report: {path / 'report.html'}", soft_wrap=True)
    console.print(f"Next: homeostat evaluate {path} --data TEST-FILE", soft_wrap=True)
    return status


def _bad_input(message: str) -> Exception:
    from ..results import BadInputError

    return BadInputError(message)
