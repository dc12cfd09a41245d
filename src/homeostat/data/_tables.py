"""What every table is: named columns that are read some rows at a time."""

import abc
from collections.abc import Callable, Iterator
from typing import final

from ..results import BadInputError
from ..typing import Any


class AbstractTable(abc.ABC):
    """A table that is read column by column, some rows at a time.

    Attributes:
        name: of the table in messages, usually the file.
        columns: names; numbers from 1 where the table has none.
        named: whether it has a line of names.
        decimal_commas: whether a comma may stand for a decimal point.
        about: sentences about its form.
    """

    name: str
    columns: tuple[str, ...]
    named: bool = True
    decimal_commas: bool = False
    about: tuple[str, ...] = ()

    @abc.abstractmethod
    def batches(self, names: tuple[str, ...]) -> Iterator[list[Any]]:
        """The columns of these names, as arrays of Arrow, some rows at a time; text without blanks around it."""

    @abc.abstractmethod
    def place(self, row: int, column: str) -> str:
        """Where a cell stands, in words; rows count from 0."""


@final
class TypedTable(AbstractTable):
    """A table whose columns have types.

    Args:
        opened: names of the columns, and the batches of some of them from the first row on.
    """

    def __init__(self, name: str, columns: list[str], opened: Callable[[list[str]], Iterator[Any]]):
        self.name, self.columns, self._opened = name, tuple(columns), opened
        if len({*columns}) != len(columns) or not columns:
            raise BadInputError(
                f"Expected a different name for every column of {name}, got {', '.join(columns) or 'none'}."
            )

    def batches(self, names: tuple[str, ...]) -> Iterator[list[Any]]:
        import pyarrow as pa

        found = self._opened([*names])
        while True:
            try:
                batch = next(found, None)
            except (pa.ArrowException, OSError) as error:
                raise damaged(self.name, error) from error
            if batch is None:
                return
            yield [_plain(batch.column(name)) for name in names]

    def place(self, row: int, column: str) -> str:
        return f"row {row} (from 0), column {column} of {self.name}"


def compute() -> Any:
    """Functions on arrays of Arrow. They are made when it is imported, so that no checker of types knows them."""
    import pyarrow.compute

    return pyarrow.compute


def _plain(cells: Any) -> Any:
    """Text of any kind as one type, without blanks around it."""
    import pyarrow as pa

    pc = compute()
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if pa.types.is_large_string(cells.type) or pa.types.is_string_view(cells.type):
        cells = cells.cast(pa.string())
    return pc.utf8_trim_whitespace(cells) if pa.types.is_string(cells.type) else cells


def damaged(name: str, error: Exception) -> BadInputError:
    """The sentence about a table that cannot be read."""
    return BadInputError(f"Expected a table, but {name} cannot be read ({error}). It is damaged or another file.")
