"""Columns of a user's tables, from the options and from what a model was fitted to."""

import csv
from typing import NamedTuple

from ..data import AbstractRows, AbstractSequences, TableColumns
from ..results import BadInputError
from ._options import AbstractOptions


class Found(NamedTuple):
    """What was found in the table that a model was fitted to.

    Attributes:
        columns: that are modelled, in their order; empty without names.
        categories: columns, and what their codes stand for.
        unit: of the calendar; empty without dates.
    """

    columns: tuple[str, ...]
    categories: tuple[tuple[str, tuple[str, ...]], ...]
    unit: str = ""


def column_names(text: str) -> tuple[str, ...]:
    """Names joined by commas; one that has a comma stands in double quotes."""
    return tuple(name.strip() for name in next(csv.reader([text], skipinitialspace=True), []) if name.strip())


def table_columns(
    options: AbstractOptions,
    found: Found | None = None,
    sequence: str | None = None,
    time: str | None = None,
    actions: tuple[str, ...] = (),
) -> TableColumns:
    """Which columns of a table mean what; as in the table that a model was fitted to, if there is one."""
    if found is not None and found.columns:
        known = {"categories": found.categories, "unit": found.unit, "day_first": options.day_first}
        return TableColumns(sequence, time, found.columns, actions, **known)
    chosen = (column_names(text) for text in (options.columns, options.label, options.drop))
    values, labels, drop = chosen
    known = () if found is None else found.categories
    unit = "" if found is None else found.unit
    return TableColumns(sequence, time, values, actions, labels, drop, known, unit, options.day_first)


def require_names(options: AbstractOptions, data: AbstractRows | AbstractSequences) -> None:
    """Refuse to choose columns of what has none.

    Raises:
        BadInputError: columns are named, and the data is no table.
    """
    if (options.columns or options.drop or options.label) and not data.columns:
        raise BadInputError(
            f"Expected a table for --columns, --drop and --label, got {data.name}, whose entries have no names: leave them out."
        )


def require_categories(
    data: AbstractRows | AbstractSequences, categories: tuple[tuple[str, ...], ...], of: str
) -> None:
    """Refuse codes that stand for something else than before.

    Raises:
        BadInputError: they do, or they are numbers where there were codes or the reverse. (Arrays have codes without names.)
    """
    if data.columns and data.categories != categories:
        raise BadInputError(
            f"Expected {'categories' if categories else 'numbers'}, as {of} was made for, got "
            f"{'other categories' if data.categories else 'numbers'} in the columns {', '.join(data.columns)} of {data.name}: "
            f"pass data like those of the fit."
        )


def require_likelihood(data: AbstractRows | AbstractSequences, likelihood: str) -> None:
    """Refuse to take codes of categories for numbers.

    Raises:
        BadInputError: the likelihood is that of numbers.
    """
    if not data.categories or likelihood == "categorical":
        return
    if likelihood != "bernoulli" or any(len(names) > 2 for names in data.categories):
        raise BadInputError(
            f"Expected numbers for a {likelihood} likelihood, got categories in the columns {', '.join(data.columns)} of "
            f"{data.name}: choose a model with --likelihood categorical, make them known inputs (--action-columns), or leave "
            f"them out (--label, --drop)."
        )
