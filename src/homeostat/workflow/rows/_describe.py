"""Shape, range, likelihood and units of a user's rows."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ...data import GREY_LEVELS, AbstractRows, ColumnMoments, Finite, check_rows, column_moments
from ...results import BadInputError
from .._numbers import COUNTS, Range, Scaling, choose_likelihood, is_binary, is_count, scan_range
from .._tables import require_likelihood
from ._options import LINEAR, RowsOptions
from ._requirements import count_missing, known_or_all, requirements, row_chunks


class RowsDescription(NamedTuple):
    """Rows of data in a few numbers; plain, so that a run can keep them.

    Attributes:
        shape: of one row as it is stored.
        event_shape: of one row as the model sees it, without the entries that never vary.
        image_shape: height, width and perhaps channels of a row as a picture; empty if it is none.
        columns: names of the entries, by which they are found in other tables; empty without names.
        categories: what the whole numbers of each entry stand for; empty where entries are numbers.
        num_classes: alternatives of each entry, for a categorical one; 0 otherwise.
        total_count: median number of words in a row, for a multinomial one; 0 otherwise.
        scaling: to the unit of the model, by the training rows.
        numbers: their range, by which the likelihood was chosen.
        binarized: whether fractions are drawn as black and white each time.
        fingerprint: of some rows, to know the data again.
        num_missing: numbers of all rows that are missing; where there are any, networks read which ones.
    """

    shape: tuple[int, ...]
    event_shape: tuple[int, ...]
    image_shape: tuple[int, ...]
    columns: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    num_rows: int
    likelihood: str
    num_classes: int
    total_count: int
    scaling: Scaling
    numbers: Range
    binarized: bool
    fingerprint: int
    num_missing: int = 0

    @property
    def size(self) -> int:
        """Number of entries of a row as the model sees it."""
        return math.prod(self.event_shape)

    @property
    def discrete(self) -> bool:
        """Whether the likelihood gives probabilities, not densities."""
        return self.likelihood != "gaussian"

    @property
    def log_unit_nats(self) -> float:
        """log |dx / dx'|: subtracted from a log density of rows in the model's unit it gives that of rows in their own."""
        return 0.0 if self.discrete else float(np.sum(np.log(self.scaling.unit)))

    def log_units_nats(self, known: np.ndarray) -> np.ndarray:
        """The same for each row of which some numbers are missing.

        Args:
            known: which of the entries that the model sees are known, rows first.
        """
        known = known.reshape(len(known), -1)
        return np.zeros(len(known)) if self.discrete else known @ np.log(self.scaling.unit)

    def prepare(self, rows: np.ndarray) -> np.ndarray:
        """Stored rows as the model sees them: 32-bit numbers, whole ones for categories; zero where one is missing."""
        if self.likelihood == "categorical":
            return np.nan_to_num(rows).reshape(len(rows), *self.event_shape).astype(np.int32)
        return np.nan_to_num(self.exactly(rows)).astype(np.float32).reshape(len(rows), *self.event_shape)

    def known(self, rows: np.ndarray) -> np.ndarray:
        """Which numbers of stored rows are not missing, as the model sees them."""
        return self.scaling.keep(~np.isnan(rows.reshape(len(rows), -1))).reshape(len(rows), *self.event_shape)

    def exactly(self, rows: np.ndarray) -> np.ndarray:
        """The same, flat and with all digits: 64 bits where rows are standardised."""
        flat = rows.reshape(len(rows), -1)
        return self.scaling.apply(flat if self.scaling.standardized else flat.astype(np.float32))

    def restore(self, values: np.ndarray) -> np.ndarray:
        """What the model says, in the unit and the shape of the stored rows."""
        return self.scaling.restore(np.asarray(values).reshape(len(values), -1)).reshape(len(values), *self.shape)

    def pictures(self, stored: np.ndarray) -> np.ndarray:
        """Stored rows, or what `restore` gave, as images with values from 0 to 1."""
        images = np.asarray(stored, np.float64).reshape(len(stored), *self.image_shape)
        if self.likelihood == "gaussian":
            low, high = float(np.nanmin(images)), float(np.nanmax(images))
            return (images - low) / ((high - low) or 1.0)
        divisor = self.scaling.divisor
        return images / (divisor if divisor != 1.0 else max(1.0, self.num_classes - 1.0))


def describe_rows(rows: AbstractRows, train: AbstractRows, options: RowsOptions) -> RowsDescription:
    """Look at all rows once: check them, choose a likelihood where none is named, and measure the units of the training rows.

    Raises:
        BadInputError: something is not finite, or outside what the likelihood can explain; or missing, and it cannot be done
            without.
    """
    if options.divide_by <= 0.0 or not math.isfinite(options.divide_by):
        raise BadInputError(
            f"Expected a positive number to divide by, got {options.divide_by}: leave --divide-by at 1."
        )
    check_rows(rows, *known_or_all(Finite(), options, options.likelihood))
    numbers = scan_range(_numbers(rows), rows.name, "say --divide-by", options.divide_by)
    plain = options.model != "latent-gaussian"
    name = choose_likelihood(options.likelihood, options.model, plain, lambda: _fitting(options, rows, numbers))
    require_likelihood(rows, name)
    divisor = options.divide_by
    if name == "discretized-gaussian":
        if divisor != 1.0:
            raise BadInputError(
                f"Expected whole numbers from 0 to {GREY_LEVELS - 1} for a discretized-gaussian, got --divide-by "
                f"{divisor:g}: leave it out, grey values are scaled by themselves."
            )
        divisor = GREY_LEVELS - 1.0
    size = math.prod(rows.shape)
    found = RowsDescription(
        shape=tuple(rows.shape),
        event_shape=(size,) if plain or name == "multinomial" else tuple(rows.shape),
        image_shape=_image_shape(options, tuple(rows.shape)),
        columns=rows.columns,
        categories=rows.categories,
        num_rows=rows.num_rows,
        likelihood=name,
        num_classes=_num_classes(options, numbers.high) if name == "categorical" else 0,
        total_count=_median_count(train) if name == "multinomial" else 0,
        scaling=Scaling.none(size, divisor),
        numbers=numbers,
        binarized=options.binarize,
        fingerprint=rows.fingerprint(),
        num_missing=count_missing(rows),
    )
    check_rows(rows, *requirements(name, found.num_classes, divisor, options))
    if options.binarize and name != "bernoulli":
        raise BadInputError(f"Expected a bernoulli likelihood for --binarize, got {name}: leave --binarize out.")
    if name not in ("gaussian", *COUNTS) and not found.num_missing:
        return found
    moments = column_moments(_known(train), train.shape, train.dtype)
    if not moments.count.all():
        empty = int(np.argmin(moments.count.reshape(-1)))
        column = train.columns[empty] if train.columns else f"{empty} (from 0)"
        raise BadInputError(
            f"Expected a number in each column of the training rows of {train.name}, got none in column {column}: leave it out."
        )
    if name in COUNTS:
        found = found._replace(scaling=found.scaling._replace(loc=moments.mean.reshape(-1)))
    if name == "gaussian":
        scaling = _scaling(moments, train, divisor, options)
        shape = found.event_shape if scaling.varies.all() else (scaling.size,)
        found = found._replace(scaling=scaling, event_shape=shape)
    return found


def _scaling(moments: ColumnMoments, train: AbstractRows, divisor: float, options: RowsOptions) -> Scaling:
    """Units of real numbers.

    The likelihood of a linear model is the same in all units that it allows, so it is always fitted in those in which nothing
    is lost to rounding: one of each entry for factor analysis, one of all for probabilistic PCA.

    Raises:
        BadInputError: nothing varies.
    """
    linear = options.model in LINEAR
    scaling = Scaling.of(moments, options.standardize or linear, divisor=divisor)
    if not scaling.size:
        raise BadInputError(
            f"Expected rows that differ, got the same numbers in all training rows of {train.name}: a model has nothing to learn."
        )
    if options.mapping == "convolutional" and options.model == "latent-gaussian":
        # A picture keeps its shape, so what never varies stays in it.
        return scaling._replace(varies=np.ones_like(scaling.varies))
    return scaling.together() if options.model == "probabilistic-pca" else scaling


def _known(rows: AbstractRows) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Chunks, and which of their numbers are known; None if all are."""
    for chunk in row_chunks(rows):
        missing = np.isnan(chunk)
        yield chunk, ~missing if missing.any() else None


