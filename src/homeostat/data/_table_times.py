"""Which sequence each row of a table belongs to, and when it was."""

from typing import Any, NamedTuple

import numpy as np

from ..results import BadInputError
from ._calendar import Calendar, find_calendar, parse_dates
from ._columns import AbstractColumn, DateColumn, NumberColumn, observed
from ._survey import Survey
from ._table_columns import TIMES, TableColumns
from ._tables import AbstractTable


class Steps(NamedTuple):
    """Rows of a table by sequences.

    Attributes:
        labels: of the sequences, in the order in which they begin.
        lengths: of the sequences.
        order: numbers of the rows, sequence by sequence.
        moments: of each row in this order, by the name of a column that may be the times.
    """

    labels: tuple[str, ...]
    lengths: np.ndarray
    order: np.ndarray
    moments: dict[str, np.ndarray]

    @property
    def inside(self) -> np.ndarray:
        """For every two neighbours in the order, whether they belong to one sequence."""
        found = np.ones(max(self.order.size - 1, 0), bool)
        found[np.cumsum(self.lengths)[:-1] - 1] = False
        return found

    def rises(self, name: str) -> bool:
        """Whether a column rises strictly in every sequence."""
        moments = self.moments[name]
        return bool(np.isfinite(moments).all() and np.all(np.diff(moments)[self.inside] > 0))


def sequence_column(table: AbstractTable, named: str | None) -> str | None:
    """The column that says which sequence a row belongs to, if there is one."""
    return ("sequence" if "sequence" in table.columns else None) if named is None else named or None


def find_steps(table: AbstractTable, sequence: str | None, candidates: tuple[AbstractColumn, ...]) -> Steps:
    """Read the sequence of every row, and the columns that may be the times."""
    numbers: dict[str, int] = {}
    codes: list[np.ndarray] = []
    moments: list[list[np.ndarray]] = [[] for _ in candidates]
    names = (*([sequence] if sequence else ()), *(column.name for column in candidates))
    for batch in table.batches(names or table.columns[:1]):
        codes.append(_codes(batch[0], numbers) if sequence else np.zeros(len(batch[0]), np.int64))
        for column, found, cells in zip(candidates, moments, batch[bool(sequence) :], strict=False):
            found.append(column.read(cells))
    members = np.concatenate([np.zeros(0, np.int64), *codes])
    order = np.argsort(members, kind="stable")
    read = {column.name: np.concatenate(found)[order] for column, found in zip(candidates, moments, strict=True)}
    return Steps(tuple(numbers) or ("0",), np.bincount(members), order, read)


def _codes(cells: Any, numbers: dict[str, int]) -> np.ndarray:
    """Numbers of the sequences that labels name; a new label gets the next number."""
    import pyarrow as pa

    coded = cells.cast(pa.string()).fill_null("").dictionary_encode()
    known = [numbers.setdefault(label, len(numbers)) for label in coded.dictionary.to_pylist()]
    return np.array(known, np.int64)[coded.indices.to_numpy(zero_copy_only=False)]


class Times(NamedTuple):
    """When the steps were.

    Attributes:
        column: name of the column, or `None` without times.
        values: of each row, sequence by sequence.
        calendar: of dates.
        note: how dates are read, half a sentence, where there is a choice.
    """

    column: str | None
    values: np.ndarray | None
    calendar: Calendar | None
    note: str = ""

    @property
    def counted(self) -> bool:
        """Whether times count a unit of the calendar."""
        return self.calendar is not None and self.calendar.unit != "seconds"

    @property
    def line(self) -> str:
        """A sentence about it."""
        if self.column is None:
            return "time: there is no column of times (--time-column names one), so steps count as equally far apart"
        if self.calendar is None:
            return f"time: the numbers of column {self.column}"
        note = f", {self.note}" if self.note else ""
        if self.calendar.unit == "seconds":
            return f"time: seconds of the dates in column {self.column}{note}"
        return f"time: {self.calendar.unit} from {self.calendar.first_date} (column {self.column}{note})"


