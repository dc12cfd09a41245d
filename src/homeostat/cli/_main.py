"""The command line: reads the command, calls what does the work, and turns failures into sentences and exit statuses.

Exit statuses: 0 all claims hold, 1 a crash, 2 bad input, 3 a claim fails, 4 training stopped because something was not
finite, 130 Ctrl-C. Heavy modules are imported inside
the commands that need them, so that help, listing and the first line of a run come at once.
"""

import errno
import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..experiments import Registry
from ..runs import quiet_runtime, version
from ._commands import compare_command, list_command, report_command, results_command
from ._options import (
    COMMANDS,
    Parser,
    RunOptions,
    add_output_options,
    load,
    print_run_help,
    read_config,
    read_run_options,
)
from ._terminal import Terminal, reserved_output

_DISK = {errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM, errno.EDQUOT, errno.ENOTDIR, errno.EISDIR}


def main(arguments: Sequence[str] | None = None, *, registry: Registry | None = None) -> int:
    """Run one command.

    Args:
        arguments: what follows the program's name; `sys.argv` by default.
        registry: where experiments are found; those of this package by default.

    Returns:
        The exit status.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    quiet_runtime()
    terminal = Terminal()
    at_work: list[Path] = []  # the run folder, once there is one
    try:
        return _dispatch(given, registry or Registry(), terminal, at_work)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except BrokenPipeError:
        # Whoever read standard output has seen enough (`homeostat list | head`).
        sys.stdout = None
        return 0
    except KeyboardInterrupt:
        terminal.say(f"Interrupted. {_how_to_resume(at_work) or 'Nothing was started.'}")
        return 130
    except Exception as error:
        return _failure(error, terminal, at_work)


def _failure(error: Exception, terminal: Terminal, at_work: list[Path]) -> int:
    from ..results import BadInputError, CheckpointError

    if isinstance(error, BadInputError | CheckpointError):
        terminal.error(str(error))
        return 2
    if isinstance(error, OSError) and error.errno in _DISK:
        where = f" {error.filename}" if error.filename else " the run's folder"
        terminal.error(
            f"Expected to be able to write{where}, got '{error.strerror}'. Free some space, or choose a folder that "
            f"you may write to (--out). {_how_to_resume(at_work)}".rstrip()
        )
        return 2
    traceback.print_exception(error, file=sys.stderr)
    terminal.error(
        f"The run crashed with {type(error).__name__}; the traceback stands above. {_how_to_resume(at_work)}"
    )
    return 1


def _how_to_resume(at_work: list[Path]) -> str:
    alive = [path for path in at_work if (path / "config.json").is_file()]
    return f"Finished stages are kept; continue with: homeostat resume {alive[0]}" if alive else ""


def _dispatch(given: list[str], registry: Registry, terminal: Terminal, at_work: list[Path]) -> int:
    command, rest = (given[0], given[1:]) if given else ("--help", [])
    if command in ("-h", "--help"):
        _print_help()
        return 0
    if command == "--version":
        print(f"homeostat {version()}")
        return 0
    commands = {"list": list_command, "report": report_command, "compare": compare_command, "results": results_command}
    if command in commands:
        return commands[command](rest, registry)
    if command == "run":
        return _run(rest, registry, terminal, at_work)
    if command == "resume":
        return _resume(rest, registry, terminal, at_work)
    if command == "fit":
        return _fit(rest, terminal, at_work)
    if command in ("infer", "sample", "evaluate", "calibrate", "forecast"):
        return _use_fitted(command, rest, terminal)
    import difflib

    from ..results import BadInputError

    near = difflib.get_close_matches(command, COMMANDS, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise BadInputError(
        f"Expected a command, one of {', '.join(COMMANDS)}, got {command!r}.{hint} `homeostat --help` explains them."
    )


def _print_help() -> None:
    print("usage: homeostat COMMAND ...\n\nLearned feedback and feedforward perception and control.\n\ncommands:")
    for name, what in COMMANDS.items():
        print(f"  {name:9s} {what}")
    print("\n  --version print the version\n  --help    print this message\n")
    print("`homeostat COMMAND --help` explains a command; `homeostat run ID --help` an experiment's options.")


def _run(arguments: list[str], registry: Registry, terminal: Terminal, at_work: list[Path]) -> int:
    options = read_run_options(arguments, registry)
    if options.help and not options.id:
        from ._options import run_parser

        print(run_parser().format_help())
        return 0
    found = registry.find(options.id)
    if options.help:
        print_run_help(options.id, load(registry, options.id), options.scale)
        return 0
    minutes = sum(getattr(summary.minutes, options.scale) for summary in found)
    # Before JAX, which takes seconds to import: something should be seen at once.
    terminal.say(
        f"homeostat {version()}: {options.id} at {options.scale}, seed {options.seed}; about {_about(minutes)}"
    )
    with reserved_output(options.json) as output:
        return _start(options, registry, terminal, at_work, output)


def _about(minutes: float | int) -> str:
    return f"{60 * minutes:.0f} s" if minutes < 2 else f"{minutes:g} min"


def _start(options: RunOptions, registry: Registry, terminal: Terminal, at_work: list[Path], output: Any) -> int:
    from ..results import BadInputError
    from ..runs import Request, config_json, default_folder, erase_if_nothing_done, new_run

    experiments = load(registry, options.id)
    configs = read_config(options.id, experiments, options.scale, options.rest)
    alone = len(experiments) == 1 and experiments[0].id == options.id
    plain = {name: config_json(config) for name, config in configs.items()}
    request = Request(
        experiment=options.id,
        scale=options.scale,
        seed=options.seed,
        config=plain[experiments[0].name] if alone else plain,
        arguments=options.rest,
        checkpoint_seconds=options.checkpoint_seconds,
        precision=_precision(),
    )
    path = options.out or default_folder(request)
    with new_run(path, request) as folder:
        at_work.append(path)
        terminal.say(f"run folder: {path}")
        try:
            return _work(folder, experiments, configs, options.cache, options.json, terminal, output)
        except BadInputError:
            erase_if_nothing_done(folder)
            raise


def _fit(arguments: list[str], terminal: Terminal, at_work: list[Path]) -> int:
    from ._fit import read_fit_options, start_fit

    asked = read_fit_options(arguments)
    if asked is None:
        return 0
    options = asked.options
    terminal.say(f"homeostat {version()}: fit {options.model} with {options.engine} to {asked.task}, seed {asked.seed}")
    with reserved_output(asked.json) as output:
        return start_fit(asked, terminal, at_work, output, _precision())


def _use_fitted(command: str, arguments: list[str], terminal: Terminal) -> int:
    """Commands on a fitted run, which is read and left as it is."""
    from ._fitted import read_fitted_options, use_fitted

    options = read_fitted_options(command, arguments)
    terminal.say(f"homeostat {version()}: {command} with {options.run}")
    with reserved_output(options.json) as output:
        from ..runs import compilation_cache, quiet_store

        with compilation_cache(not options.no_cache, terminal), quiet_store():
            return use_fitted(command, options, terminal, output)


def _precision() -> int:
    """Bits of the default floating-point type."""
    import jax.numpy as jnp

    return jnp.finfo(jnp.result_type(float)).bits


def _resume(arguments: list[str], registry: Registry, terminal: Terminal, at_work: list[Path]) -> int:
    parser = Parser(prog="homeostat resume", description=COMMANDS["resume"], allow_abbrev=False)
    parser.add_argument("run", metavar="RUN", type=Path, help="the folder of a run")
    add_output_options(parser)
    options = parser.parse_args(arguments)
    terminal.say(f"homeostat {version()}: resuming {options.run}")
    if (options.run / "result.json").is_file():
        from ..runs import read_result

        terminal.say("This run is finished; here is its result.")
        result = read_result(options.run)
        if "summary" in result:
            from ._fit import print_fit

            return print_fit(result, options.run, options.json, sys.stdout)
        return _print_result(result, options.run, options.json, sys.stdout)
    with reserved_output(options.json) as output:
        from ..results import BadInputError, CheckpointError
        from ..runs import config_json, existing_run

        with existing_run(options.run) as folder:
            request = folder.request
            at_work.append(options.run)
            precision = _precision()
            if precision != request.precision:
                raise BadInputError(
                    f"Expected {request.precision}-bit numbers, with which the run was started, got {precision}-bit. "
                    f"Set JAX_ENABLE_X64={int(request.precision == 64)} and resume again."
                )
            if not request.scale:
                from ._fit import resume_fit

                return resume_fit(folder, not options.no_cache, options.json, terminal, output)
            experiments = load(registry, request.experiment)
            configs = read_config(request.experiment, experiments, request.scale, request.arguments)
            plain = {name: config_json(config) for name, config in configs.items()}
            if request.config not in (plain, plain[experiments[0].name]):
                raise CheckpointError(
                    f"Expected the configuration that {options.run} was started with, got other defaults: the "
                    "experiment's code has changed since. Use the version that started the run, or start a new one."
                )
            return _work(folder, experiments, configs, not options.no_cache, options.json, terminal, output)


def _work(
    folder: Any, experiments: Any, configs: Any, cache: bool, as_json: bool, terminal: Terminal, output: Any
) -> int:
    from ..runs import compilation_cache, execute, quiet_store

    with compilation_cache(cache, terminal), quiet_store():
        result = execute(folder, experiments, configs, terminal=terminal)
    return _print_result(result, folder.path, as_json, output)


def _print_result(result: dict[str, Any], path: Path, as_json: bool, output: Any) -> int:
    from ..runs import exit_status

    if as_json:
        output.write(json.dumps(result, ensure_ascii=False) + "\n")
        output.flush()
        return exit_status(result)
    from rich.console import Console
    from rich.table import Table

    from ..viz import format_value

    table = Table(header_style="bold")
    for name in ("", "claim", "measured", "unit", "expected"):
        table.add_column(name, justify="right" if name in ("measured", "expected") else "left", overflow="fold")
    for claim in result["claims"]:
        mark, style = ("holds", "green") if claim["passed"] else ("FAILS", "bold red")
        words = f"{claim['metric']} ({claim['id']})"
        value = format_value(claim["value"], claim["stderr"])
        table.add_row(f"[{style}]{mark}[/]", words, value, claim["unit"], claim["expected"])
    console = Console(file=output, highlight=False)
    console.print(table)
    passed = sum(claim["passed"] for claim in result["claims"])
    console.print(f"{passed} of {len(result['claims'])} claims hold. Report: {path / 'report.html'}", soft_wrap=True)
    return exit_status(result)
