"""Options of `homeostat run`: ours, and one for every field of the experiment's configuration."""

import argparse
import contextlib
import dataclasses
import difflib
import io
import sys
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn, final

from ..experiments import Registry, Summary
from ..runs import Experiment, Scale

COMMANDS = {
    "list": "show experiments and groups, their sources, scales and expected minutes",
    "run": "run an experiment or a group and check its claims",
    "fit": "fit a model with an inference engine to your own rows of data",
    "infer": "posterior and bound of each row of new data, with a fitted model",
    "sample": "draw rows from a fitted model",
    "evaluate": "bound and importance-weighted log-likelihood of new data under a fitted model",
    "forecast": "mean and quantiles of how sequences go on, with a model fitted to sequences",
    "calibrate": "simulation-based calibration of a fitted model with its engine",
    "resume": "continue a run that was interrupted or killed",
    "report": "rebuild the report of a run, or combine several runs in one",
    "compare": "show two runs side by side",
    "results": "merge runs of several seeds into one file with means and standard errors",
}
"""Every command and what it does."""


class RunOptions(NamedTuple):
    """What stands on the command line of `homeostat run`.

    Attributes:
        id: experiment or group.
        scale: `smoke`, `small` or `paper`.
        seed: the random seed.
        out: the run's folder, or None for one under `runs/`.
        json: whether standard output is kept for the result.
        cache: whether compiled programs are kept between processes.
        checkpoint_seconds: least time between two checkpoints of a loop.
        rest: the options of the configuration.
        help: whether help is asked for.
    """

    id: str
    scale: str
    seed: int
    out: Path | None
    json: bool
    cache: bool
    checkpoint_seconds: float
    rest: list[str]
    help: bool


@final
class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose mistakes are sentences, raised and not printed."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of leaving the process."""
        raise _bad_input(
            f"Expected what `{self.prog} --help` describes, got something else: {message}. Correct the command line."
        )


