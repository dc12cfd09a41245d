"""`homeostat fit`, and how `homeostat resume` goes on with one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ..workflow import RowsOptions, SequencesOptions
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
from ._summary import summary_rows
from ._terminal import Terminal

FAILED = 4
"""Exit status of a fit whose training had to stop because something was not finite."""

_COMMAND = "homeostat fit"


class FitOptions(NamedTuple):
    """What stands on the command line of `homeostat fit`, to rows or to sequences.

    Attributes:
        data: the rows or sequences, an absolute path with `:name` where an archive holds several arrays.
        seed: the random seed.
        out: the run's folder, or None for one under `runs/`.
        json: whether standard output is kept for the result.
        cache: whether compiled programs are kept between processes.
        checkpoint_seconds: least time between two checkpoints.
        config: everything else.
    """

    data: str
    seed: int
    out: Path | None
    json: bool
    cache: bool
    checkpoint_seconds: float
    config: RowsOptions | SequencesOptions


class FitKind(NamedTuple):
    """What differs between a fit to rows and one to sequences, for the command line.

    Attributes:
        name: in messages.
        usage: of the command.
        description: of the command.
        data: what `--data` takes.
        missing: the message where there is no `--data`.
        default: the options with their defaults.
    """

    name: str
    usage: str
    description: str
    data: str
    missing: str
    default: RowsOptions | SequencesOptions


ROWS = FitKind(
    "fit",
    "homeostat fit --data FILE[:name] [options] [options of the model, the engine and the training]",
    "Fit a generative model with an inference engine to rows of data, and keep the model as a run.",
    "rows: .npy, .npz (FILE.npz:NAME if it holds several arrays), .csv, or a folder of images",
    "Expected rows to fit to, got no --data: name a .npy, .npz or .csv file, or a folder of images.",
    RowsOptions(),
)


def fit_parser(kind: FitKind) -> Parser:
    """Our own options of `homeostat fit`."""
    parser = Parser(
        prog=_COMMAND, usage=kind.usage, description=kind.description, allow_abbrev=False, add_help=False
    )  # fmt: skip
    parser.add_argument("--data", metavar="FILE", help=kind.data)
    add_seed_option(parser)
    parser.add_argument("--out", metavar="RUN", help="the run's folder (default: runs/fit-MODEL-ENGINE-seedN-TIME)")
    add_output_options(parser)
    add_checkpoint_options(parser)
    return parser


def print_fit_help(kind: FitKind) -> None:
    """All options with their units and defaults."""
    print(fit_parser(kind).format_help())
    print_fields(type(kind.default), kind.default, _COMMAND)
    print(
        "\nexit status: 0 fitted; 1 a crash; 2 bad input; 4 training stopped because something was not finite (the model from "
        "before is kept); 130 Ctrl-C (a checkpoint is kept)"
    )


def read_fit_options(arguments: list[str], kind: FitKind) -> FitOptions | None:
    """The options, or None where help is asked for.

    Raises:
        BadInputError: an option is unknown, missing or has an unusable value.
    """
    parser = fit_parser(kind)
    found, rest = parser.parse_known_args(arguments)
    if found.help:
        return None
    config, unknown = read_fields(type(kind.default), kind.default, rest, _COMMAND)
    if unknown:
        own = [name for action in parser._actions for name in action.option_strings if name.startswith("--")]
        names = [*own, *(f"--{name}" for name in option_names(kind.default))]
        raise unknown_option(kind.name, _COMMAND, unknown[0], names)
    if not found.data:
        from ..results import BadInputError

        raise BadInputError(kind.missing)
    return FitOptions(
        data=str(Path(found.data).absolute()),
        seed=seed_from(found.seed),
        out=None if found.out is None else Path(found.out),
        json=found.json,
        cache=not found.no_cache,
        checkpoint_seconds=seconds_from(found.checkpoint_seconds),
        config=config,
    )


def start_fit(options: FitOptions, terminal: Terminal, at_work: list[Path], output: Any, precision: int) -> int:
    """Fit to rows in a new run folder."""
    from ..workflow import check_rows_options
    from ._fit import FitRequest
    from ._fitted import FIT

    assert isinstance(options.config, RowsOptions)
    check_rows_options(options.config)
    fit = FitRequest(options.data, options.config)
    return start_run(options, fit, FIT, _work, terminal, at_work, output, precision)


def start_run(
    options: FitOptions,
    fit: Any,
    experiment: str,
    work: Callable[[Any, Any, bool, bool, Terminal, Any], int],
    terminal: Terminal,
    at_work: list[Path],
    output: Any,
    precision: int,
) -> int:
    """A new run folder, in which `work` fits; bad input leaves none behind.

    Args:
        options: of the command.
        fit: what is fitted, with a method `plain`.
        experiment: what stands in the place of an experiment's id.
        work: takes the folder, the fit, whether programs are kept, whether the result is printed as JSON, terminal and output.
        terminal: for progress.
        at_work: gets the folder, for whoever has to say how to go on.
        output: for the result.
        precision: bits of a number.
    """
    from ..results import BadInputError
    from ._folder import Request, default_folder, erase_if_nothing_done, new_run

    request = Request(
        experiment=experiment,
        scale="",
        seed=options.seed,
        config=json.loads(json.dumps(fit.plain())),
        arguments=[],
        checkpoint_seconds=options.checkpoint_seconds,
        precision=precision,
    )
    named = request._replace(experiment=f"fit-{options.config.model}", scale=options.config.engine)
    path = options.out or default_folder(named)
    with new_run(path, request) as folder:
        at_work.append(path)
        terminal.say(f"run folder: {path}")
        try:
            return work(folder, fit, options.cache, options.json, terminal, output)
        except BadInputError:
            erase_if_nothing_done(folder)
            raise


def resume_fit(folder: Any, cache: bool, as_json: bool, terminal: Terminal, output: Any) -> int:
    """Go on with a fit that was interrupted."""
    from ._fit import FitRequest
    from ._fitted import split_config

    fit = stored_fit(folder, lambda content: FitRequest(*split_config(content)))
    return _work(folder, fit, cache, as_json, terminal, output)


def stored_fit(folder: Any, read: Callable[[dict[str, Any]], Any]) -> Any:
    """What a run fits, read from its configuration.

    Raises:
        CheckpointError: another version of the code wrote it.
    """
    from ..results import CheckpointError

    try:
        return read(folder.request.config)
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"Expected the options of a fit in {folder.path}, got others: another version of homeostat started it. Use that "
            f"version, or start a new run."
        ) from error


def _work(folder: Any, fit: Any, cache: bool, as_json: bool, terminal: Terminal, output: Any) -> int:
    from ._fit import fit_experiment
    from ._machine import compilation_cache, quiet_store
    from ._run import execute

    with compilation_cache(cache, terminal), quiet_store():
        result = execute(folder, [fit_experiment(fit)], {"fit": fit}, terminal=terminal)
    return print_fit(result, folder.path, as_json, output)


def print_fit(result: dict[str, Any], path: Path, as_json: bool, output: Any) -> int:
    """The end of a fit to rows on standard output, and its exit status."""
    return print_end(result, path, as_json, output, "rows", "per row on average", summary_rows)


def print_end(
    result: dict[str, Any],
    path: Path,
    as_json: bool,
    output: Any,
    units: str,
    averages: str,
    lines: Callable[[dict[str, Any]], list[tuple[str, str]]],
) -> int:
    """The end of a fit on standard output, and its exit status.

    Args:
        result: of the run.
        path: its folder.
        as_json: print one line of JSON instead.
        output: where to.
        units: what was fitted to, in the plural.
        averages: head of the column of numbers.
        lines: what the summary says, in words and numbers.
    """
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
    table.add_column(f"{summary['rows_of']} {units} ({summary['rows']})")
    table.add_column(averages, justify="right")
    for row in lines(summary):
        table.add_row(*row)
    console.print(table)
    console.print(f"Report: {path / 'report.html'}", soft_wrap=True)
    console.print(f"Next: homeostat evaluate {path} --data TEST-FILE", soft_wrap=True)
    return status
