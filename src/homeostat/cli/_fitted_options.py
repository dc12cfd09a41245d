"""Options of the commands that use a fitted run."""

import argparse
from pathlib import Path
from typing import NamedTuple

from ._options import COMMANDS, Parser, add_output_options, add_seed_option, seed_from


class FittedOptions(NamedTuple):
    """What stands on the command line of `infer`, `sample`, `evaluate` or `calibrate`; fields of the others are empty.

    Attributes:
        run: the fitted run.
        json: whether standard output is kept for the result.
        no_cache: whether compiled programs are not kept between processes.
        seed: of all draws.
        data: new rows.
        out: the file to write, or None.
        iterations: of inference, or None for those of the fit.
        samples: for the likelihood, or of the posterior for each expectation.
        rows: number of rows to evaluate, or None for all.
        number: rows to draw.
        simulations: of the calibration.
    """

    run: Path
    json: bool
    no_cache: bool
    seed: int
    data: str = ""
    out: Path | None = None
    iterations: int | None = None
    samples: int = 0
    rows: int | None = None
    number: int = 0
    simulations: int = 0


def read_fitted_options(command: str, arguments: list[str]) -> FittedOptions:
    """Read the options of one command.

    Raises:
        BadInputError: one is unknown, missing or has an unusable value.
    """
    parser = fitted_parser(command)
    found = vars(parser.parse_args(arguments))
    found["seed"] = seed_from(found["seed"])
    return FittedOptions(**found)


def fitted_parser(command: str) -> Parser:
    """The parser of one command."""
    parser = Parser(prog=f"homeostat {command}", description=f"{COMMANDS[command].capitalize()}.", allow_abbrev=False)
    parser.add_argument("run", metavar="RUN", type=Path, help="the folder of a run of `homeostat fit`")
    if command in ("infer", "evaluate"):
        parser.add_argument(
            "--data",
            metavar="FILE",
            required=True,
            help="rows with the features that the run was fitted to: .npy, .npz[:NAME], .csv, or a folder of images",
        )
    if command != "sample":
        parser.add_argument(
            "--iterations", metavar="N", type=_positive, help="iterations of inference on each row (default: as fitted)"
        )
    _own_options(command, parser)
    add_seed_option(parser)
    add_output_options(parser)
    return parser


def _own_options(command: str, parser: Parser) -> None:
    if command == "infer":
        parser.add_argument(
            "--out", metavar="FILE.npz", type=Path, required=True, help="posteriors and bounds, a new file"
        )
        parser.add_argument(
            "--samples", metavar="N", type=_positive, default=16, help="posterior samples for each bound (default: 16)"
        )
    if command == "sample":
        parser.add_argument("--out", metavar="FILE.npz", type=Path, required=True, help="rows and latents, a new file")
        parser.add_argument("--number", metavar="N", type=_positive, default=64, help="rows to draw (default: 64)")
    if command == "evaluate":
        parser.add_argument(
            "--samples", metavar="S", type=_two, default=5_000, help="importance samples for each row (default: 5000)"
        )
        parser.add_argument(
            "--rows", metavar="N", type=_two, help="evaluate only so many rows, drawn by the seed (default: all)"
        )
        parser.add_argument(
            "--out", metavar="FILE.npz", type=Path, help="also write the numbers of each row, a new file"
        )
    if command == "calibrate":
        parser.add_argument(
            "--simulations", metavar="N", type=_two, default=1_000, help="simulated rows (default: 1000; at least 80)"
        )
        parser.add_argument(
            "--out", metavar="DIR", type=Path, help="a new folder for ranks and figure (default: RUN/calibration-TIME)"
        )


def _positive(text: str) -> int:
    return _at_least(text, 1)


def _two(text: str) -> int:
    return _at_least(text, 2)


def _at_least(text: str, low: int) -> int:
    if not text.isdecimal() or int(text) < low:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least {low}, got {text!r}")
    return int(text)