def _numbers(rows: AbstractRows) -> Iterator[np.ndarray]:
    """What is known, chunk by chunk."""
    chunks = (chunk if known is None else chunk[known] for chunk, known in _known(rows))
    return (chunk for chunk in chunks if chunk.size)


def _fitting(options: RowsOptions, rows: AbstractRows, numbers: Range) -> str:
    """The likelihood that fits the numbers: a probability only where nothing else could be meant."""
    if rows.categories:
        return "categorical"
    fractions = numbers.low >= 0.0 and numbers.high <= 1.0
    if is_binary(numbers) or (options.binarize and fractions):
        return "bernoulli"
    pictures = len(rows.shape) >= 2 or bool(options.image_shape) or rows.dtype == np.uint8
    return "discretized-gaussian" if pictures and is_count(numbers) and numbers.high < GREY_LEVELS else "gaussian"


def _num_classes(options: RowsOptions, high: float) -> int:
    found = int(high) + 1 if options.classes is None else options.classes
    if not 2 <= found <= 4096:
        raise BadInputError(
            f"Expected from 2 to 4096 classes for a categorical likelihood, got {found}: number the categories from 0, or "
            f"choose another likelihood."
        )
    return found


def _image_shape(options: RowsOptions, shape: tuple[int, ...]) -> tuple[int, ...]:
    if not options.image_shape:
        is_image = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))
        return () if not is_image else shape[:2] if shape[2:] == (1,) else shape
    parts = options.image_shape.split(",")
    sides = tuple(int(part) for part in parts if part.strip().isdecimal())
    if len(sides) != len(parts) or len(sides) not in (2, 3) or math.prod(sides) != math.prod(shape):
        raise BadInputError(
            f"Expected the height and width of an image of {math.prod(shape)} numbers, as 28,28, got "
            f"--image-shape {options.image_shape}."
        )
    return sides


def _median_count(rows: AbstractRows) -> int:
    totals = np.concatenate([chunk.reshape(len(chunk), -1).sum(axis=1) for chunk in row_chunks(rows)])
    return max(1, int(np.median(totals)))
