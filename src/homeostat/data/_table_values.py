"""Which columns of a table are modelled: all numbers, or all categories."""

from typing import NamedTuple

from ..results import BadInputError
from ._columns import BOOLEANS, AbstractColumn, BooleanColumn, CategoryColumn, DateColumn, UnreadableColumn
from ._survey import Survey
from ._table_columns import listed
from ._tables import AbstractTable


class Modelled(NamedTuple):
    """Columns that are modelled, all of numbers or all of categories."""

    columns: tuple[AbstractColumn, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def categories(self) -> tuple[tuple[str, ...], ...]:
        """Names of the codes of each column; empty where columns are numbers."""
        found = tuple(column.categories for column in self.columns)
        return found if any(found) else ()


def modelled(table: AbstractTable, found: Survey, names: tuple[str, ...]) -> Modelled:
    """The columns of these names, to be modelled.

    Raises:
        BadInputError: there are none, or one holds dates, identifiers or cells that mean nothing, or some are numbers and others
            categories.
    """
    columns = [readable(table, found.columns[name]) for name in names]
    if not columns:
        raise BadInputError(
            f"Expected columns of values in {table.name}, found none beside those that mean something else."
        )
    dates = tuple(column.name for column in columns if isinstance(column, DateColumn))
    if dates:
        raise BadInputError(
            f"Expected numbers or categories in {table.name}, got dates in {listed(dates)}: leave them out (--label, --drop), or "
            f"name one as the times of sequences (--task sequences --time-column)."
        )
    text = tuple(column.name for column in columns if isinstance(column, CategoryColumn))
    if text:
        columns = [CategoryColumn(c.name, BOOLEANS) if isinstance(c, BooleanColumn) else c for c in columns]
    if text and not all(isinstance(column, CategoryColumn) for column in columns):
        raise BadInputError(
            f"Expected columns that are all numbers or all categories in {table.name}, got text in {listed(text)} beside "
            f"numbers: leave the text out (--label, --drop), or make it a known input of sequences (--action-columns)."
        )
    return Modelled(tuple(columns))


def readable(table: AbstractTable, column: AbstractColumn) -> AbstractColumn:
    """The column, if its cells mean something.

    Raises:
        BadInputError: they do not.
    """
    if isinstance(column, UnreadableColumn):
        raise column.refusal(table)
    return column
