"""Tables in parquet files, by pyarrow."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...results import BadInputError
from .._places import lacks

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

_BLOCK_ROWS = 65_536


def parquet_names(file: Path) -> tuple[str, ...]:
    """Names of the columns."""
    with _open(file) as table:
        return tuple(table.schema_arrow.names)


def parquet_blocks(file: Path, label: str, columns: tuple[str, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Labels and numbers of some rows at a time; a null is NaN.

    Args:
        label: column whose entries are given as text.
        columns: columns of numbers, times and truth values.

    Yields:
        Labels of shape (rows,), numbers of 64 bits of shape (rows, columns); times are seconds since 1970.

    Raises:
        BadInputError: pyarrow is not installed, or a column holds something else.
    """
    from pyarrow import ArrowException

    with _open(file) as table:
        batches = table.iter_batches(batch_size=_BLOCK_ROWS, columns=[label, *columns])
        while True:
            try:
                batch = next(batches, None)
            except (ArrowException, OSError) as error:
                raise _damaged(file, error) from error
            if batch is None:
                return
            labels = np.array(["" if entry is None else str(entry) for entry in batch.column(label).to_pylist()])
            numbers = [_numbers(file, name, batch.column(name)) for name in columns]
            yield labels, np.stack(numbers, axis=1) if numbers else np.zeros((len(labels), 0))


def _open(file: Path) -> "ParquetFile":
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise lacks("pyarrow", "tables", file) from error
    try:
        return ParquetFile(file)
    except (ArrowException, OSError) as error:
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> BadInputError:
    return BadInputError(
        f"Expected a parquet table, but {file} cannot be read ({error}). It is damaged or another file."
    )


def _moments(file: Path, name: str, column: Any) -> Any:
    """Dates and times of day as microseconds; what is finer is cut off."""
    import pyarrow as pa

    if pa.types.is_time(column.type):
        # A time of day is no date: it counts from midnight.
        column = column.cast(pa.time64("ns")).cast(pa.int64())
        return column.cast(pa.timestamp("ns")).cast(pa.timestamp("us"), safe=False)
    try:
        return column.cast(pa.timestamp("us"), safe=False)
    except pa.ArrowException as error:
        raise BadInputError(
            f"Expected dates and times in the column {name} of {file}, got {column.type}: convert it to numbers."
        ) from error


def _numbers(file: Path, name: str, column: Any) -> np.ndarray:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind):
        moments = _moments(file, name, column).to_numpy(zero_copy_only=False).astype("datetime64[us]")
        return np.where(np.isnat(moments), np.nan, moments.astype(np.int64) * 1e-6)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise BadInputError(
            f"Expected numbers in the column {name} of {file}, got {kind}: name the columns of numbers, or convert it."
        )
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
