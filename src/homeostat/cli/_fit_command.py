"""`homeostat fit`, and how `homeostat resume` goes on with one."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from ..presets import FitConfig
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
    """What stands on the command line of `homeostat fit`.

    Attributes:
        data: the rows, an absolute path with `:name` where an archive holds several arrays.
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
    config: FitConfig


def fit_parser() -> Parser:
    """Our own options of `homeostat fit`."""
    parser = Parser(
        prog=_COMMAND,
        usage="homeostat fit --data FILE[:name] [options] [options of the model, the engine and the training]",
        description="Fit a generative model with an inference engine to rows of data, and keep the model as a run.",
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument(
        "--data",
        metavar="FILE",
        help="rows: .npy, .npz (FILE.npz:NAME if it holds several arrays), .csv, or a folder of images",
    )
    add_seed_option(parser)
    parser.add_argument("--out", metavar="RUN", help="the run's folder (default: runs/fit-MODEL-ENGINE-seedN-TIME)")
    add_output_options(parser)
    add_checkpoint_options(parser)
    return parser


def print_fit_help() -> None:
    """All options with their units and defaults."""
    print(fit_parser().format_help())
    print_fields(FitConfig, FitConfig(), _COMMAND)
    print(
        "\nexit status: 0 fitted; 1 a crash; 2 bad input; 4 training stopped because something was not finite (the model from "
        "before is kept); 130 Ctrl-C (a checkpoint is kept)"
    )


def read_fit_options(arguments: list[str]) -> FitOptions | None:
    """The options, or None where help is asked for.

    Raises:
        BadInputError: an option is unknown, missing or has an unusable value.
    """
    found, rest = fit_parser().parse_known_args(arguments)
    if found.help:
        return None
    config, unknown = read_fields(FitConfig, FitConfig(), rest, _COMMAND)
    if unknown:
        own = [name for action in fit_parser()._actions for name in action.option_strings if name.startswith("--")]
        names = [*own, *(f"--{name}" for name in option_names(FitConfig()))]
        raise unknown_option("fit", _COMMAND, unknown[0], names)
    if not found.data:
        from ..results import BadInputError

        raise BadInputError(
            "Expected rows to fit to, got no --data: name a .npy, .npz or .csv file, or a folder of images."
        )
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
    """Fit in a new run folder."""
    from ..presets import check_config
    from ..results import BadInputError
    from ._fit import FitRequest
    from ._fitted import FIT
    from ._folder import Request, default_folder, erase_if_nothing_done, new_run

    check_config(options.config)
    fit = FitRequest(options.data, options.config)
    request = Request(
        experiment=FIT,
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
            return _work(folder, fit, options.cache, options.json, terminal, output)
        except BadInputError:
            erase_if_nothing_done(folder)
            raise


def resume_fit(folder: Any, cache: bool, as_json: bool, terminal: Terminal, output: Any) -> int:
    """Go on with a fit that was interrupted."""
    from ..results import CheckpointError
    from ._fit import FitRequest
    from ._fitted import split_config

    try:
        fit = FitRequest(*split_config(folder.request.config))
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"Expected the options of a fit in {folder.path}, got others: another version of homeostat started it. Use that "
            f"version, or start a new run."
        ) from error
    return _work(folder, fit, cache, as_json, terminal, output)


def _work(folder: Any, fit: Any, cache: bool, as_json: bool, terminal: Terminal, output: Any) -> int:
    from ._fit import fit_experiment
    from ._machine import compilation_cache, quiet_store
    from ._run import execute

    with compilation_cache(cache, terminal), quiet_store():
        result = execute(folder, [fit_experiment(fit)], {"fit": fit}, terminal=terminal)
    return print_fit(result, folder.path, as_json, output)


def print_fit(result: dict[str, Any], path: Path, as_json: bool, output: Any) -> int:
    """The end of a fit on standard output."""
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
    table.add_column(f"{summary['rows_of']} rows ({summary['rows']})")
    table.add_column("per row on average", justify="right")
    for row in summary_rows(summary):
        table.add_row(*row)
    console.print(table)
    console.print(f"Report: {path / 'report.html'}", soft_wrap=True)
    console.print(f"Next: homeostat evaluate {path} --data TEST-FILE", soft_wrap=True)
    return status
