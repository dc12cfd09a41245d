"""The range of a user's numbers, and what it says about the output density."""

import math
import zlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from ..results import BadInputError


class Range(NamedTuple):
    """Range of all numbers of some data.

    Attributes:
        low: the least.
        high: the greatest.
        whole: whether all are whole.
    """

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


def checksum(arrays: Iterable[np.ndarray], start: int = 0) -> int:
    """A checksum of some numbers, to tell whether a file is still the same."""
    for array in arrays:
        start = zlib.crc32(np.ascontiguousarray(array).tobytes(), start)
    return start
