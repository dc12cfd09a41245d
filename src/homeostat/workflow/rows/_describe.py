"""What a user's rows are: their shape, their range, the likelihood that fits them, and the units they are worked on in."""

import math
import zlib
from typing import NamedTuple

import numpy as np

from ...data import (
    AbstractRequirement,
    AbstractRows,
    Categories,
    Counts,
    Finite,
    GreyValues,
    Nonempty,
    UnitInterval,
    check_rows,
)
from ...results import BadInputError
from ._options import LINEAR, RowsOptions

GREY_LEVELS = 256
"""Values of a pixel of 8 bits, the bins of a discretised likelihood."""

_CHUNK_NUMBERS = 1 << 22
_WITNESSES = 64


class Observations(NamedTuple):
    """Rows of data in a few numbers; plain, so that a run can keep them.

    Attributes:
        shape: of one row as it is stored.
        event_shape: of one row as the model sees it.
        image_shape: height, width and perhaps channels of a row as a picture; empty if it is none.
        num_rows: how many rows there are.
        likelihood: name of the output density.
        num_classes: alternatives of each entry, for a categorical one; 0 otherwise.
        total_count: median number of words in a row, for a multinomial one; 0 otherwise.
        divisor: what numbers are divided by.
        loc: mean of the training rows after division, flat.
        scale: their standard deviation; 1 where they do not vary.
        standardized: whether the model sees (x - loc) / scale.
        binarized: whether fractions are drawn as black and white each time.
        fingerprint: of some rows, to know the data again.
    """

    shape: tuple[int, ...]
    event_shape: tuple[int, ...]
    image_shape: tuple[int, ...]
    num_rows: int
    likelihood: str
    num_classes: int
    total_count: int
    divisor: float
    loc: np.ndarray
    scale: np.ndarray
    standardized: bool
    binarized: bool
    fingerprint: int

    @property
    def size(self) -> int:
        """Number of entries of a row."""
        return math.prod(self.shape)

    @property
    def discrete(self) -> bool:
        """Whether the likelihood gives probabilities, not densities."""
        return self.likelihood != "gaussian"

    @property
    def log_unit_nats(self) -> float:
        """log |dx / dx'|: subtracted from a log density of standardised rows it gives that of rows in their own unit."""
        spread = float(np.sum(np.log(self.scale))) if self.standardized else 0.0
        return spread + (self.size * math.log(self.divisor) if self.likelihood == "gaussian" else 0.0)

    def prepare(self, rows: np.ndarray) -> np.ndarray:
        """Stored rows as the model sees them: 32-bit numbers, whole ones for categories."""
        if self.likelihood == "categorical":
            return rows.reshape(len(rows), *self.event_shape).astype(np.int32)
        flat = rows.reshape(len(rows), -1)
        if self.standardized:
            # In double precision, because numbers that vary little around a large one (times, pressures) would lose their digits.
            values = ((flat.astype(np.float64) / self.divisor - self.loc) / self.scale).astype(np.float32)
        else:
            values = flat.astype(np.float32)
            values = values if self.divisor == 1.0 else values / np.float32(self.divisor)
        return values.reshape(len(rows), *self.event_shape)

    def restore(self, values: np.ndarray) -> np.ndarray:
        """What the model says, in the unit and the shape of the stored rows."""
        flat = np.asarray(values).reshape(len(values), -1)
        if self.standardized:
            flat = flat.astype(np.float64) * self.scale + self.loc
        return (flat * flat.dtype.type(self.divisor)).reshape(len(values), *self.shape)

    def pictures(self, stored: np.ndarray) -> np.ndarray:
        """Stored rows, or what `restore` gave, as images with values from 0 to 1."""
        images = np.asarray(stored, np.float64).reshape(len(stored), *self.image_shape)
        if self.likelihood == "gaussian":
            low, high = float(images.min()), float(images.max())
            return (images - low) / ((high - low) or 1.0)
        return images / (self.divisor if self.divisor != 1.0 else max(1.0, self.num_classes - 1.0))


def describe(rows: AbstractRows, train: AbstractRows, config: RowsOptions) -> Observations:
    """Look at all rows once: check them, choose a likelihood where none is named, and measure the units of the training rows.

    Args:
        rows: all rows.
        train: those that may teach anything.
        config: what was asked for.

    Raises:
        BadInputError: something is not finite, or outside what the likelihood can explain.
    """
    if config.divide_by <= 0.0 or not math.isfinite(config.divide_by):
        raise BadInputError(f"Expected a positive number to divide by, got {config.divide_by}: leave --divide-by at 1.")
    check_rows(rows, Finite())
    low, high, whole = _range(rows, config.divide_by)
    largest = max(-low, high)
    if largest > float(np.finfo(np.float32).max):
        raise BadInputError(
            f"Expected numbers that 32 bits can hold, up to 3.4e38, got {largest:g} in {rows.name}: say --divide-by, or look "
            f"whether this number stands for a missing one."
        )
    name = _likelihood(config, rows, low, high, whole)
    divisor = config.divide_by
    if name == "discretized-gaussian":
        if divisor != 1.0:
            raise BadInputError(
                f"Expected whole numbers from 0 to {GREY_LEVELS - 1} for a discretized-gaussian, got --divide-by "
                f"{divisor:g}: leave it out, grey values are scaled by themselves."
            )
        divisor = GREY_LEVELS - 1.0
    found = Observations(
        shape=tuple(rows.shape),
        event_shape=_event_shape(config, tuple(rows.shape), name),
        image_shape=_image_shape(config, tuple(rows.shape)),
        num_rows=rows.num_rows,
        likelihood=name,
        num_classes=_num_classes(config, high) if name == "categorical" else 0,
        total_count=_median_count(train) if name == "multinomial" else 0,
        divisor=divisor,
        loc=np.zeros(math.prod(rows.shape)),
        scale=np.ones(math.prod(rows.shape)),
        standardized=name == "gaussian" and config.standardize and config.model not in LINEAR,
        binarized=config.binarize,
        fingerprint=fingerprint(rows),
    )
    check_rows(rows, *requirements(found))
    if config.binarize and name != "bernoulli":
        raise BadInputError(f"Expected a bernoulli likelihood for --binarize, got {name}: leave --binarize out.")
    if name == "gaussian":
        loc, scale = _moments(train, divisor)
        found = found._replace(loc=loc, scale=scale)
    return found


