"""What a column of a table holds: numbers, truth values, categories, or dates and times."""

import abc
import functools
from dataclasses import dataclass
from typing import final

import numpy as np

from ..results import BadInputError
from ..typing import Any
from ._calendar import parse_dates
from ._tables import AbstractTable, compute

MISSING = ("", "NA", "NaN", "nan", "null", "None", "-", "?")
"""Cells that say that nothing was observed."""

BOOLEANS = ("false", "true")
"""Cells of truth values, in the order of their codes."""


def observed(cells: Any) -> Any:
    """Cells (an array of Arrow), null where they say that nothing was observed."""
    import pyarrow as pa

    pc = compute()
    if not pa.types.is_string(cells.type):
        return cells
    missing = pc.is_in(cells, options=_missing_options())
    return pc.if_else(missing, pa.scalar(None, pa.string()), cells) if pc.any(missing).as_py() else cells


@functools.cache
def _missing_options() -> Any:
    import pyarrow as pa

    # Made once, because a table may have very many columns.
    return compute().SetLookupOptions(pa.array(MISSING))


class AbstractColumn(abc.ABC):
    """What the cells of a column are.

    Attributes:
        name: of the column.
        categories: names of the values, in the order of their codes; empty where cells are numbers.
    """

    name: str
    categories: tuple[str, ...] = ()

    @abc.abstractmethod
    def read(self, cells: Any) -> np.ndarray:
        """Cells (an array of Arrow) as real numbers of 64 bits; NaN is missing."""


@final
@dataclass(frozen=True)
class NumberColumn(AbstractColumn):
    """Numbers; lengths of time and times of day count in seconds."""

    name: str
    decimal_comma: bool = False

    def read(self, cells: Any) -> np.ndarray:
        import pyarrow as pa

        pc = compute()
        cells = observed(cells)
        if pa.types.is_string(cells.type):
            cells = pc.replace_substring(cells, ",", ".") if self.decimal_comma else cells
        elif pa.types.is_time(cells.type) or pa.types.is_duration(cells.type):
            fine = pa.time64("ns") if pa.types.is_time(cells.type) else pa.duration("ns")
            return NumberColumn(self.name).read(cells.cast(fine).cast(pa.int64())) / 1e9
        return np.asarray(cells.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)


@final
@dataclass(frozen=True)
class BooleanColumn(AbstractColumn):
    """`true` and `false`, as 1 and 0."""

    name: str

    def read(self, cells: Any) -> np.ndarray:
        import pyarrow as pa

        pc = compute()
        cells = observed(cells)
        if pa.types.is_string(cells.type):
            cells = pc.equal(pc.utf8_lower(cells), BOOLEANS[1])
        return NumberColumn(self.name).read(cells.cast(pa.int8()))


@final
@dataclass(frozen=True)
class CategoryColumn(AbstractColumn):
    """Text with few values, as whole numbers from 0."""

    name: str
    categories: tuple[str, ...] = ()

    def read(self, cells: Any) -> np.ndarray:
        import pyarrow as pa

        pc = compute()
        if self.categories == BOOLEANS:
            return BooleanColumn(self.name).read(cells)
        codes = pc.index_in(observed(cells.cast(pa.string())), value_set=pa.array(self.categories, pa.string()))
        return NumberColumn(self.name).read(codes)


@final
@dataclass(frozen=True)
class DateColumn(AbstractColumn):
    """Dates and times, as seconds since 1970 in UTC.

    Attributes:
        day_first: whether `03/04/2021` is in April; None where no date is written so.
        decided: whether a date of the column says so, as 31/03/2021 does.
    """

    name: str
    day_first: bool | None = None
    decided: bool = True

    @property
    def note(self) -> str:
        """How dates with slashes are read, half a sentence; empty where there are none."""
        if self.day_first is None:
            return ""
        order, how = ("day/month/year", "without") if self.day_first else ("month/day/year", "with")
        return f"read as {order}" + (
            "" if self.decided else f", which no date in it decides; the other way {how} --day-first"
        )

    def read(self, cells: Any) -> np.ndarray:
        import pyarrow as pa

        cells = observed(cells)
        if pa.types.is_integer(cells.type) or pa.types.is_floating(cells.type):
            cells = cells.cast(pa.int64()).cast(pa.string())
        if pa.types.is_string(cells.type):
            moments = parse_dates(cells.to_pylist(), day_first=bool(self.day_first))
        else:
            found = cells.cast(pa.timestamp("us", getattr(cells.type, "tz", None)), safe=False)
            moments = found.to_numpy(zero_copy_only=False).astype("datetime64[us]")
        return np.where(np.isnat(moments), np.nan, moments.astype(np.int64) / 1e6)


@final
@dataclass(frozen=True)
class UnreadableColumn(AbstractColumn):
    """Cells that mean nothing to a model.

    Attributes:
        row: of the first such cell, from 0.
        cell: its text.
        expected: half a sentence, as it follows the word Expected.
        advice: the remedy.
    """

    name: str
    row: int
    cell: str
    expected: str
    advice: str

    def read(self, cells: Any) -> np.ndarray:
        raise TypeError(self.expected)

    def refusal(self, table: AbstractTable) -> BadInputError:
        """The sentence about it."""
        place = table.place(self.row, self.name)
        return BadInputError(f"Expected {self.expected} in {place}, got {self.cell!r}: {self.advice}.")
