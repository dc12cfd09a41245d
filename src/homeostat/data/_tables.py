"""Tables of any kind as a stream of columns: text with delimiters, Parquet, Arrow files, and data frames in memory."""

import abc
import csv
import io
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, final

from ..results import BadInputError
from ..typing import Any
from ._places import reading

TEXTS, ARROWS = (".csv", ".tsv", ".txt"), (".parquet", ".arrow", ".feather")
TABLES = (*TEXTS, *ARROWS)

_BLOCK_BYTES = 1 << 24
_BLOCK_ROWS = 1 << 16
_HEAD_BYTES = 1 << 18
_HEAD_LINES = 50
# In the order of preference: a comma may also be a decimal comma, and a blank may stand in any cell.
_DELIMITERS = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "bars", " ": "blanks"}


class ArrowStream(Protocol):
    """A table in memory that other libraries can read: a data frame of pandas or polars, or a table of pyarrow."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The table as a capsule of the Arrow PyCapsule interface."""
        ...


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
class TextTable(AbstractTable):
    """Lines of cells with a delimiter; the delimiter, and whether there is a line of names, are found from the first lines.

    A first line without any number is a line of names. Empty lines are passed over.
    """

    def __init__(self, file: Path):
        self.file, self.name = file, str(file)
        self.delimiter = _delimiter(file)
        head = self._lines()
        try:
            first, second = next(head, None), next(head, None)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise _no_text(file, error) from error
        if first is None:
            raise BadInputError(f"Expected lines of cells in {file}, found none: it is empty.")
        self.width = len(first[1])
        self.named = not any(map(_is_number, first[1]))
        cells = [cell.strip() for cell in first[1]]
        if self.named and second is None:
            raise BadInputError(f"Expected rows in {file}, found only a line of names.")
        self.columns = tuple(cells) if self.named else tuple(str(number + 1) for number in range(self.width))
        twice = sorted({name for name in self.columns if name and self.columns.count(name) > 1})
        if twice:
            raise BadInputError(
                f"Expected a different name for every column in the first line of {file}, got {', '.join(twice)} more than "
                f"once: rename one."
            )
        self.decimal_commas = self.delimiter != ","
        if self.delimiter != "," and self.width > 1:
            self.about = (f"cells are parted by {_DELIMITERS[self.delimiter]}",)
        if not self.named:
            self.about += ("the first line holds numbers, so columns have no names and are counted from 1",)

    def batches(self, names: tuple[str, ...]) -> Iterator[list[Any]]:
        import pyarrow as pa
        from pyarrow import csv as reader

        pc = compute()
        own = [str(number) for number in range(self.width)]
        places = [self.columns.index(name) for name in names]
        options = {
            "read_options": reader.ReadOptions(use_threads=False, column_names=own, block_size=_BLOCK_BYTES),
            "parse_options": reader.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
            "convert_options": reader.ConvertOptions(column_types=dict.fromkeys(own, pa.string())),
        }
        skip = int(self.named)
        try:
            for batch in reader.open_csv(self.file, **options):
                cells = [pc.utf8_trim_whitespace(column) for column in batch.columns]
                empty = [pc.equal(column, "") for column in cells]
                filled = pc.invert(pc.min_element_wise(*[column.cast(pa.int8()) for column in empty]).cast(pa.bool_()))
                yield [cells[place].filter(filled).slice(skip) for place in places]
                skip = 0
        except (pa.ArrowException, OSError) as error:
            self._check_widths()
            raise _no_text(self.file, error) from error

    def place(self, row: int, column: str) -> str:
        line, _ = next(itertools.islice(self._lines(), row + int(self.named), None))
        return f"line {line}, column {column} of {self.name}"

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        """Lines that are not empty, with their numbers from 1."""
        with open(self.file, newline="", encoding="utf-8-sig") as text:
            last, lines = 0, csv.reader(text, delimiter=self.delimiter)
            for cells in lines:
                if any(map(str.strip, cells)):
                    yield last + 1, cells
                last = lines.line_num

    def _check_widths(self) -> None:
        with reading(self.file, "a table of text"):
            for line, cells in self._lines():
                if len(cells) != self.width:
                    raise BadInputError(
                        f"Expected {self.width} columns in every line of {self.file}, as in its first line, got {len(cells)} in "
                        f"line {line}: correct the line, or quote cells that hold the delimiter {self.delimiter!r}."
                    )


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
                raise _damaged(self.name, error) from error
            if batch is None:
                return
            yield [_plain(batch.column(name)) for name in names]

    def place(self, row: int, column: str) -> str:
        return f"row {row} (from 0), column {column} of {self.name}"