def run_parser() -> argparse.ArgumentParser:
    """Our own options of `homeostat run`."""
    parser = Parser(
        prog="homeostat run",
        usage="homeostat run ID [options] [options of the configuration]",
        description="Run ID, an experiment (group/name) or all experiments of a group, and check its claims.",
        epilog="`homeostat run ID --help` adds the options of that experiment's configuration.",
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("--scale", default="small", metavar="{smoke,small,paper}", help="size (default: small)")
    add_seed_option(parser)
    parser.add_argument("--out", metavar="DIR", help="the run's folder (default: runs/ID-SCALE-seedN-TIME)")
    add_output_options(parser)
    add_checkpoint_options(parser)
    return parser


def add_seed_option(parser: argparse.ArgumentParser) -> None:
    """`--seed`."""
    parser.add_argument("--seed", default="0", metavar="INT", help="random seed, 0 to 4294967295 (default: 0)")


def add_checkpoint_options(parser: argparse.ArgumentParser) -> None:
    """`--checkpoint-seconds` and `--help`, which are read by hand where further options follow."""
    parser.add_argument(
        "--checkpoint-seconds",
        default="10",
        metavar="SECONDS",
        help="least time between two checkpoints of a loop (default: 10 s; 0: after every segment)",
    )
    parser.add_argument("-h", "--help", action="store_true", help="show this message and end")


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """`--json` and `--no-cache`, which `run` and `resume` share."""
    parser.add_argument("--json", action="store_true", help="print the result as one line of JSON, and nothing else")
    parser.add_argument("--no-cache", action="store_true", help="do not keep compiled programs between processes")


def read_run_options(arguments: list[str], registry: Registry) -> RunOptions:
    """Read the id and our own options; what they do not know is left to the configuration.

    Raises:
        BadInputError: there is no id, or a value is out of range.
    """
    name, others = _take_id(arguments, registry)
    found, rest = run_parser().parse_known_args(others)
    if not name:
        # A misspelled id behind options; values of options may stand there too, but an id is most likely last.
        words = [argument for argument in rest if not argument.startswith("-")]
        name = words[-1] if words else ""
    if not name and not found.help:
        raise _bad_input("Expected the id of an experiment or a group, got none. `homeostat list` shows all of them.")
    return RunOptions(
        id=name,
        scale=_scale(found.scale),
        seed=seed_from(found.seed),
        out=None if found.out is None else Path(found.out),
        json=found.json,
        cache=not found.no_cache,
        checkpoint_seconds=seconds_from(found.checkpoint_seconds),
        rest=[argument for argument in rest if argument not in ("-h", "--help")],
        help=found.help,
    )


def read_config(id: str, experiments: list[Experiment], scale: str, arguments: list[str]) -> dict[str, Any]:
    """The configuration of each experiment (by name), from the options that are left.

    Raises:
        BadInputError: an option is unknown (the nearest names are suggested) or has an unusable value.
    """
    target, default = _target(id, experiments, scale)
    config, unknown = read_fields(target, default, arguments, f"homeostat run {id}")
    if unknown:
        raise _unknown_option(id, unknown[0], experiments)
    if len(experiments) == 1 and not _is_group(id, experiments):
        return {experiments[0].name: config}
    return {experiment.name: getattr(config, experiment.name) for experiment in experiments}


def read_fields(target: Any, default: Any, arguments: list[str], command: str) -> tuple[Any, list[str]]:
    """A dataclass from options, one for each of its fields, and the arguments that are none.

    Raises:
        BadInputError: an option has an unusable value.
    """
    import tyro

    output = io.StringIO()
    try:
        with contextlib.redirect_stderr(output), contextlib.redirect_stdout(output):
            return tyro.cli(
                target, args=arguments, default=default, prog=command, return_unknown_args=True, use_underscores=False,
                # Fields that no text can give, such as a nonlinearity among the sizes of a model.
                config=(tyro.conf.SuppressFixed,),
            )  # fmt: skip
    except SystemExit as end:
        raise _bad_input(
            f"Expected options as `{command} --help` describes them, got {' '.join(arguments)!r}: "
            f"{_message(output.getvalue())} Correct the value."
        ) from end


def print_fields(target: Any, default: Any, command: str) -> None:
    """Help on the fields of a dataclass, with their units and defaults."""
    import tyro

    output = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(output):
        tyro.cli(target, args=["--help"], default=default, prog=command, config=(tyro.conf.SuppressFixed,))
    # tyro's usage line and its entry for --help repeat what stands above.
    lines = output.getvalue().partition("\n\n")[2].splitlines() or output.getvalue().splitlines()
    print("\n".join(line.rstrip() for line in lines if not line.lstrip("│ ").startswith("-h, --help")).strip("\n"))


def print_run_help(id: str, experiments: list[Experiment], scale: str) -> None:
    """Our options, and the configuration's with their units and defaults at `scale`."""
    parser = run_parser()
    print(parser.format_help().replace(" ID ", f" {id} ", 1).partition("\n`homeostat run ID --help`")[0])
    for experiment in experiments:
        print(f"{experiment.id}: {experiment.summary} ({experiment.source})")
    print(f"\nConfiguration, with the defaults at scale {scale}:\n")
    print_fields(*_target(id, experiments, scale), f"homeostat run {id}")


def load(registry: Registry, id: str) -> list[Experiment]:
    """The experiments an id names, imported."""
    from ..runs import ProtocolError

    found: tuple[Summary, ...] = registry.find(id)
    experiments = [registry.load(summary) for summary in found]
    for scale in Scale:
        ids = [claim.id for experiment in experiments for claim in experiment.asserted(scale)]
        twice = {name for name in ids if ids.count(name) > 1}
        if twice:
            raise ProtocolError(f"Expected claim ids that differ within {id!r}, got {sorted(twice)} more than once.")
    return experiments


def _is_group(id: str, experiments: list[Experiment]) -> bool:
    return all(experiment.id != id for experiment in experiments)


def _target(id: str, experiments: list[Experiment], scale: str) -> tuple[Any, Any]:
    if not _is_group(id, experiments):
        config = experiments[0].config
        return config, config.for_scale(scale)
    # One field for each experiment: --control.num-steps and the like.
    defaults = {experiment.name: experiment.config.for_scale(scale) for experiment in experiments}
    fields = [
        (e.name, Annotated[e.config, e.summary], dataclasses.field(default=defaults[e.name])) for e in experiments
    ]
    group = dataclasses.make_dataclass("Group", fields, frozen=True)
    return group, group(**defaults)


def _take_id(arguments: list[str], registry: Registry) -> tuple[str, list[str]]:
    """The id stands first; behind options it is known by being one, since an option's value could stand there too."""
    if arguments and not arguments[0].startswith("-"):
        return arguments[0], arguments[1:]
    groups = registry.groups()
    ids = {group.id for group in groups} | {e.id for group in groups for e in group.experiments}
    for position, argument in enumerate(arguments):
        if argument in ids:
            return argument, [*arguments[:position], *arguments[position + 1 :]]
    return "", arguments


def _scale(text: str) -> str:
    names = [scale.value for scale in Scale]
    if text not in names:
        near = difflib.get_close_matches(text, names, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise _bad_input(f"Expected a scale, one of {', '.join(names)}, got {text!r}.{hint}")
    return text


def seed_from(text: str) -> int:
    """A seed from its text."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise _bad_input(f"Expected a seed from 0 to {2**32 - 1}, got {text!r}. Choose one in that range.")
    return int(text)


def seconds_from(text: str) -> float:
    """Seconds from their text."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise _bad_input(f"Expected seconds between checkpoints, 0 or more, got {text!r}. Choose such a number.")
    return seconds


def _unknown_option(id: str, option: str, experiments: list[Experiment]) -> Exception:
    own = [name for action in run_parser()._actions for name in action.option_strings if name.startswith("--")]
    prefixes = {e: f"{e.name}." if _is_group(id, experiments) else "" for e in experiments}
    fields = [f"--{prefixes[e]}{name}" for e in experiments for name in option_names(e.config.for_scale("small"))]
    return unknown_option(id, f"homeostat run {id}", option, [*own, *fields])


def unknown_option(what: str, command: str, option: str, names: list[str]) -> Exception:
    """The sentence about an option that is none, with the nearest names."""
    given = option.partition("=")[0]
    near = difflib.get_close_matches(given, names, n=3, cutoff=0.65)
    near += [name for name in names if given.strip("-") and name.endswith(given.lstrip("-"))]
    hint = f"Did you mean {' or '.join(dict.fromkeys(near))}?" if near else f"There are: {', '.join(names)}."
    return _bad_input(f"Expected an option of {what}, got {given!r}. {hint} `{command} --help` explains them.")


def option_names(config: Any, prefix: str = "") -> list[str]:
    """Names of the options of a configuration, nested ones behind dots."""
    names = []
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), prefix + field.name.replace("_", "-")
        if dataclasses.is_dataclass(value):
            names += option_names(value, f"{name}.")
        elif not callable(value):
            names.append(name)
    return names


def _message(boxed: str) -> str:
    """What tyro says, without the box it draws around it."""
    lines = [line.strip("│╭╮╰╯─- ") if line.strip("│ -─").strip() else "" for line in boxed.splitlines()]
    words = [line for line in lines if line]
    # The first line is a heading; the help text of the option at the end is a command away.
    end = next(
        (i for i, line in enumerate(words) if line.startswith(("Argument helptext", "For full helptext"))), len(words)
    )
    return " ".join(words[1:end]).rstrip(".") + "."


def _bad_input(message: str) -> Exception:
    # The module of exceptions brings JAX, a second that help and listing do without.
    if "homeostat.results" not in sys.modules:
        from .. import results as _  # noqa: F401
    from ..results import BadInputError

    return BadInputError(message)
