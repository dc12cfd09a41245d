"""The range of a user's numbers, what it says about the output density, and the units in which a model sees them."""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from ..results import BadInputError


class Range(NamedTuple):
    """Range of all numbers of some data."""

    low: float
    high: float
    whole: bool


def scan_range(chunks: Iterable[np.ndarray], where: str, advice: str, divisor: float = 1.0) -> Range:
    """Range of numbers after division.

    Raises:
        BadInputError: 32 bits cannot hold one.
    """
    low, high, whole = math.inf, -math.inf, divisor == 1.0
    for chunk in chunks:
        low, high = min(low, float(chunk.min())), max(high, float(chunk.max()))
        whole = whole and (chunk.dtype.kind in "bui" or bool(np.all(chunk == np.floor(chunk))))
    found = Range(low / divisor, high / divisor, whole)
    largest = max(-found.low, found.high)
    if largest > float(np.finfo(np.float32).max):
        raise BadInputError(
            f"Expected numbers that 32 bits can hold, up to 3.4e38, got {largest:g} in {where}: {advice}, or look whether this "
            f"number stands for a missing one."
        )
    return found


def choose_likelihood(named: str, model: str, always_gaussian: bool, automatic: Callable[[], str]) -> str:
    """The likelihood that was named, or the one that fits the numbers where that is `auto`.

    Raises:
        BadInputError: the model is always gaussian, and another was named.
    """
    if not always_gaussian:
        return automatic() if named == "auto" else named
    if named not in ("auto", "gaussian"):
        raise BadInputError(
            f"Expected a gaussian likelihood, which {model} is made of, got {named}: leave --likelihood out, or choose another "
            f"--model."
        )
    return "gaussian"


class Scaling(NamedTuple):
    """An affine map of every entry: x' = (x / divisor - loc) / scale, or x / divisor alone.

    Attributes:
        loc: mean of the training data after division, a number or one for each entry.
        scale: their standard deviation; 1 where they do not vary.
        standardized: whether the model sees (x / divisor - loc) / scale.
    """

    divisor: float
    loc: np.ndarray
    scale: np.ndarray
    standardized: bool

    @property
    def unit(self) -> np.ndarray:
        """dx / dx' of each entry."""
        return self.divisor * (self.scale if self.standardized else np.ones_like(self.scale))

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Stored numbers as the model sees them, in the type they have or, standardised, in 64 bits.

        Numbers that vary little around a large one (times, pressures) would lose their digits in 32 bits.
        """
        if self.standardized:
            return (values.astype(np.float64) / self.divisor - self.loc) / self.scale
        return values if self.divisor == 1.0 else values / values.dtype.type(self.divisor)

    def restore(self, values: np.ndarray) -> np.ndarray:
        """What the model says, in the unit of the stored numbers."""
        if self.standardized:
            values = values.astype(np.float64) * self.scale + self.loc
        return values * values.dtype.type(self.divisor)