def time_candidates(table: AbstractTable, found: Survey, columns: TableColumns) -> tuple[AbstractColumn, ...]:
    """Columns that may be the times, the likeliest first.

    Raises:
        BadInputError: one that is named, or one called time or date of which most cells are times, has a cell that is none.
    """
    named, used = columns.time, {*columns.values, *columns.actions}
    free = [name for name in found.columns if name not in used]
    for name in free if named is None else (named,) if named else ():
        surely = name == named or name.lower() in TIMES[:4]
        if surely and not isinstance(found.columns[name], DateColumn | NumberColumn):
            row, cell, mostly = _first_other(table, name)
            if name == named or mostly:
                raise _no_time(table, name, row, cell)
    if named is not None:
        return (found.columns[named],) if named else ()
    timely = {name: found.columns[name] for name in free if isinstance(found.columns[name], DateColumn | NumberColumn)}
    by_name = [name for wanted in TIMES for name in timely if name.lower() == wanted]
    dated = [name for name, column in timely.items() if isinstance(column, DateColumn) and name not in by_name]
    return tuple(timely[name] for name in [*by_name, *(dated if len(dated) == 1 else [])])


def find_times(
    table: AbstractTable, columns: TableColumns, steps: Steps, candidates: tuple[AbstractColumn, ...]
) -> Times:
    """The first column that rises, or else one that surely are times, so that the fault is found.

    Raises:
        BadInputError: times that are missing or do not rise, or dates that are not on the calendar of other data.
    """
    sure = [
        column
        for column in candidates
        if columns.time or column.name.lower() == "time" or isinstance(column, DateColumn)
    ]
    chosen = next((column for column in candidates if steps.rises(column.name)), next(iter(sure), None))
    if chosen is None:
        return Times(None, None, None)
    moments, name = steps.moments[chosen.name], chosen.name
    missing = np.flatnonzero(~np.isfinite(moments))
    if missing.size:
        raise _no_time(table, name, int(steps.order[missing].min()), "")
    if not steps.rises(name):
        raise _falling(table, columns, steps, chosen)
    if not isinstance(chosen, DateColumn):
        if columns.unit:
            raise BadInputError(f"Expected dates in column {name} of {table.name}, as in other data, got numbers.")
        return Times(name, moments, None)
    try:
        calendar, counts = find_calendar(moments, steps.inside, columns.unit)
    except ValueError as error:
        raise BadInputError(
            f"Expected {error} in column {name} of {table.name}, as in other data, got other dates: pass data of the same frequency."
        ) from error
    return Times(name, counts, calendar, chosen.note)


def _first_other(table: AbstractTable, name: str) -> tuple[int, str, bool]:
    """Row and text of the first cell that is no time, and whether most cells are times."""
    cells = [cell for (batch,) in table.batches((name,)) for cell in observed(batch.cast("string")).to_pylist()]
    numbers = (cell is None or cell.replace(".", "", 1).isdecimal() for cell in cells)
    dates = (~np.isnat(parse_dates(cells, day_first=day_first)) for day_first in (False, True))
    timely = np.fromiter(numbers, bool, len(cells)) | max(dates, key=np.count_nonzero)
    row = int(np.argmin(timely))
    return row, str(cells[row]), 2 * int(timely.sum()) > len(cells)


def _no_time(table: AbstractTable, name: str, row: int, cell: str) -> BadInputError:
    what = repr(cell) if cell else "an empty cell"
    return BadInputError(
        f"Expected a number, or a date and time, in {table.place(row, name)}, got {what}: write dates as 2021-03-31, 2021-03, "
        f"2021/03/31, 31.03.2021 or 03/31/2021, or name another column of times (--time-column)."
    )


def _falling(table: AbstractTable, columns: TableColumns, steps: Steps, column: AbstractColumn) -> BadInputError:
    moments = steps.moments[column.name]
    falls = steps.inside & (np.diff(moments) <= 0)
    at = int(np.argmax(falls)) + 1
    firsts = np.cumsum(steps.lengths) - steps.lengths
    number = int(np.searchsorted(firsts, at, side="right")) - 1
    now, before = (_show(column, moments[place]) for place in (at, at - 1))
    place = table.place(int(steps.order[at]), column.name)
    same = moments[at] == moments[at - 1]
    advice = "two steps have the same time; join them or drop one" if same else "sort the steps by time"
    alone = sequence_column(table, columns.sequence) is None
    hint = " If rows belong to several sequences, name the column that says which (--sequence-column)." if alone else ""
    if isinstance(column, DateColumn) and not column.decided:
        hint += f" Dates are {column.note}."
    return BadInputError(
        f"Expected times that rise from step to step, got {now} after {before} in step {at - int(firsts[number])} (from 0) of "
        f"sequence {steps.labels[number]!r}, {place}: {advice}.{hint}"
    )


def _show(column: AbstractColumn, moment: float) -> str:
    if not isinstance(column, DateColumn):
        return f"{moment:g}"
    return str(Calendar("seconds", "1970-01-01").dates(np.array(moment)).astype("M8[s]"))
