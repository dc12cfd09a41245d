"""Options of the commands on sequences, and how a command knows that it is about sequences."""

import argparse
import json
import zipfile
from pathlib import Path
from typing import NamedTuple

from ..presets import SEQUENCE_MODELS, SequenceFitConfig
from ._fitted_options import _positive, _two
from ._options import (
    COMMANDS,
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

SEQUENCE_FIT = "fit-sequences"
"""What stands in the place of an experiment's id in a run on sequences."""

_COMMAND = "homeostat fit"
_SUFFIXES = {".wav", ".sph", ".mid", ".midi", ".mp4", ".avi", ".mkv", ".webm", ".mov", ".gif", ".parquet"}
_FORMATS = (
    "sequences: .npz (FILE.npz:NAME) with lengths or mask, .csv or .parquet with columns of sequences and times, .wav, .mid, .mp4, "
    ".gif, or a folder of such files"
)
_QUANTILES = "0.05,0.25,0.5,0.75,0.95"


class SequenceFitOptions(NamedTuple):
    """What stands on the command line of `homeostat fit` on sequences.

    Attributes:
        data: the sequences, an absolute path with `:name` where an archive holds several arrays.
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
    config: SequenceFitConfig


class SequenceOptions(NamedTuple):
    """What stands on the command line of `infer`, `sample`, `evaluate` or `forecast`; fields of the others are empty.

    Attributes:
        run: the fitted run.
        json: whether standard output is kept for the result.
        no_cache: whether compiled programs are not kept between processes.
        seed: of all draws.
        data: new sequences.
        out: the file to write, or None.
        samples: futures of each sequence, or draws of each one-step prediction.
        horizon: steps to forecast, or of each drawn sequence.
        number: sequences to draw.
        quantiles: probabilities of the quantiles.
        actions: file of the known inputs of forecasts or samples, or None.
    """

    run: Path
    json: bool
    no_cache: bool
    seed: int
    data: str = ""
    out: Path | None = None
    samples: int = 0
    horizon: int = 0
    number: int = 0
    quantiles: tuple[float, ...] = ()
    actions: Path | None = None


def about_sequences(arguments: list[str]) -> bool:
    """Whether the arguments of `homeostat fit` are about sequences: by the model, a column of sequences, or the data's kind."""
    values = _values(arguments)
    if values.get("--model") in SEQUENCE_MODELS or "--sequence-column" in values or "--time-column" in values:
        return True
    data = values.get("--data", "")
    file = Path(data if Path(data).exists() else data.rpartition(":")[0] or data)
    if file.is_dir():
        return any(found.suffix.lower() in _SUFFIXES - {".gif"} for found in file.rglob("*"))
    if file.suffix.lower() == ".npz" and file.is_file() and zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            return bool({"lengths.npy", "mask.npy"} & set(archive.namelist()))
    return file.suffix.lower() in _SUFFIXES


def _values(arguments: list[str]) -> dict[str, str]:
    """Options with their values, written as two words or with an equals sign."""
    found = {}
    for place, argument in enumerate(arguments):
        name, mark, value = argument.partition("=")
        found[name] = value if mark else " ".join(arguments[place + 1 : place + 2])
    return found


def names_sequence_run(arguments: list[str]) -> bool:
    """Whether a word of a command is the folder of a run on sequences."""
    return any(not word.startswith("-") and _is_sequence_run(Path(word)) for word in arguments)


def _is_sequence_run(path: Path) -> bool:
    try:
        return json.loads((path / "config.json").read_text(encoding="utf-8")).get("experiment") == SEQUENCE_FIT
    except (OSError, ValueError, AttributeError):
        # What is wrong with the folder is said by who reads it in earnest.
        return False


def sequence_fit_parser() -> Parser:
    """Our own options of `homeostat fit` on sequences."""
    parser = Parser(
        prog=_COMMAND,
        usage="homeostat fit --data FILE [options] [options of the model, the filter and the training]",
        description="Fit a sequential model with a filter to sequences, and keep the model as a run.",
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("--data", metavar="FILE", help=_FORMATS)
    add_seed_option(parser)
    parser.add_argument("--out", metavar="RUN", help="the run's folder (default: runs/fit-MODEL-ENGINE-seedN-TIME)")
    add_output_options(parser)
    add_checkpoint_options(parser)
    return parser


def print_sequence_fit_help() -> None:
    """All options with their units and defaults."""
    print(sequence_fit_parser().format_help())
    print_fields(SequenceFitConfig, SequenceFitConfig(), _COMMAND)


def read_sequence_fit_options(arguments: list[str]) -> SequenceFitOptions | None:
    """The options, or None where help is asked for.

    Raises:
        BadInputError: an option is unknown, missing or has an unusable value.
    """
    found, rest = sequence_fit_parser().parse_known_args(arguments)
    if found.help:
        return None
    config, unknown = read_fields(SequenceFitConfig, SequenceFitConfig(), rest, _COMMAND)
    if unknown:
        own = [name for action in sequence_fit_parser()._actions for name in action.option_strings if name[:2] == "--"]
        names = [*own, *(f"--{name}" for name in option_names(SequenceFitConfig()))]
        raise unknown_option("fit on sequences", _COMMAND, unknown[0], names)
    if not found.data:
        from ..results import BadInputError

        raise BadInputError(f"Expected sequences to fit to, got no --data: name {_FORMATS}.")
    return SequenceFitOptions(
        data=str(Path(found.data).absolute()),
        seed=seed_from(found.seed),
        out=None if found.out is None else Path(found.out),
        json=found.json,
        cache=not found.no_cache,
        checkpoint_seconds=seconds_from(found.checkpoint_seconds),
        config=config,
    )


def read_sequence_options(command: str, arguments: list[str]) -> SequenceOptions:
    """Read the options of one command on a fitted run.

    Raises:
        BadInputError: one is unknown, missing or has an unusable value.
    """
    found = vars(sequence_parser(command).parse_args(arguments))
    found["seed"] = seed_from(found["seed"])
    return SequenceOptions(**found)


def sequence_parser(command: str) -> Parser:
    """The parser of one command."""
    parser = Parser(prog=f"homeostat {command}", description=f"{COMMANDS[command].capitalize()}.", allow_abbrev=False)
    parser.add_argument("run", metavar="RUN", type=Path, help="the folder of a run of `homeostat fit` on sequences")
    if command != "sample":
        parser.add_argument("--data", metavar="FILE", required=True, help=_FORMATS)
    parser.add_argument(
        "--out", metavar="FILE.npz", type=Path, required=command != "evaluate", help="results, a new file"
    )
    if command == "evaluate":
        parser.add_argument(
            "--samples", metavar="N", type=_two, default=100, help="draws of each one-step prediction (default: 100)"
        )
    if command == "forecast":
        parser.add_argument("--horizon", metavar="K", type=_positive, default=10, help="steps ahead (default: 10)")
        parser.add_argument(
            "--samples", metavar="N", type=_two, default=1_000, help="futures of each sequence (default: 1000)"
        )
        parser.add_argument(
            "--quantiles", metavar="P,P,...", type=_probabilities, default=_QUANTILES, help=f"default: {_QUANTILES}"
        )
    if command == "sample":
        parser.add_argument("--horizon", metavar="K", type=_two, default=100, help="steps of each (default: 100)")
        parser.add_argument("--number", metavar="N", type=_positive, default=16, help="sequences (default: 16)")
    if command in ("forecast", "sample"):
        parser.add_argument(
            "--actions",
            metavar="FILE.npy",
            type=Path,
            help="known inputs, where the model has any: (sequences, steps, inputs), one a step to come",
        )
    add_seed_option(parser)
    add_output_options(parser)
    return parser


def _probabilities(text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or any(not 0.0 <= value <= 1.0 for value in found):
        raise argparse.ArgumentTypeError(f"expected numbers from 0 to 1 joined by commas, got {text!r}")
    return found
