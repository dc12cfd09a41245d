"""Opening a table of any kind: text, Parquet, Arrow files, and data frames in memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from ..results import BadInputError
from ..typing import Any
from ._tables import AbstractTable, TypedTable, damaged
from ._text_table import TextTable

TEXTS, ARROWS = (".csv", ".tsv", ".txt"), (".parquet", ".arrow", ".feather")
TABLES = (*TEXTS, *ARROWS)

_BLOCK_ROWS = 1 << 16


class ArrowStream(Protocol):
    """A table in memory that other libraries can read: a data frame of pandas or polars, or a table of pyarrow."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The table as a capsule of the Arrow PyCapsule interface."""
        ...


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
        raise damaged(str(file), error) from error


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
        raise damaged(str(file), error) from error
