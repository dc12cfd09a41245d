"""Options of the command line: dataclasses that tyro reads; mistakes are sentences."""

import contextlib
import dataclasses
import difflib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import tyro

from ..experiments import Registry
from ._terminal import Terminal

Options = TypeVar("Options")
Run = tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="RUN")]]
Runs = tyro.conf.Positional[Annotated[tuple[Path, ...], tyro.conf.arg(metavar="RUN...")]]


class Session(NamedTuple):
    """What every command gets.

    Attributes:
        registry: where experiments are found.
        terminal: for progress.
        at_work: gets the folder of a run, for whoever has to say how to go on.
    """

    registry: Registry
    terminal: Terminal
    at_work: list[Path]


@dataclass(frozen=True, kw_only=True)
class AbstractRunOptions:
    """Options of commands that work on a run."""

    json: bool = False
    """Print the result as one line of JSON, and nothing else."""
    no_cache: bool = False
    """Do not keep compiled programs between processes."""


@dataclass(frozen=True, kw_only=True)
class AbstractNewRunOptions(AbstractRunOptions):
    """Options of commands that start a run."""

    seed: int = 0
    """Random seed, 0 to 4294967295."""
    out: Path | None = None
    """The run's folder, new or empty; by default one under runs/."""
    checkpoint_seconds: float = 10.0
    """Least time between two checkpoints of a loop; 0: after every segment (seconds)."""


def read_options(
    kind: type[Options] | Any, arguments: Sequence[str], command: str, *, default: Any = None, known_only: bool = False
) -> tuple[Options, list[str]]:
    """A dataclass from options, one for each of its fields, and the arguments that are none.

    Args:
        default: values of a configuration, whose switches are pairs such as `--grey` and `--no-grey`.
        known_only: whether other arguments are left for somebody else; otherwise they are refused.

    Raises:
        BadInputError: an option is unknown, missing or has an unusable value.
        SystemExit: help was asked for, and printed.
    """
    output = io.StringIO()
    try:
        with contextlib.redirect_stderr(output), contextlib.redirect_stdout(output):
            found, rest = tyro.cli(
                kind, args=[*arguments], prog=command, return_unknown_args=True, use_underscores=False, **_how(default)
            )
    except SystemExit as end:
        if not end.code:
            print(output.getvalue().rstrip())
            raise
        raise bad_input(
            f"Expected options as `{command} --help` describes them, got {' '.join(arguments)!r}: "
            f"{_message(output.getvalue())} Correct the value."
        ) from end
    if rest and not known_only:
        raise unknown_option(command, command, rest[0], option_names(kind))
    _check(found)
    return found, rest


def print_options(kind: Any, command: str, default: Any = None) -> None:
    """Help on the fields of a dataclass, with their units and defaults; of a configuration without a line of usage."""
    output = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(output):
        tyro.cli(kind, args=["--help"], prog=command, **_how(default))
    text = output.getvalue()
    if default is not None:
        text = text.partition("\n\n")[2] or text
    lines = [line.rstrip() for line in text.splitlines() if "-h, --help" not in line and "show this help" not in line]
    print("\n".join(lines).strip("\n"))


def unknown_option(what: str, command: str, option: str, names: list[str]) -> Exception:
    """The sentence about an option that is none, with the nearest names."""
    given = option.partition("=")[0]
    near = difflib.get_close_matches(given, names, n=3, cutoff=0.65)
    near += [name for name in names if given.strip("-") and name.endswith(given.lstrip("-"))]
    hint = f"Did you mean {' or '.join(dict.fromkeys(near))}?" if near else f"There are: {', '.join(names)}."
    return bad_input(f"Expected an option of {what}, got {given!r}. {hint} `{command} --help` explains them.")


def option_names(config: Any, prefix: str = "--") -> list[str]:
    """Names of the options of a dataclass or a configuration, nested ones behind dots."""
    names = []
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name, None), prefix + field.name.replace("_", "-")
        if dataclasses.is_dataclass(value):
            names += option_names(value, f"{name}.")
        elif not callable(value):
            names.append(name)
    return names


def bad_input(message: str) -> Exception:
    """The error of a mistake on the command line."""
    # The module of exceptions brings JAX, a second that help and listing do without.
    from ..results import BadInputError

    return BadInputError(message)


def _how(default: Any) -> dict[str, Any]:
    if default is None:
        return {"config": (tyro.conf.FlagCreatePairsOff,)}
    # Fields that no text can give, such as a nonlinearity among the sizes of a model, are left out.
    return {"default": default, "config": (tyro.conf.SuppressFixed,)}


def _check(found: Any) -> None:
    """Refuse a seed or seconds out of range."""
    seed, seconds = getattr(found, "seed", 0), getattr(found, "checkpoint_seconds", 0.0)
    if not 0 <= seed < 2**32:
        raise bad_input(f"Expected a seed from 0 to {2**32 - 1}, got '{seed}'. Choose one in that range.")
    if not 0 <= seconds < math.inf:
        raise bad_input(f"Expected seconds between checkpoints, 0 or more, got '{seconds}'. Choose such a number.")


def _message(boxed: str) -> str:
    """What tyro says, without the box it draws around it."""
    lines = [line.strip("│╭╮╰╯─ ") if line.strip("│ -─").strip() else "" for line in boxed.splitlines()]
    words = [line for line in lines if line]
    # The first line is a heading; the help text of the option at the end is a command away.
    end = next(
        (i for i, line in enumerate(words) if line.startswith(("Argument helptext", "For full helptext"))), len(words)
    )
    return " ".join(words[1:end]).rstrip(".") + "."
