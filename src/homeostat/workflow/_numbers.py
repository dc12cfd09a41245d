"""The range of a user's numbers, what it says about the output density, and the units in which a model sees them."""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from ..data import ColumnMoments
from ..results import BadInputError

_NAMED = 5
"""Constant entries that are named in one sentence."""


COUNTS = ("poisson", "negative-binomial")
"""Likelihoods of independent counts."""


class Range(NamedTuple):
    """Range of all numbers of some data."""

    low: float
    high: float
    whole: bool


def is_binary(numbers: Range) -> bool:
    """Whether all are 0 or 1."""
    return is_count(numbers) and numbers.high <= 1.0


def is_count(numbers: Range) -> bool:
    """Whether all are whole and none below 0."""
    return numbers.whole and numbers.low >= 0.0


def kind_of_number(likelihood: str, unit: str, asked: bool, numbers: Range) -> list[str]:
    """Sentences that say which likelihood explains the data, what kind of number its logarithm is, and what else could be meant.

    Args:
        unit: one of what it is averaged over, in words.
        asked: whether the likelihood was named.
    """
    kind = "log density" if likelihood == "gaussian" else "log probability"
    if likelihood == "bernoulli" and not numbers.whole:
        kind = "negative cross-entropy of fractions, no density of them,"
    chosen = "as asked" if asked else "chosen from the data"
    found = [f"likelihood: {likelihood}, {chosen} (--likelihood names another): {kind} in nats per {unit}"]
    if likelihood == "gaussian" and not asked and is_count(numbers) and not is_binary(numbers):
        found.append(
            "all numbers are whole and none is negative: if they are counts, --likelihood poisson or negative-binomial gives their "
            "log probability"
        )
    elif likelihood == "gaussian" and not asked and numbers.low >= 0.0 and numbers.high <= 1.0:
        found.append(
            "all numbers lie from 0 to 1: if they are fractions of black, --likelihood bernoulli gives their cross-entropy"
        )
    return found


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
    """The entries that a model sees, in its unit: x' = (x / divisor - loc) / scale, or x / divisor alone.

    Entries stand on the last axis, flat.

    Attributes:
        loc: mean of the training data after division, one for each entry; the constant itself where an entry does not vary.
        scale: their standard deviation; 1 where they do not vary.
        varies: entries that the model sees; the others never vary in the training data and say nothing.
        standardized: whether the model sees (x / divisor - loc) / scale.
    """

    divisor: float
    loc: np.ndarray
    scale: np.ndarray
    varies: np.ndarray
    standardized: bool

    @staticmethod
    def none(size: int, divisor: float = 1.0) -> "Scaling":
        """Every entry, divided by a number at most."""
        return Scaling(divisor, np.zeros(size), np.ones(size), np.ones(size, bool), False)

    @staticmethod
    def of(moments: ColumnMoments, standardized: bool, *, divisor: float = 1.0, size: int | None = None) -> "Scaling":
        """By means and deviations of each entry, or by one of both for all `size` entries."""
        loc = np.where(moments.varies, moments.mean, np.where(moments.count > 0, moments.low, 0.0)) / divisor
        scale = np.where(moments.varies, moments.deviation / divisor, 1.0)
        size = loc.size if size is None else size
        parts = (np.broadcast_to(part.reshape(-1), size) for part in (loc, scale, np.asarray(moments.varies)))
        return Scaling(divisor, *parts, standardized)

    def together(self) -> "Scaling":
        """The same with one scale for all entries, the root mean square of those that vary."""
        kept = self.scale[self.varies]
        common = float(np.sqrt(np.mean(kept**2))) if kept.size else 1.0
        return self._replace(scale=np.where(self.varies, common, 1.0))

    @property
    def size(self) -> int:
        """Number of entries that the model sees."""
        return int(self.varies.sum())

    @property
    def unit(self) -> np.ndarray:
        """dx / dx' of each entry that the model sees."""
        return self.divisor * (self.keep(self.scale) if self.standardized else np.ones(self.size))

    def keep(self, values: np.ndarray) -> np.ndarray:
        """What belongs to entries that the model sees, out of something for each entry."""
        return values if self.varies.all() else values[..., self.varies]

    def relative(self, values: np.ndarray) -> np.ndarray:
        """All entries in deviations from the mean, in 64 bits.

        Numbers that vary little around a large one (times, pressures) would lose their digits in 32 bits.
        """
        return (values.astype(np.float64) / self.divisor - self.loc) / self.scale

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Stored numbers as the model sees them, in the type they have or, standardised, in 64 bits."""
        if self.standardized:
            return self.keep(self.relative(values))
        kept = self.keep(values)
        return kept if self.divisor == 1.0 else kept / values.dtype.type(self.divisor)

    def restore(self, values: np.ndarray) -> np.ndarray:
        """What the model says, in the unit of the stored numbers; what does not vary is what it always was."""
        if self.standardized:
            values = values.astype(np.float64) * self.keep(self.scale) + self.keep(self.loc)
        return self.spread(values, fill=self.loc) * values.dtype.type(self.divisor)

    def spread(self, values: np.ndarray, *, fill: np.ndarray | float = 0.0) -> np.ndarray:
        """Numbers of the entries that the model sees among those of all entries."""
        if self.varies.all():
            return values
        every = np.empty((*values.shape[:-1], self.varies.size), values.dtype)
        every[...] = fill
        every[..., self.varies] = values
        return every

    def constants(self, columns: tuple[str, ...] = ()) -> str:
        """Which entries never vary, in words; empty where all do."""
        still = np.flatnonzero(~self.varies).tolist()
        named = [columns[entry] if columns else f"entry {entry}" for entry in still[:_NAMED]]
        more = f" and {len(still) - _NAMED} more" if len(still) > _NAMED else ""
        return (
            ", ".join(f"{name} ({self.loc[entry] * self.divisor:g})" for name, entry in zip(named, still, strict=False))
            + more
        )
