"""Which columns of a table mean what, as a user says it."""

import difflib
from collections import Counter
from dataclasses import dataclass
from typing import final

from ..results import BadInputError
from ._tables import AbstractTable

TIMES = ("time", "date", "datetime", "timestamp", "month", "year", "week", "day")
"""Names of columns that are times if they rise."""

_SHOWN = 12


@final
@dataclass(frozen=True)
class TableColumns:
    """Which columns of a table mean what.

    Attributes:
        sequence: says which sequence a row belongs to; numbers or text. Rows of a sequence need not stand together. `None` is
            the column `sequence` if there is one; without one, or if empty, all rows are one sequence.
        time: says when; numbers, or dates and times. `None` looks for a column such as `time` or `date`; empty where steps are
            equally far apart and rows stand in their order.
        values: what was observed; all other columns if left out.
        actions: known inputs between a step and the next; those of a sequence's last row are not used. A column of categories
            becomes one of zeros and ones for each of its values.
        labels: names of rows and the like, which are left out.
        drop: columns that are left out.
        categories: names of the codes of columns, where they are known from other data.
        unit: of a calendar that dates must lie on, where it is known from other data.
        day_first: whether `03/04/2021` is in April where no date of its column tells the day from the month.
    """

    sequence: str | None = None
    time: str | None = None
    values: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    categories: tuple[tuple[str, tuple[str, ...]], ...] = ()
    unit: str = ""
    day_first: bool = False

    def __post_init__(self):
        twice = sorted(name for name, count in Counter(self.asked).items() if count > 1)
        if twice:
            raise BadInputError(
                f"Expected every column in one place, got {', '.join(map(repr, twice))} more than once: name it once."
            )

    @property
    def asked(self) -> list[str]:
        """Columns that are named."""
        return [
            *(name for name in (self.sequence, self.time) if name),
            *self.values,
            *self.actions,
            *self.labels,
            *self.drop,
        ]

    @property
    def chosen(self) -> bool:
        """Whether some columns are chosen, or left out."""
        return bool(self.values or self.labels or self.drop)

    def check(self, table: AbstractTable) -> None:
        """See that a table has the columns that are named.

        Raises:
            BadInputError: it lacks one; the sentence lists those that it has, and the nearest.
        """
        known = {*table.columns}
        lacking = [name for name in self.asked if name not in known]
        if not lacking:
            return
        near = [close for name in lacking for close in difflib.get_close_matches(name, table.columns, n=1, cutoff=0.5)]
        hint = f" Did you mean {' or '.join(dict.fromkeys(near))}?" if near else ""
        known = listed(table.columns) if table.named else f"{len(table.columns)} columns without names, counted from 1"
        raise BadInputError(
            f"Expected the columns {', '.join(self.asked)} in {table.name}, but it has {known}.{hint} Name columns that it has."
        )

    def left_out(self) -> list[str]:
        """Columns that the user leaves out, with the reason."""
        return [f"{name} (--label)" for name in self.labels] + [f"{name} (--drop)" for name in self.drop]


def listed(names: tuple[str, ...]) -> str:
    """Some names and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
