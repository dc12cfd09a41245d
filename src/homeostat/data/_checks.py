"""Requirements of a likelihood on its data, checked in one pass over the rows."""

import abc
from dataclasses import dataclass
from typing import final

import numpy as np

from ..results import BadInputError
from ._rows import AbstractRows
from ._sequences import AbstractSequences

_CHUNK_BYTES = 1 << 25


GREY_LEVELS = 256
"""Values of a pixel of 8 bits, the bins of a discretised likelihood."""


class AbstractRequirement(abc.ABC):
    """Something that must hold for every number, or for every row.

    Attributes:
        expectation: the requirement, as it follows the word Expected in a message.
        advice: the remedy, a half sentence of a message.
    """

    expectation: str
    advice: str

    @abc.abstractmethod
    def violations(self, rows: np.ndarray) -> np.ndarray:
        """Where it does not hold: booleans of the shape of `rows` (rows first), or of its first axis alone."""


@final
@dataclass(frozen=True)
class Finite(AbstractRequirement):
    """No NaN and no infinity."""

    advice: str = "remove the row or fill in the value"

    expectation = "finite numbers"

    def violations(self, rows: np.ndarray) -> np.ndarray:
        return ~np.isfinite(rows)


@final
@dataclass(frozen=True)
class OrMissing(AbstractRequirement):
    """A requirement on every number that is known; NaN is missing."""

    requirement: AbstractRequirement

    @property
    def expectation(self) -> str:
        return f"{self.requirement.expectation}, or none where they are missing"

    @property
    def advice(self) -> str:
        return f"{self.requirement.advice}, or leave the cell empty"

    def violations(self, rows: np.ndarray) -> np.ndarray:
        return self.requirement.violations(rows) & ~np.isnan(rows)


@final
@dataclass(frozen=True)
class UnitInterval(AbstractRequirement):
    """Numbers from 0 to 1, as a Bernoulli likelihood needs them."""

    expectation = "numbers from 0 to 1"
    advice = "scale the data (images of 8 bits: divide by 255) or choose another likelihood"

    def violations(self, rows: np.ndarray) -> np.ndarray:
        return ~((rows >= 0) & (rows <= 1))


@final
@dataclass(frozen=True)
class Interval(AbstractRequirement):
    """Numbers from `low` to `high`, as a discretised likelihood needs them."""

    low: float
    high: float

    advice = "scale the data or choose another likelihood"

    def violations(self, rows: np.ndarray) -> np.ndarray:
        return ~((rows >= self.low) & (rows <= self.high))

    @property
    def expectation(self) -> str:
        return f"numbers from {self.low:g} to {self.high:g}"


@final
@dataclass(frozen=True)
class Counts(AbstractRequirement):
    """Whole numbers of at least 0, as a multinomial likelihood needs them."""

    expectation = "counts (whole numbers of at least 0)"
    advice = "pass the counts themselves, not frequencies or weights, or choose another likelihood"

    def violations(self, rows: np.ndarray) -> np.ndarray:
        return ~((rows >= 0) & (rows == np.floor(rows)) & np.isfinite(rows))


@final
@dataclass(frozen=True)
class Nonempty(AbstractRequirement):
    """Rows that sum to more than 0: an empty document says nothing, and its perplexity is not defined."""

    expectation = "at least one count in every row"
    advice = "leave out the empty rows"

    def violations(self, rows: np.ndarray) -> np.ndarray:
        return ~(rows.reshape(len(rows), -1).sum(axis=1, dtype=np.float64) > 0)


@final
@dataclass(frozen=True)
class Categories(AbstractRequirement):
    """Whole numbers from 0 to `num_categories - 1`, as a categorical likelihood needs them."""

    num_categories: int

    advice = "number the categories from 0, or choose another likelihood"

    def violations(self, rows: np.ndarray) -> np.ndarray:
        return ~((rows >= 0) & (rows < self.num_categories) & (rows == np.floor(rows)))

    @property
    def expectation(self) -> str:
        return f"categories (whole numbers from 0 to {self.num_categories - 1})"


@final
@dataclass(frozen=True)
class GreyValues(AbstractRequirement):
    """Whole numbers from 0 to 255, as a likelihood of pixel bins needs them."""

    expectation = "pixels (whole numbers from 0 to 255)"
    advice = "multiply pixels between 0 and 1 by 255 and round them, or choose another likelihood"

    def violations(self, rows: np.ndarray) -> np.ndarray:
        return Categories(GREY_LEVELS).violations(rows)


def check_rows(rows: AbstractRows, *requirements: AbstractRequirement) -> None:
    """Read all rows once, a few megabytes at a time, and check every requirement.

    Raises:
        BadInputError: something does not hold; the message names the first row, the place in it, and the value.
    """
    if not requirements:
        return
    row_bytes = max(1, int(np.prod(rows.shape)) * 8)
    chunk_size, first = max(1, _CHUNK_BYTES // row_bytes), 0
    for chunk in rows.chunks(chunk_size):
        for requirement in requirements:
            wrong = requirement.violations(chunk)
            if wrong.any():
                _refuse(requirement, chunk, wrong, first, rows)
        first += len(chunk)


def require_shape(data: AbstractRows | AbstractSequences, shape: tuple[int, ...], *, of: str) -> None:
    """Check that rows, or the steps of sequences, have the shape that something was made for.

    Args:
        data: new data.
        shape: of the rows or steps that it was made for.
        of: what was made for them, to stand in the message: "the run in DIGITS".

    Raises:
        BadInputError: the shapes differ.
    """
    if data.shape != tuple(shape):
        what, entries = ("rows", "features") if isinstance(data, AbstractRows) else ("steps", "columns")
        raise BadInputError(
            f"Expected {what} of shape {tuple(shape)}, as {of} was made for, got {what} of shape {data.shape} in "
            f"{data.name}: pass data with the same {entries} in the same order."
        )


def _refuse(
    requirement: AbstractRequirement, chunk: np.ndarray, wrong: np.ndarray, first: int, rows: AbstractRows
) -> None:
    place = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    row = first + int(place[0])
    if wrong.ndim == 1:
        found = f"row {row} (from 0) of {rows.name} has none"
    elif rows.columns:
        found = f"got {chunk[place]:g} in row {row} (from 0), column {rows.columns[int(place[1])]} of {rows.name}"
    else:
        column = ", ".join(str(int(index)) for index in place[1:])
        found = f"got {chunk[place]:g} in row {row}, column {column} (both from 0) of {rows.name}"
    raise BadInputError(f"Expected {requirement.expectation}; {found}: {requirement.advice}.")
