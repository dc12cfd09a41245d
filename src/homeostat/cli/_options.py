"""Options of the command line: dataclasses that tyro reads; mistakes are sentences."""

import ast
import contextlib
import dataclasses
import difflib
import inspect
import io
import itertools
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import tyro

from ..experiments import Registry
from ._terminal import Terminal

Options = TypeVar("Options")
Run = tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="RUN")]]
Runs = tyro.conf.Positional[Annotated[tuple[Path, ...], tyro.conf.arg(metavar="RUN...")]]
Force = Annotated[bool, tyro.conf.arg(help="Replace what --out names, in one step once the new results are there.")]


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


def print_options(kind: Any, command: str, default: Any = None, *, markers: Sequence[Any] | None = None) -> None:
    """Help on the fields of a dataclass, with their units and defaults; of a configuration without a line of usage.

    Args:
        markers: of tyro, that say how options are read; those of `read_options` if left out.
    """
    output, how = io.StringIO(), _how(default) if markers is None else {"config": markers}
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(output):
        tyro.cli(kind, args=["--help"], prog=command, **how)
    text = output.getvalue()
    if default is not None:
        text = text.partition("\n\n")[2] or text
    lines = [line.rstrip() for line in text.splitlines() if "-h, --help" not in line and "show this help" not in line]
    # Without the help on help its group is empty where all options stand in others.
    print(re.sub(r"\n options\n -+\n(?=\n)", "", "\n".join(lines)).strip("\n"))


def print_in_groups(parts: Sequence[Any], groups: Mapping[str, Sequence[str]], rest: str, command: str) -> None:
    """One help text on several dataclasses, whose options stand in groups.

    Args:
        parts: instances with the default values; the first says what the command does. Its switches are single, those of the
            others are pairs such as `--grey` and `--no-grey`.
        groups: names of fields by the title of their group; names that no part has are passed over.
        rest: title of the group of all other fields.
    """
    found: dict[str, tuple[str, Any, Any]] = {}
    for part in parts:
        words = _field_words(type(part))
        single = (tyro.conf.FlagCreatePairsOff,) if part is parts[0] else ()
        for field in dataclasses.fields(part):
            help = (tyro.conf.arg(help=words[field.name]),) if field.name in words else ()
            kind = Annotated[(field.type, *single, *help)] if single or help else field.type
            found[field.name] = field.name, kind, dataclasses.field(default=getattr(part, field.name))
    named = {title: [name for name in names if name in found] for title, names in groups.items()}
    grouped = {name for names in named.values() for name in names}
    named[rest] = [name for name in found if name not in grouped]
    fields = []
    for title, names in named.items():
        group = dataclasses.make_dataclass(title, [found[name] for name in names], frozen=True)
        group.__doc__ = " "  # tyro would show the signature.
        fields.append((title, group, dataclasses.field(default=group())))
    everything = dataclasses.make_dataclass("Everything", fields, frozen=True)
    everything.__doc__ = type(parts[0]).__doc__
    print_options(everything, command, markers=(tyro.conf.OmitArgPrefixes,))


def _field_words(kind: type) -> dict[str, str]:
    """The sentences below the fields of a dataclass, which stand in its source only."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0]
        lines = body.body if isinstance(body, ast.ClassDef) else []
        for field, words in itertools.pairwise(lines):
            if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
                continue
            if isinstance(words, ast.Expr) and isinstance(words.value, ast.Constant):
                found[field.target.id] = " ".join(str(words.value.value).split())
    return found


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


def require_free(path: Path, force: bool) -> None:
    """Refuse to write where something stands, unless it is a file and may be replaced."""
    if path.is_dir():
        raise bad_input(f"Expected a file for --out, got {path}, which is a folder: choose another name.")
    if path.exists() and not force:
        raise bad_input(
            f"Expected a new file for --out, got {path}, which exists: choose another name, or say --force to replace it."
        )


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
