"""Tables of numbers as text, converted to a `.npy` file line by line."""

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..results import BadInputError
from ._places import write_array

_BLOCK_ROWS = 4096

Line = tuple[int, list[str]]
"""Number of a line, and its cells."""


def convert_csv(file: Path, target: Path) -> None:
    """Write the numbers of a comma-separated table to `target` as an array of 64-bit real numbers.

    A first line without any number is a line of names. Memory holds a few thousand lines at a time.
    """
    with open(file, newline="", encoding="utf-8-sig") as text:
        lines = _lines(csv.reader(text))
        first = next(lines, None)
        if first is None:
            raise BadInputError(f"Expected lines of numbers in {file}, found none.")
        names = first[1] if not any(map(_is_number, first[1])) else None
        blocks = in_blocks(lines if names is not None else itertools.chain([first], lines))
        if not write_array(target, (_numbers(file, block, names, len(first[1])) for block in blocks)):
            raise BadInputError(f"Expected lines of numbers in {file}, found only a line of names.")


def in_blocks(lines: Iterator[Line]) -> Iterator[list[Line]]:
    """A few thousand lines at a time."""
    return iter(lambda: list(itertools.islice(lines, _BLOCK_ROWS)), [])


def _lines(reader: Iterator[list[str]]) -> Iterator[Line]:
    """Lines with their numbers from 1; empty lines are passed over."""
    for number, cells in enumerate(reader, 1):
        if cells and not (len(cells) == 1 and not cells[0].strip()):
            yield number, cells


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def check_widths(file: Path, block: list[Line], width: int) -> None:
    """Raise unless every line, given with its number, has so many columns."""
    for number, cells in block:
        if len(cells) != width:
            raise BadInputError(
                f"Expected {width} columns in every line of {file}, as in its first line, got {len(cells)} in line {number}."
            )


def _numbers(file: Path, block: list[Line], names: list[str] | None, width: int) -> np.ndarray:
    check_widths(file, block, width)
    try:
        return np.array([[float(cell) for cell in cells] for _, cells in block], dtype="<f8")
    except ValueError:
        number, column, cell = next(
            (number, column, cell)
            for number, cells in block
            for column, cell in enumerate(cells)
            if not _is_number(cell)
        )
        name = f" ({names[column].strip()})" if names is not None else ""
        what = f"{cell!r}" if cell.strip() else "an empty cell"
        raise BadInputError(
            f"Expected a number in line {number}, column {column + 1}{name} of {file}, got {what}: replace it, or drop "
            f"the line or the column. (Commas part the cells; a first line of names has no number in it.)"
        ) from None
