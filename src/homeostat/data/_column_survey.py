"""What one column of a table holds, found from its cells block by block."""

import abc
from typing import final

import numpy as np

from ..typing import Any
from ._calendar import parse_dates
from ._columns import (
    BOOLEANS,
    AbstractColumn,
    BooleanColumn,
    CategoryColumn,
    DateColumn,
    NumberColumn,
    UnreadableColumn,
    observed,
)
from ._table_columns import TIMES, TableColumns
from ._tables import AbstractTable, compute

MOST_CATEGORIES = 100
"""Values of a column of text beyond which it is a name of something, not a category."""

_NUMBER = r"^[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[iI]nf(inity)?|NAN)$"
_COMMA_NUMBER = r"^[+-]?\d*(,\d+)+([eE][+-]?\d+)?$"
_UNNAMED = ("Unnamed: ", "__index_level_")
_LEAVE_OUT = "leave the column out (--label, --drop)"


def column_surveys(table: AbstractTable, columns: TableColumns, kinds: dict[str, Any]) -> "list[AbstractColumnSurvey]":
    """What is to be found out about columns, whose cells have the `kinds` of Arrow."""
    known, asked, found = dict(columns.categories), {*columns.asked}, []
    for name, kind in kinds.items():
        typed = _typed(name, kind)
        state = _Text(name, table.decimal_commas, columns.day_first) if typed is None else _Typed(name, typed)
        if name == columns.time or (name.lower() in TIMES and name not in columns.values):
            state = _Compact(state)
        unnamed = table.named and name.startswith(_UNNAMED) and name not in asked
        found.append(_Known(name, known[name]) if known.get(name) else _Numbering(name, state) if unnamed else state)
    return found


def _typed(name: str, kind: Any) -> AbstractColumn | None:
    """What a column of a type holds; `None` for text."""
    from pyarrow import types

    if types.is_string(kind) or types.is_dictionary(kind):
        return None
    if types.is_boolean(kind):
        return BooleanColumn(name)
    numbers = (types.is_integer, types.is_floating, types.is_decimal, types.is_null, types.is_time, types.is_duration)
    if any(is_kind(kind) for is_kind in numbers):
        return NumberColumn(name)
    if types.is_timestamp(kind) or types.is_date(kind):
        return DateColumn(name)
    return UnreadableColumn(name, 0, str(kind), "numbers, text, truth values or dates", _LEAVE_OUT)


class AbstractColumnSurvey(abc.ABC):
    """What was seen of a column so far.

    Attributes:
        name: of the column.
        points: whether numbers have decimal points.
    """

    name: str
    points: bool = False

    @property
    def decimal_comma(self) -> bool:
        """Whether numbers have decimal commas."""
        return False

    @property
    def reason(self) -> str:
        """Why the column says nothing; empty if it does say something."""
        return ""

    @abc.abstractmethod
    def add(self, cells: Any, first: int) -> None:
        """Look at some cells (an array of Arrow), null where missing, of which the first is that of the row `first`."""

    @abc.abstractmethod
    def column(self, num_rows: int) -> AbstractColumn:
        """What the column holds."""


@final
class _Typed(AbstractColumnSurvey):
    """A column whose type says what it holds."""

    def __init__(self, name: str, found: AbstractColumn):
        self.name, self.found = name, found

    def add(self, cells: Any, first: int) -> None:
        """Nothing to look at."""

    def column(self, num_rows: int) -> AbstractColumn:
        return self.found


@final
class _Known(AbstractColumnSurvey):
    """A column whose categories are known from other data."""

    def __init__(self, name: str, categories: tuple[str, ...]):
        self.name, self.categories = name, categories
        self.other: tuple[int, str] | None = None

    def add(self, cells: Any, first: int) -> None:
        import pyarrow as pa

        pc = compute()
        if self.other is None:
            texts = observed(cells.cast(pa.string()))
            texts = pc.utf8_lower(texts) if self.categories == BOOLEANS else texts
            missing = pc.invert(pc.is_in(texts.drop_null(), value_set=pa.array(self.categories)))
            if pc.any(missing).as_py():
                wrong = pc.and_(pc.is_valid(texts), pc.invert(pc.is_in(texts, value_set=pa.array(self.categories))))
                self.other = _first(wrong, cells, first)

    def column(self, num_rows: int) -> AbstractColumn:
        if self.other is None:
            return CategoryColumn(self.name, self.categories)
        allowed = ", ".join(self.categories)
        return UnreadableColumn(
            self.name, *self.other, f"one of {allowed}, as before,", "correct it, or leave the row out"
        )


