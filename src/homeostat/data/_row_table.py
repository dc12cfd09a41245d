"""Tables of which every row is an observation."""

from pathlib import Path

import numpy as np

from ..results import BadInputError
from ._open_table import ArrowStream
from ._places import Message, write_array
from ._rows import ArrayRows
from ._survey import survey
from ._table_cache import About, converted
from ._table_columns import TableColumns, listed
from ._table_values import modelled
from ._tables import AbstractTable


def open_row_table(
    source: Path | ArrowStream, columns: TableColumns, place: Path, message: Message | None
) -> ArrayRows:
    """The rows of a table, real numbers of 64 bits; NaN is missing, and categories are whole numbers from 0.

    Raises:
        BadInputError: columns that do not exist, or that hold dates, identifiers, or text beside numbers.
    """
    if columns.sequence or columns.time or columns.actions:
        raise BadInputError(
            "Expected no columns of sequences, times or actions for rows, got some: leave them out by drop, or open sequences."
        )
    array, about = converted(
        source, f"rows 2 {columns}", place, message, lambda table, target: _convert(table, columns, target)
    )
    categories = tuple(map(tuple, about["categories"]))
    return ArrayRows(array, about["name"], columns=tuple(about["columns"]), categories=categories)


def _convert(table: AbstractTable, columns: TableColumns, target: Path) -> About:
    columns.check(table)
    out = {*columns.labels, *columns.drop}
    names = columns.values or tuple(name for name in table.columns if name not in out)
    found = survey(table, names, columns)
    chosen = modelled(table, found, tuple(found.columns))
    batches = table.batches(chosen.names)
    write_array(
        target,
        (
            np.stack([column.read(cells) for column, cells in zip(chosen.columns, batch, strict=True)], axis=1)
            for batch in batches
            if len(batch[0])
        ),
    )
    lines = [f"table: {found.num_rows} rows; columns: {listed(chosen.names)}", *table.about]
    left_out = [*found.notes, *columns.left_out()]
    lines += [f"left out: {', '.join(left_out)}"] if left_out else []
    lines += (
        ["all columns are categories, coded from 0 in the order of their sorted names"] if chosen.categories else []
    )
    decimal = any(getattr(column, "decimal_comma", False) for column in chosen.columns)
    return {
        "name": table.name,
        # Columns of a table without names are found by their places, unless some were chosen.
        "columns": chosen.names if table.named or columns.chosen else (),
        "categories": chosen.categories,
        "lines": [*lines, *(["numbers have decimal commas"] if decimal else [])],
    }