def open_any_table(source: Path | ArrowStream) -> AbstractTable:
    """The table of a file, or of an object in memory that has `__arrow_c_stream__`.

    Raises:
        BadInputError: it is damaged or empty, or names of columns occur twice.
    """
    if not isinstance(source, Path):
        return _in_memory(source)
    suffix = source.suffix.lower()
    return TextTable(source) if suffix in TEXTS else _parquet(source) if suffix == ".parquet" else _arrow_file(source)


def _in_memory(source: ArrowStream) -> AbstractTable:
    import pyarrow as pa

    if not hasattr(source, "__arrow_c_stream__"):
        raise BadInputError(
            f"Expected a path, an array, or a data frame with __arrow_c_stream__ (pandas from 2.2 on, polars, pyarrow), got "
            f"{type(source).__name__}: convert it."
        )
    table = pa.table(source)
    name = f"the {type(source).__module__.partition('.')[0]} table"
    return TypedTable(name, table.column_names, lambda names: iter(table.select(names).to_batches(_BLOCK_ROWS)))


def _parquet(file: Path) -> AbstractTable:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    def opened(names: list[str]) -> Iterator[Any]:
        with ParquetFile(file) as table:
            yield from table.iter_batches(batch_size=_BLOCK_ROWS, columns=names)

    try:
        with ParquetFile(file) as table:
            return TypedTable(str(file), table.schema_arrow.names, opened)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(str(file), error) from error


def _arrow_file(file: Path) -> AbstractTable:
    import pyarrow as pa

    def blocks(source: Any) -> Any:
        # Files of the Arrow format have an index; streams have none.
        with open(file, "rb") as stream:
            indexed = stream.read(6) == b"ARROW1"
        return pa.ipc.open_file(source) if indexed else pa.ipc.open_stream(source)

    def opened(names: list[str]) -> Iterator[Any]:
        with pa.memory_map(str(file)) as source, blocks(source) as table:
            indexed = hasattr(table, "num_record_batches")
            found = map(table.get_batch, range(table.num_record_batches)) if indexed else iter(table)
            for batch in found:
                yield from pa.Table.from_batches([batch.select(names)]).to_batches(_BLOCK_ROWS)

    try:
        with pa.memory_map(str(file)) as source, blocks(source) as table:
            return TypedTable(str(file), table.schema.names, opened)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(str(file), error) from error


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


def _no_text(file: Path, error: Exception) -> BadInputError:
    return BadInputError(
        f"Expected a table of text in UTF-8, but {file} cannot be read ({error}): save it again as UTF-8 (`CSV UTF-8` in a "
        f"spreadsheet)."
    )


def _damaged(name: str, error: Exception) -> BadInputError:
    return BadInputError(f"Expected a table, but {name} cannot be read ({error}). It is damaged or another file.")


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def _delimiter(file: Path) -> str:
    """The delimiter that divides most of the first lines into as many cells as the first."""
    with reading(file, "a table of text"), open(file, "rb") as stream:
        head = stream.read(_HEAD_BYTES)
    lines = head.decode("utf-8-sig", "ignore").splitlines(keepends=True)
    # The last line may be cut in the middle.
    whole = len(lines) - (len(head) == _HEAD_BYTES)
    text = "".join(lines[: max(1, min(_HEAD_LINES, whole))])
    best, most = ",", 0.0
    for delimiter in _DELIMITERS:
        with reading(file, "a table of text"):
            rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(map(str.strip, row))]
        width = len(rows[0]) if rows else 1
        share = sum(len(row) == width for row in rows) / len(rows) if width > 1 else 0.0
        if share > most and (delimiter != " " or share == 1.0):
            best, most = delimiter, share
    return best