@final
class _Text(AbstractColumnSurvey):
    """Counts of what the cells of a column of text look like."""

    def __init__(self, name: str, commas: bool, day_first: bool):
        self.name, self.commas, self.day_first = name, commas, day_first
        self.cells = self.numbers = self.comma_numbers = self.booleans = 0
        self.points, self.slashes = False, False
        # Orders of day and month (whether the day is first) in which every cell so far was a date.
        self.orders = {True, False}
        self.distinct: set[str] = set()
        self.other: tuple[int, str] | None = None

    @property
    def decimal_comma(self) -> bool:
        return self.commas and self.other is None and self.comma_numbers > 0

    def add(self, cells: Any, first: int) -> None:
        import pyarrow as pa

        pc = compute()
        known = cells.drop_null() if cells.null_count else cells
        self.cells += len(known)
        if len(self.distinct) <= MOST_CATEGORIES:
            self.distinct |= {*pc.unique(known).to_pylist()}
        try:
            known.cast(pa.float64())
        except pa.ArrowInvalid:
            pass
        else:
            self.numbers += len(known)
            if self.commas and not self.points:
                self.points = bool(pc.any(pc.match_substring(known, ".")).as_py())
            self.orders = set() if len(known) else self.orders
            return
        numbers, commas = (pc.match_substring_regex(cells, form) for form in (_NUMBER, _COMMA_NUMBER))
        self.numbers += pc.sum(numbers).as_py() or 0
        self.comma_numbers += pc.sum(commas).as_py() or 0
        self.points = self.points or bool(pc.any(pc.and_(numbers, pc.match_substring(cells, "."))).as_py())
        self.booleans += pc.sum(pc.is_in(pc.utf8_lower(known), value_set=pa.array(BOOLEANS))).as_py() or 0
        if self.orders:
            texts = known.to_pylist()
            self.slashes = self.slashes or bool(pc.any(pc.match_substring(known, "/")).as_py())
            self.orders = {first for first in self.orders if not np.isnat(parse_dates(texts, day_first=first)).any()}
        if self.other is None:
            self.other = _first(pc.invert(pc.or_(numbers, commas) if self.commas else numbers), cells, first)

    def column(self, num_rows: int) -> AbstractColumn:
        if self.other is None:
            return NumberColumn(self.name, self.decimal_comma)
        if self.booleans == self.cells:
            return BooleanColumn(self.name)
        if self.orders:
            decided = len(self.orders) == 1
            day_first = True in self.orders if decided else self.day_first
            return DateColumn(self.name, day_first, decided) if self.slashes else DateColumn(self.name)
        row, cell = self.other
        if 2 * (self.numbers + self.comma_numbers) >= self.cells:
            comma = (
                ""
                if self.commas or not self.comma_numbers
                else "write decimal points, since commas part the cells, or "
            )
            expected = "a number, or nothing where it is missing,"
            return UnreadableColumn(self.name, row, cell, expected, f"{comma}correct it, or {_LEAVE_OUT}")
        if len(self.distinct) <= MOST_CATEGORIES and len(self.distinct) < num_rows:
            return CategoryColumn(self.name, tuple(sorted(self.distinct)))
        many = f"more than {MOST_CATEGORIES}" if len(self.distinct) > MOST_CATEGORIES else f"{len(self.distinct)}"
        why = f"with {many} values in {num_rows} rows it looks like an identifier"
        return UnreadableColumn(self.name, row, cell, "numbers or categories", f"{why}; {_LEAVE_OUT}")


@final
class _Compact(AbstractColumnSurvey):
    """A column with the name of times, whose numbers may be dates without marks: 20210331."""

    def __init__(self, state: AbstractColumnSurvey):
        self.name, self.state = state.name, state
        self.dates, self.any = True, False

    @property
    def decimal_comma(self) -> bool:
        return self.state.decimal_comma

    def add(self, cells: Any, first: int) -> None:
        import pyarrow as pa

        pc = compute()
        self.state.add(cells, first)
        self.points = self.state.points
        known = cells.drop_null()
        if not self.dates or not len(known):
            return
        kind = known.type
        if not any(is_kind(kind) for is_kind in (pa.types.is_integer, pa.types.is_floating, pa.types.is_string)):
            self.dates = False
            return
        texts = pc.unique(known).cast(pa.string())
        self.dates = bool(pc.all(pc.match_substring_regex(texts, r"^\d{8}$")).as_py())
        self.dates = self.dates and not np.isnat(parse_dates(texts.to_pylist())).any()
        self.any = True

    def column(self, num_rows: int) -> AbstractColumn:
        return DateColumn(self.name) if self.dates and self.any else self.state.column(num_rows)


@final
class _Numbering(AbstractColumnSurvey):
    """A column without a name, which may number the rows, as data frames write it, or be empty."""

    def __init__(self, name: str, state: AbstractColumnSurvey):
        self.name, self.state = name, state
        self.offset: float | None = None
        self.numbers, self.empty = True, True

    @property
    def decimal_comma(self) -> bool:
        return self.state.decimal_comma

    @property
    def reason(self) -> str:
        return "is empty" if self.empty else "numbers the rows" if self.numbers else ""

    def add(self, cells: Any, first: int) -> None:
        import pyarrow as pa

        self.state.add(cells, first)
        self.points = self.state.points
        self.empty = self.empty and cells.null_count == len(cells)
        try:
            numbers = np.asarray(cells.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            self.numbers = False
            return
        if self.offset is None and numbers.size:
            # R counts from 1.
            self.offset = 1.0 if numbers[0] == 1.0 else 0.0
        self.numbers = self.numbers and np.array_equal(numbers, first + (self.offset or 0.0) + np.arange(numbers.size))

    def column(self, num_rows: int) -> AbstractColumn:
        return self.state.column(num_rows)


def _first(wrong: Any, cells: Any, first: int) -> tuple[int, str] | None:
    """Row and text of the first cell at fault."""
    places = np.flatnonzero(np.asarray(wrong.fill_null(False).to_numpy(zero_copy_only=False), bool))
    return (first + int(places[0]), str(cells[int(places[0])])) if places.size else None
