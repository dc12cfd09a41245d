"""The command line: reads the command, calls what does the work, and turns failures into sentences and exit statuses.

Exit statuses: 0 all claims hold, 1 a crash, 2 bad input, 3 a claim fails, 4 training stopped because something was not
finite, 130 Ctrl-C. Heavy modules are imported inside the commands that need them, so that help, listing and the first line of
a run come at once.
"""

import errno
import functools
import importlib
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from ..experiments import Registry
from ..runs import quiet_runtime, version
from ._terminal import Terminal

COMMANDS = {
    "list": ("_commands", "show experiments and groups, their sources, scales and expected minutes"),
    "run": ("_run", "run an experiment or a group and check its claims"),
    "fit": ("_fit", "fit a model with an inference engine to your own rows of data"),
    "train": ("_train", "train an agent in an environment of Gymnasium or of this library"),
    "infer": ("_fitted", "posterior and bound of each row of new data, with a fitted model"),
    "sample": ("_fitted", "draw rows from a fitted model"),
    "evaluate": ("_evaluate", "how well a fitted model does on new data, or a trained agent in new episodes"),
    "forecast": ("_fitted", "mean and quantiles of how sequences go on, with a model fitted to sequences"),
    "calibrate": ("_fitted", "simulation-based calibration of a fitted model with its engine"),
    "resume": ("_run", "continue a run that was interrupted or killed"),
    "report": ("_commands", "rebuild the report of a run, or combine several runs in one"),
    "compare": ("_commands", "show two runs side by side"),
    "results": ("_commands", "merge runs of several seeds into one file with means and standard errors"),
}
"""Of every command the module it is in, and what it does."""

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
        print("usage: homeostat COMMAND ...\n\nLearned feedback and feedforward perception and control.\n\ncommands:")
        for name, (_, what) in COMMANDS.items():
            print(f"  {name:9s} {what}")
        print("\n  --version print the version\n  --help    print this message\n")
        print("`homeostat COMMAND --help` explains a command; `homeostat run ID --help` an experiment's options.")
        return 0
    if command == "--version":
        print(f"homeostat {version()}")
        return 0
    if command in COMMANDS:
        from ._options import Session

        return _function(command)(rest, Session(registry, terminal, at_work))
    import difflib

    from ..results import BadInputError

    near = difflib.get_close_matches(command, COMMANDS, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise BadInputError(
        f"Expected a command, one of {', '.join(COMMANDS)}, got {command!r}.{hint} `homeostat --help` explains them."
    )


def _function(command: str) -> Callable[..., int]:
    module = importlib.import_module(f".{COMMANDS[command][0]}", __package__)
    return getattr(module, f"{command}_command", None) or functools.partial(module.fitted_command, command)
