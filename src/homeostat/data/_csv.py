"""Tables of numbers as text, converted to a `.npy` file line by line."""

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..results import BadInputError
from ._places import write_array_header

_BLOCK_ROWS = 4096


def convert_csv(file: Path, target: Path) -> None:
    """Write the numbers of a comma-separated table to `target` as an array of 64-bit real numbers.

    A first line without any number is a line of names. Memory holds a few thousand lines at a time.
    """
    with open(file, newline="", encoding="utf-8-sig") as text:
        lines = _lines(csv.reader(text))
        first = next(lines, None)
        if first is None:
            raise BadInputError(f"Expected lines of numbers in {file}, found none.")
        names = first[1] if not any(_is_number(cell) for cell in first[1]) else None
        width, num_rows = len(first[1]), 0
        with open(target, "wb") as stream:
            data_begins = write_array_header(stream, "<f8", (0, width))
            lines = lines if names is not None else itertools.chain([first], lines)
            while block := list(itertools.islice(lines, _BLOCK_ROWS)):
                stream.write(_numbers(file, block, names, width).tobytes())
                num_rows += len(block)
            if num_rows == 0:
                raise BadInputError(f"Expected lines of numbers in {file}, found only a line of names.")
            if write_array_header(stream, "<f8", (num_rows, width)) != data_begins:
                raise ValueError("the number of lines does not fit into the header of the converted file.")


def _lines(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
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


def check_widths(file: Path, block: list[tuple[int, list[str]]], width: int) -> None:
    """Raise unless every line, given with its number, has so many columns."""
    for number, cells in block:
        if len(cells) != width:
            raise BadInputError(
                f"Expected {width} columns in every line of {file}, as in its first line, got {len(cells)} in line {number}."
            )


def _numbers(file: Path, block: list[tuple[int, list[str]]], names: list[str] | None, width: int) -> np.ndarray:
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
