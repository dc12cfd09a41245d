"""Tables with one row for each step of each sequence: a column says which sequence, another when."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..results import BadInputError
from ._calendar import Calendar, fill_gaps
from ._columns import AbstractColumn, CategoryColumn, DateColumn
from ._open_table import ArrowStream
from ._places import Message, write_array
from ._sequences import Sequences
from ._survey import Survey, survey
from ._table_cache import About, converted
from ._table_columns import TIMES, TableColumns, listed
from ._table_times import Steps, find_steps, find_times, sequence_column, time_candidates
from ._table_values import Modelled, modelled, readable
from ._tables import AbstractTable

_BLOCK_ROWS = 4096


def open_sequence_table(
    source: Path | ArrowStream, columns: TableColumns, place: Path, message: Message | None
) -> Sequences:
    """Sequences of a table, which is converted once and, if it is a file, memory-mapped.

    Raises:
        BadInputError: columns that do not exist, cells that mean nothing, sequences that cannot be used.
    """
    array, about = converted(
        source, f"sequences 3 {columns}", place, message, lambda table, target: _convert(table, columns, target)
    )
    cut = np.split(array, np.cumsum(about["lengths"])[:-1])
    first, last = int(about["timed"]), int(about["timed"]) + about["num_values"]
    actions = tuple((name, tuple(values)) for name, values in about["actions"])
    return Sequences(
        [part[:, first:last] for part in cut],
        times=[part[:, 0] for part in cut] if about["timed"] else None,
        actions=[part[:-1, last:] for part in cut] if actions else None,
        labels=about["labels"],
        columns=about["columns"],
        categories=tuple(map(tuple, about["categories"])),
        action_columns=actions,
        calendar=Calendar(*about["calendar"]) if about["calendar"] else None,
        name=about["name"],
    )


def has_steps(table: AbstractTable, columns: TableColumns) -> bool:
    """Whether rows of a table are steps: it has the column of sequences, or one of times, by its name, which rises."""
    if sequence_column(table, columns.sequence) in table.columns:
        return True
    if columns.time:
        return columns.time in table.columns
    out = {*columns.labels, *columns.drop}
    timely = (name for name in table.columns if name.lower() in TIMES and name not in out)
    names = tuple(timely) if columns.time is None else ()
    if not names:
        return False
    found = time_candidates(table, survey(table, names, columns), columns)
    steps = find_steps(table, None, found)
    return any(steps.rises(column.name) for column in found)


def _convert(table: AbstractTable, columns: TableColumns, target: Path) -> About:
    """Write the rows sequence by sequence; memory holds one block, and the sequence and the times of each row."""
    columns.check(table)
    sequence = sequence_column(table, columns.sequence)
    found = survey(table, _looked_at(table, columns, sequence), columns)
    candidates = time_candidates(table, found, columns)
    steps = find_steps(table, sequence, candidates)
    times = find_times(table, columns, steps, candidates)
    others = (times.column, *columns.actions)
    values = columns.values or tuple(name for name in found.columns if name not in others)
    chosen = modelled(table, found, values)
    actions = tuple(_input(table, found.columns[name]) for name in columns.actions)
    order, clock, lengths, gaps = steps.order, times.values, steps.lengths, 0
    grid = None if clock is None else fill_gaps(clock, lengths, times.counted)
    if grid is not None:
        gaps = int((grid.rows < 0).sum())
        if not actions:
            order, clock, lengths = np.where(grid.rows < 0, -1, order[grid.rows]), grid.times, grid.lengths
    if actions:
        _require_known(table, actions, steps)
    _write(table, (chosen.columns, actions), target, steps.order.size, order, clock)
    inserted = "stay so, because known inputs would be missing" if actions else "are inserted as missing"
    return {
        "name": table.name,
        "labels": steps.labels,
        "lengths": lengths.tolist(),
        "timed": clock is not None,
        "num_values": len(chosen.columns),
        # Columns of a table without names are found by their places, unless some were chosen.
        "columns": chosen.names if table.named or columns.chosen else (),
        "categories": chosen.categories,
        "actions": [(column.name, column.categories) for column in actions],
        "calendar": times.calendar,
        "lines": [
            *_lines(table, columns, sequence, found, steps),
            f"columns: {_entries(chosen, actions)}",
            times.line,
            *([f"steps that were left out: {gaps}, which {inserted}"] if gaps else []),
        ],
    }


def _looked_at(table: AbstractTable, columns: TableColumns, sequence: str | None) -> tuple[str, ...]:
    """Columns that may be values, actions or times."""
    out = {sequence, *columns.labels, *columns.drop}
    rest = tuple(name for name in table.columns if name not in out)
    if not columns.values:
        return rest
    timely = [name for name in rest if (name.lower() in TIMES if columns.time is None else name == columns.time)]
    return tuple(dict.fromkeys([*columns.values, *columns.actions, *timely]))


def _lines(
    table: AbstractTable, columns: TableColumns, sequence: str | None, found: Survey, steps: Steps
) -> Iterator[str]:
    """What was found, in words."""
    if sequence is None:
        named = " (no column of sequences; --sequence-column names one)" if columns.sequence is None else ""
        yield f"table: one sequence of {steps.order.size} steps{named}"
    else:
        shortest, longest = steps.lengths.min(), steps.lengths.max()
        yield f"table: {len(steps.labels)} sequences of {shortest} to {longest} steps (column {sequence})"
    yield from table.about
    left_out = [*found.notes, *columns.left_out()]
    if left_out:
        yield f"left out: {', '.join(left_out)}"


def _entries(chosen: Modelled, actions: tuple[AbstractColumn, ...]) -> str:
    what = " (categories, coded from 0 in the order of their sorted names)" if chosen.categories else ""
    names = tuple(
        f"{column.name}={value}" if value else column.name for column in actions for value in column.categories or ("",)
    )
    return f"{listed(chosen.names)}{what}" + (f"; known inputs: {listed(names)}" if names else "")


def _write(
    table: AbstractTable,
    columns: tuple[tuple[AbstractColumn, ...], tuple[AbstractColumn, ...]],
    target: Path,
    num_rows: int,
    order: np.ndarray,
    clock: np.ndarray | None,
) -> None:
    """Write times, values and actions in an order of rows; -1 is a step that is missing."""
    names = tuple(column.name for column in (*columns[0], *columns[1]))
    with tempfile.TemporaryFile(dir=target.parent) as raw:
        width = 0
        for batch in table.batches(names):
            cells = dict(zip(names, batch, strict=True))
            parts = [column.read(cells[column.name])[:, None] for column in columns[0]]
            block = np.concatenate([*parts, *(_inputs(column, cells[column.name]) for column in columns[1])], axis=1)
            width = block.shape[1]
            raw.write(np.ascontiguousarray(block, "<f8").tobytes())
        raw.flush()
        as_read = np.memmap(raw, "<f8", "r", shape=(num_rows, width))
        write_array(target, _in_order(as_read, order, clock))
        del as_read


def _in_order(as_read: np.ndarray, order: np.ndarray, clock: np.ndarray | None) -> Iterator[np.ndarray]:
    for start in range(0, order.size, _BLOCK_ROWS):
        rows = order[start : start + _BLOCK_ROWS]
        found = np.where(rows[:, None] < 0, np.nan, as_read[rows])
        yield found if clock is None else np.column_stack([clock[start : start + _BLOCK_ROWS], found])


def _input(table: AbstractTable, column: AbstractColumn) -> AbstractColumn:
    """The column, if a model can take it as a known input."""
    if isinstance(readable(table, column), DateColumn):
        raise BadInputError(
            f"Expected numbers or categories as known inputs in {table.name}, got dates in {column.name}: leave it out, or make it "
            f"the times (--time-column)."
        )
    return column


def _require_known(table: AbstractTable, actions: tuple[AbstractColumn, ...], steps: Steps) -> None:
    """See that known inputs are known, but for those after the last step of a sequence, which lead nowhere."""
    used = np.ones(steps.order.size, bool)
    used[steps.order[np.cumsum(steps.lengths) - 1]] = False
    first = 0
    for batch in table.batches(tuple(column.name for column in actions)):
        for column, cells in zip(actions, batch, strict=True):
            missing = np.flatnonzero(np.isnan(column.read(cells)) & used[first : first + len(cells)])
            if missing.size:
                raise BadInputError(
                    f"Expected known inputs, got an empty cell in {table.place(first + int(missing[0]), column.name)}: fill it in. "
                    f"(What was not known belongs to the observations.)"
                )
        first += len(batch[0])


def _inputs(column: AbstractColumn, cells: object) -> np.ndarray:
    """Numbers, or zeros and ones for each category."""
    found = column.read(cells)[:, None]
    if not isinstance(column, CategoryColumn):
        return found
    ones = (found == np.arange(len(column.categories))).astype(np.float64)
    return np.where(np.isnan(found), np.nan, ones)
