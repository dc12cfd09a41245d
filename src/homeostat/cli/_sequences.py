"""Options of the commands on sequences, and how a command knows that it is about sequences."""

import argparse
import contextlib
import csv
import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any, NamedTuple, get_args

from ..workflow import SEQUENCE_MODELS, RowsOptions, SequencesOptions
from ..workflow.rows._options import EngineName
from ..workflow.sequences._options import SequenceEngineName
from ._fit_command import FitKind, FitOptions, print_end, read_fit_options
from ._fitted_options import _positive, _two
from ._options import (
    COMMANDS,
    Parser,
    add_output_options,
    add_seed_option,
    option_names,
    seed_from,
)
from ._summary import summary_rows

SEQUENCE_FIT = "fit-sequences"
"""What stands in the place of an experiment's id in a run on sequences."""

_SUFFIXES = {".wav", ".sph", ".mid", ".midi", ".mp4", ".avi", ".mkv", ".webm", ".mov", ".gif", ".parquet"}
_PICTURES = {".png", ".jpg", ".jpeg"}
_FORMATS = (
    "sequences: .npz (FILE.npz:NAME) with lengths or mask, .csv or .parquet with columns of sequences and times, .wav, .mid, .mp4, "
    ".gif, or a folder of such files"
)
_ROWS_TOO = set(option_names(RowsOptions()))
_OPTIONS = {f"--{no}{name}" for name in option_names(SequencesOptions()) if name not in _ROWS_TOO for no in ("", "no-")}
"""Options that mean sequences: a fit to rows has no such options."""
_ENGINES = set(get_args(SequenceEngineName)) - set(get_args(EngineName))
_LOOKED_AT_BYTES = 1 << 22
_QUANTILES = "0.05,0.25,0.5,0.75,0.95"


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
    """Whether the arguments of `homeostat fit` are about sequences: by the model, an option of sequences, or the data.

    Files of sounds, music and videos, tables in parquet, folders of such files, archives with `lengths` or `mask`, and tables with
    a column `sequence` are sequences; other tables, arrays and folders of images are rows.
    """
    values = _values(arguments)
    if values.get("--model") in SEQUENCE_MODELS or values.get("--engine") in _ENGINES or _OPTIONS & set(values):
        return True
    data = values.get("--data", "")
    if not data:
        return False
    file = Path(data if Path(data).exists() else data.rpartition(":")[0] or data)
    if file.is_dir():
        kinds = {found.suffix.lower() for found in file.rglob("*")}
        # A stray animation among pictures does not make them videos.
        return bool(kinds & (_SUFFIXES - {".gif"})) or (".gif" in kinds and not kinds & _PICTURES)
    if file.suffix.lower() == ".npz" and file.is_file():
        # What is wrong with an archive is said by who reads it in earnest.
        with contextlib.suppress(OSError, ValueError, zipfile.BadZipFile), zipfile.ZipFile(file) as archive:
            return bool({"lengths.npy", "mask.npy"} & set(archive.namelist()))
        return _mentions(file, b"lengths.npy") or _mentions(file, b"mask.npy")
    if file.suffix.lower() == ".csv" and file.is_file():
        with contextlib.suppress(OSError, ValueError, csv.Error), open(file, newline="", encoding="utf-8-sig") as text:
            return SequencesOptions().sequence_column in [name.strip() for name in next(csv.reader(text), [])]
    return file.suffix.lower() in _SUFFIXES


def _mentions(file: Path, name: bytes) -> bool:
    """Whether the bytes of a damaged archive, up to a few megabytes, hold the name of an array."""
    with contextlib.suppress(OSError), open(file, "rb") as stream:
        return name in stream.read(_LOOKED_AT_BYTES)
    return False


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


SEQUENCES = FitKind(
    "fit on sequences",
    "homeostat fit --data FILE [options] [options of the model, the filter and the training]",
    "Fit a sequential model with a filter to sequences, and keep the model as a run.",
    _FORMATS,
    f"Expected sequences to fit to, got no --data: name {_FORMATS}.",
    SequencesOptions(),
)


def read_sequence_fit_options(arguments: list[str]) -> FitOptions | None:
    """The options, or None where help is asked for.

    Raises:
        BadInputError: an option is unknown, missing or has an unusable value.
    """
    options = read_fit_options(arguments, SEQUENCES)
    if options is not None and options.config.model == "linear-gaussian" and "--engine" not in _values(arguments):
        # It has one filter only, which need not be said.
        return options._replace(config=dataclasses.replace(options.config, engine="exact"))
    return options


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


def print_sequence_fit(result: dict[str, Any], path: Path, as_json: bool, output: Any) -> int:
    """The end of a fit to sequences on standard output, and its exit status."""
    return print_end(result, path, as_json, output, "sequences", "on average", sequence_rows)


def sequence_rows(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """What a summary says of sequences, in words and numbers."""
    return [(words.replace("log p(x)", "log p(x) of a sequence"), value) for words, value in summary_rows(summary)]
