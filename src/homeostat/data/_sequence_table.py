"""Tables with one row for each step of each sequence: a column says which sequence, another when."""

import contextlib
import csv
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import final

import numpy as np

from ..results import BadInputError
from ._csv import check_widths, in_blocks
from ._places import Message, kept_conversion, reading, say, write_array, written_whole
from ._sequences import Sequences
from .adapters import parquet_blocks, parquet_names

_BLOCK_ROWS = 4096

Block = tuple[np.ndarray, np.ndarray]
"""Labels of shape (rows,) and numbers of shape (rows, columns)."""


@final
@dataclass(frozen=True)
class TableColumns:
    """Which columns of a table mean what.

    Attributes:
        sequence: says which sequence a row belongs to; numbers or text. Rows of a sequence need not stand together.
        time: says when; numbers, or dates and times (ISO 8601), which become seconds. Empty where steps are equally far
            apart and rows stand in their order.
        values: what was observed; all other columns if left out.
        actions: known inputs between a step and the next; those of a sequence's last row are not used.
    """

    sequence: str = "sequence"
    time: str = "time"
    values: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()

    def __post_init__(self):
        named = [self.sequence, *([self.time] if self.time else []), *self.values, *self.actions]
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice or not self.sequence:
            raise BadInputError(
                f"Expected a column of sequences, and every column in one place, got {', '.join(map(repr, twice)) or 'none'}."
            )


def open_table(file: Path, columns: TableColumns, place: Path, message: Message | None) -> Sequences:
    """Sequences of a .csv or .parquet, which is converted once and memory-mapped.

    Empty cells, `nan` and nulls are missing.

    Raises:
        BadInputError: columns that do not exist, cells that are no numbers, sequences that cannot be used.
    """
    parquet = file.suffix.lower() == ".parquet"
    names = parquet_names(file) if parquet else _csv_names(file)
    chosen = _chosen(file, names, columns)
    kept = kept_conversion(file, str(columns), place, ".sequences.npy")
    index = kept.with_suffix(".npz")
    if not (kept.is_file() and index.is_file()):
        say(message, f"Converting {file} once; the result is kept as {kept}.")
        if parquet:
            blocks = parquet_blocks(file, columns.sequence, chosen)
        else:
            blocks = _csv_blocks(file, names, columns, chosen)
        _convert(blocks, len(chosen), kept, index, file)
    with reading(kept, "a table converted earlier"), np.load(index, allow_pickle=False) as about:
        labels, lengths = tuple(about["labels"].tolist()), about["lengths"]
        table = np.load(kept, mmap_mode="r", allow_pickle=False)
    cut = np.split(table, np.cumsum(lengths)[:-1])
    first, last = int(bool(columns.time)), len(chosen) - len(columns.actions)
    return Sequences(
        [part[:, first:last] for part in cut],
        times=[part[:, 0] for part in cut] if columns.time else None,
        actions=[part[:-1, last:] for part in cut] if columns.actions else None,
        labels=labels,
        columns=chosen[first:last],
        name=str(file),
    )


def _chosen(file: Path, names: tuple[str, ...], columns: TableColumns) -> tuple[str, ...]:
    """Columns of numbers in the order of the converted table: time, values, actions."""
    asked = [columns.sequence, *([columns.time] if columns.time else []), *columns.values, *columns.actions]
    lacking = [name for name in asked if name not in names]
    if lacking:
        raise BadInputError(
            f"Expected the columns {', '.join(asked)} in {file}, but it has {', '.join(names) or 'none'}: name the columns of "
            f"the sequence and the time, and leave the time empty if steps are equally far apart."
        )
    values = columns.values or tuple(name for name in names if name not in asked)
    if not values:
        raise BadInputError(f"Expected columns of values in {file} beside {', '.join(asked)}, found none.")
    return (*([columns.time] if columns.time else []), *values, *columns.actions)


def _convert(blocks: Iterator[Block], width: int, kept: Path, index: Path, file: Path) -> None:
    """Write the rows sequence by sequence; memory holds the number of each row's sequence and one block."""
    numbers: dict[str, int] = {}
    codes: list[np.ndarray] = []
    with written_whole(kept) as part, tempfile.TemporaryFile(dir=part.parent) as raw:
        for labels, block in blocks:
            codes.append(np.array([numbers.setdefault(str(label), len(numbers)) for label in labels], np.int64))
            raw.write(np.ascontiguousarray(block, "<f8").tobytes())
        raw.flush()
        members = np.concatenate(codes) if codes else np.zeros(0, np.int64)
        if members.size == 0:
            raise BadInputError(f"Expected rows in {file}, found only names of columns.")
        order = np.argsort(members, kind="stable")
        as_read = np.memmap(raw, "<f8", "r", shape=(members.size, width))
        write_array(part, (as_read[order[i : i + _BLOCK_ROWS]] for i in range(0, members.size, _BLOCK_ROWS)))
        del as_read
    with written_whole(index) as part, open(part, "wb") as stream:
        np.savez(stream, labels=np.array(list(numbers)), lengths=np.bincount(members, minlength=len(numbers)))


def _csv_names(file: Path) -> tuple[str, ...]:
    with reading(file, "a table (.csv)"), open(file, newline="", encoding="utf-8-sig") as text:
        names = tuple(name.strip() for name in next(csv.reader(text), []))
    if len(set(names)) != len(names) or not all(names):
        raise BadInputError(f"Expected a first line with a different name for every column of {file}, got {names}.")
    return names


def _csv_blocks(file: Path, names: tuple[str, ...], columns: TableColumns, chosen: tuple[str, ...]) -> Iterator[Block]:
    label_at, places = names.index(columns.sequence), [names.index(name) for name in chosen]
    with reading(file, "a table (.csv)"), open(file, newline="", encoding="utf-8-sig") as text:
        reader = csv.reader(text)
        next(reader)
        for block in in_blocks((line, cells) for line, cells in enumerate(reader, 2) if any(map(str.strip, cells))):
            check_widths(file, block, len(names))
            labels = [cells[label_at].strip() for _, cells in block]
            rows = [
                [_number(cells[place], names[place], columns.time, line, file) for place in places]
                for line, cells in block
            ]
            yield np.array(labels), np.array(rows)


def _number(cell: str, name: str, time: str, line: int, file: Path) -> float:
    text = cell.strip()
    if not text and name != time:
        return np.nan
    with contextlib.suppress(ValueError):
        return float(text)
    if name == time:
        with contextlib.suppress(ValueError):
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    what = repr(text) if text else "an empty cell"
    kind = "a number, or a date and time," if name == time else "a number, or nothing where it is missing,"
    raise BadInputError(
        f"Expected {kind} in line {line}, column {name} of {file}, got {what}: correct it, or name the columns to use."
    )
