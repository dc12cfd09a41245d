"""Arrays whose axes have names: as data frames, as `InferenceData` of ArviZ, and as one table in a file."""

import importlib
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..results import BadInputError
from ..train import replacing

TABLES = (".csv", ".parquet")
"""Files that hold one table."""


class Axes(NamedTuple):
    """Names of the axes of arrays, and what stands along them.

    Attributes:
        rows: axes along which rows of a table lie, such as `sequence` and `step`; the others lie along its columns.
        dims: axes of each array, by its name. The last takes in all further axes of the array, such as those of a picture.
        coords: what stands along axes: by name, the axes and the values. `date` takes the place of `step` in tables.
        groups: groups of `InferenceData`, by the names of arrays.
        lengths: steps of each sequence, beyond which tables have no rows.
    """

    rows: tuple[str, ...]
    dims: Mapping[str, tuple[str, ...]]
    coords: Mapping[str, tuple[tuple[str, ...], np.ndarray]]
    groups: Mapping[str, str]
    lengths: np.ndarray | None = None

    def shaped(self, name: str, array: np.ndarray) -> np.ndarray:
        """An array with one axis for each of its names."""
        return np.reshape(array, (*array.shape[: len(self.dims[name]) - 1], -1))

    def along(self, axis: str, size: int) -> np.ndarray:
        """What stands along an axis; numbers from 0 where nothing is known."""
        return self.coords[axis][1] if axis in self.coords else np.arange(size)


class Layout(NamedTuple):
    """An array as a table.

    Attributes:
        index: columns that say what a row is, by name.
        columns: for each other column what stands along the axes that lie along the columns; one empty tuple if there are none.
        values: rows and columns.
    """

    index: dict[str, np.ndarray]
    columns: list[tuple[Any, ...]]
    values: np.ndarray


def lay_out(name: str, array: np.ndarray, axes: Axes) -> Layout:
    """An array as a table."""
    dims, shaped = axes.dims[name], axes.shaped(name, array)
    inner = [place for place, axis in enumerate(dims) if axis in axes.rows]
    outer = [place for place, axis in enumerate(dims) if axis not in axes.rows]
    down, sizes = tuple(dims[place] for place in inner), [shaped.shape[place] for place in inner]
    values = shaped.transpose(inner + outer).reshape(int(np.prod(sizes)), -1)
    index, grids = {}, np.meshgrid(*(np.arange(size) for size in sizes), indexing="ij")
    kept = np.ones(len(values), bool)
    for axis, size, grid in zip(down, sizes, grids, strict=True):
        dated = axis == "step" and "date" in axes.coords and set(axes.coords["date"][0]) <= set(down)
        if dated:
            along, dates = axes.coords["date"]
            found = dates[tuple(grids[down.index(other)] for other in along)]
        else:
            found = axes.along(axis, size)[grid]
        index["date" if dated else axis] = found.reshape(-1)
        if axis == "step" and axes.lengths is not None and "sequence" in down:
            kept = (grid < axes.lengths[grids[down.index("sequence")]]).reshape(-1)
    along = [axes.along(dims[place], shaped.shape[place]).tolist() for place in outer]
    return Layout({key: found[kept] for key, found in index.items()}, [*itertools.product(*along)], values[kept])


def data_frames(arrays: Mapping[str, np.ndarray], axes: Axes) -> dict[str, Any]:
    """A data frame of pandas for each array whose axes have names.

    Raises:
        BadInputError: pandas is not installed.
    """
    pandas = _optional("pandas")
    found = {}
    for name in arrays:
        if name in axes.dims:
            index, columns, values = lay_out(name, arrays[name], axes)
            levels = [axis for axis in axes.dims[name] if axis not in axes.rows]
            labels = pandas.MultiIndex.from_tuples(columns, names=levels) if len(levels) > 1 else _single(columns, name)
            down = pandas.MultiIndex.from_arrays([*index.values()], names=[*index])
            if len(index) == 1:
                down = pandas.Index(next(iter(index.values())), name=next(iter(index)))
            found[name] = pandas.DataFrame(values, index=down, columns=labels)
    return found


def _single(columns: list[tuple[Any, ...]], name: str) -> list[Any]:
    return [column[0] if column else name for column in columns]


def inference_data(arrays: Mapping[str, np.ndarray], axes: Axes, observed: Mapping[str, np.ndarray]) -> Any:
    """`arviz.InferenceData` with a data set of xarray for each group.

    Args:
        observed: data for the group `observed_data`, whose axes are in `axes` as well.

    Raises:
        BadInputError: ArviZ is not installed.
    """
    arviz, xarray = _optional("arviz"), _optional("xarray")
    groups: dict[str, dict[str, Any]] = {}
    named = [
        (axes.groups.get(name, "sample_stats"), name, array) for name, array in arrays.items() if name in axes.dims
    ]
    for group, name, array in [*named, *(("observed_data", name, array) for name, array in observed.items())]:
        shaped, dims = axes.shaped(name, array), axes.dims[name]
        if dims[0] == "draw":
            # ArviZ counts draws within chains.
            shaped, dims = shaped[None], ("chain", *dims)
        groups.setdefault(group, {})[name] = (dims, shaped)
    sets = {}
    for group, variables in groups.items():
        used = {axis for dims, _ in variables.values() for axis in dims}
        coords = {name: part for name, part in axes.coords.items() if set(part[0]) <= used}
        sets[group] = xarray.Dataset(variables, coords=coords)
    return arviz.InferenceData(**sets)


def write_table(file: Path, arrays: Mapping[str, np.ndarray], axes: Axes) -> None:
    """Write the arrays that have all rows as one table (.csv or .parquet), in one step; what is missing is empty.

    Columns are called by the array and what stands along its other axes, such as `mean latent 0` and `elbo_nats`.
    """
    import pyarrow as pa
    from pyarrow import csv, parquet

    columns: dict[str, Any] = {}
    for name, array in arrays.items():
        if set(axes.rows) <= {*axes.dims.get(name, ())}:
            index, entries, values = lay_out(name, array, axes)
            columns = columns or {axis: pa.array(_plain_dates(found)) for axis, found in index.items()}
            for entry, column in zip(entries, values.T, strict=True):
                columns[" ".join(map(str, (name, *entry)))] = pa.array(column, from_pandas=True)
    with replacing(file) as temporary:
        (csv.write_csv if file.suffix == ".csv" else parquet.write_table)(pa.table(columns), temporary)


def _plain_dates(found: np.ndarray) -> np.ndarray:
    """Days where all dates are whole days."""
    if found.dtype.kind != "M" or np.any(found != found.astype("M8[D]")):
        return found
    return found.astype("M8[D]")


def _optional(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise BadInputError(
            f"Expected the package {package}, which makes data frames and InferenceData, found it not installed: install homeostat "
            f"with its extra frames."
        ) from error
