"""The first pass over a table: what each of its columns holds, and which of them say nothing."""

from typing import NamedTuple

from ..results import BadInputError
from ._column_survey import AbstractColumnSurvey, column_surveys
from ._columns import AbstractColumn, observed
from ._table_columns import TableColumns
from ._tables import AbstractTable


class Survey(NamedTuple):
    """What the columns of a table hold.

    Attributes:
        columns: by name, without those that number the rows or are empty and have no name.
        num_rows: of the table.
        notes: what was left out, and why.
    """

    columns: dict[str, AbstractColumn]
    num_rows: int
    notes: tuple[str, ...]


def survey(table: AbstractTable, names: tuple[str, ...], columns: TableColumns) -> Survey:
    """Look at every cell of the columns of these names once; memory holds some rows at a time.

    Raises:
        BadInputError: the table has no rows, or numbers with commas and with points.
    """
    if not names:
        raise BadInputError(f"Expected columns of values in {table.name}, found none beside those that are left out.")
    states, num_rows = None, 0
    for batch in table.batches(names):
        if states is None:
            kinds = {name: cells.type for name, cells in zip(names, batch, strict=True)}
            states = column_surveys(table, columns, kinds)
        for state, cells in zip(states, batch, strict=True):
            state.add(observed(cells), num_rows)
        num_rows += len(batch[0])
    if not num_rows or states is None:
        raise BadInputError(f"Expected rows in {table.name}, found only names of columns.")
    _require_one_point(table, states)
    kept, notes = {}, []
    for state in states:
        if state.reason:
            notes.append(f"{state.name} (it {state.reason})")
        else:
            kept[state.name] = state.column(num_rows)
    return Survey(kept, num_rows, tuple(notes))


def _require_one_point(table: AbstractTable, states: list[AbstractColumnSurvey]) -> None:
    commas = [state.name for state in states if state.decimal_comma]
    points = [state.name for state in states if state.points]
    if commas and points:
        raise BadInputError(
            f"Expected decimal commas or decimal points in {table.name}, got commas in column {commas[0]} and points in column "
            f"{points[0]}: write all numbers in one way, without marks between thousands."
        )