def requirements(observations: Observations) -> tuple[AbstractRequirement, ...]:
    """What stored rows must satisfy to be explained."""
    name = observations.likelihood
    if name == "bernoulli":
        return (Finite(), UnitInterval() if observations.divisor == 1.0 else _scaled(observations.divisor))
    if name == "discretized-gaussian":
        return Finite(), GreyValues()
    if name == "categorical":
        return Finite(), Categories(observations.num_classes)
    if name == "multinomial":
        return Finite(), Counts(), Nonempty()
    return (Finite(),)


def fingerprint(rows: AbstractRows) -> int:
    """A checksum of the number of rows and of some of them, to tell whether a file is still the same."""
    some = rows.read(np.unique(np.linspace(0, rows.num_rows - 1, _WITNESSES).astype(np.int64)))
    return zlib.crc32(np.ascontiguousarray(some).tobytes(), rows.num_rows % 2**32)


def _scaled(divisor: float) -> AbstractRequirement:
    from ...data import Interval

    return Interval(0.0, divisor)


def _chunks(rows: AbstractRows):
    return rows.chunks(max(1, _CHUNK_NUMBERS // max(1, math.prod(rows.shape))))


def _range(rows: AbstractRows, divisor: float) -> tuple[float, float, bool]:
    """Least and greatest number, and whether all are whole."""
    low, high, whole = math.inf, -math.inf, True
    for chunk in _chunks(rows):
        low, high = min(low, float(chunk.min())), max(high, float(chunk.max()))
        whole = whole and (chunk.dtype.kind in "bui" or bool(np.all(chunk == np.floor(chunk))))
    return low / divisor, high / divisor, whole and divisor == 1.0


def _likelihood(config: RowsOptions, rows: AbstractRows, low: float, high: float, whole: bool) -> str:
    """The likelihood that was named, or the one that fits the numbers."""
    linear = config.model != "latent-gaussian"
    if linear and config.likelihood not in ("auto", "gaussian"):
        raise BadInputError(
            f"Expected a gaussian likelihood, which {config.model} is made of, got {config.likelihood}: leave --likelihood "
            f"out, or choose --model latent-gaussian."
        )
    if linear:
        return "gaussian"
    if config.likelihood != "auto":
        return config.likelihood
    if low >= 0.0 and high <= 1.0:
        return "bernoulli"
    pictures = len(rows.shape) >= 2 or bool(config.image_shape) or rows.dtype == np.uint8
    if whole and low >= 0.0 and high < GREY_LEVELS and pictures:
        return "discretized-gaussian"
    return "multinomial" if whole and low >= 0.0 and len(rows.shape) == 1 else "gaussian"


def _num_classes(config: RowsOptions, high: float) -> int:
    found = int(high) + 1 if config.classes is None else config.classes
    if not 2 <= found <= 4096:
        raise BadInputError(
            f"Expected from 2 to 4096 classes for a categorical likelihood, got {found}: number the categories from 0, or "
            f"choose another likelihood."
        )
    return found


def _event_shape(config: RowsOptions, shape: tuple[int, ...], likelihood: str) -> tuple[int, ...]:
    if config.model != "latent-gaussian" or likelihood == "multinomial":
        return (math.prod(shape),)
    return shape


def _image_shape(config: RowsOptions, shape: tuple[int, ...]) -> tuple[int, ...]:
    if not config.image_shape:
        is_image = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))
        return () if not is_image else shape[:2] if shape[2:] == (1,) else shape
    parts = config.image_shape.split(",")
    sides = tuple(int(part) for part in parts if part.strip().isdecimal())
    if len(sides) != len(parts) or len(sides) not in (2, 3) or math.prod(sides) != math.prod(shape):
        raise BadInputError(
            f"Expected the height and width of an image of {math.prod(shape)} numbers, as 28,28, got "
            f"--image-shape {config.image_shape}."
        )
    return sides


def _median_count(rows: AbstractRows) -> int:
    totals = np.concatenate([chunk.reshape(len(chunk), -1).sum(axis=1) for chunk in _chunks(rows)])
    return max(1, int(np.median(totals)))


def _moments(rows: AbstractRows, divisor: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every entry, in two passes, so that nothing cancels."""
    size = math.prod(rows.shape)
    mean, square = np.zeros(size), np.zeros(size)
    for chunk in _chunks(rows):
        mean += chunk.reshape(len(chunk), -1).astype(np.float64).sum(axis=0)
    mean /= rows.num_rows
    for chunk in _chunks(rows):
        square += ((chunk.reshape(len(chunk), -1).astype(np.float64) - mean[None, :]) ** 2).sum(axis=0)
    deviation = np.sqrt(square / rows.num_rows)
    # What never varies has no scale of its own, up to the rounding of the numbers.
    rounding = 1e-6 if rows.dtype.kind == "f" and rows.dtype.itemsize < 8 else 1e-12
    constant = deviation <= rounding * np.maximum(np.abs(mean), 1e-30)
    return mean / divisor, np.where(constant, 1.0, deviation / divisor)
