"""What stored rows must satisfy, and how many of their numbers are missing."""

import math
from collections.abc import Iterator

import numpy as np

from ...data import (
    AbstractRequirement,
    AbstractRows,
    Categories,
    Counts,
    Finite,
    GreyValues,
    Interval,
    Nonempty,
    OrMissing,
    UnitInterval,
)
from .._numbers import COUNTS
from ._options import ENCODERS, RowsOptions

_CHUNK_NUMBERS = 1 << 22


def count_missing(rows: AbstractRows) -> int:
    """How many numbers of rows are NaN."""
    return 0 if rows.dtype.kind != "f" else sum(int(np.isnan(chunk).sum()) for chunk in row_chunks(rows))


def missing_words(missing: int, num_rows: int, shape: tuple[int, ...]) -> str:
    """How many numbers are missing, as a sentence."""
    total = num_rows * math.prod(shape)
    return f"missing: {missing} of {total} numbers ({100 * missing / total:.2g} per cent), integrated out"


def requirements(
    likelihood: str, num_classes: int, divisor: float, options: RowsOptions
) -> tuple[AbstractRequirement, ...]:
    """What stored rows must satisfy to be explained."""
    of_likelihood: dict[str, tuple[AbstractRequirement, ...]] = {
        "bernoulli": (UnitInterval() if divisor == 1.0 else Interval(0.0, divisor),),
        "discretized-gaussian": (GreyValues(),),
        "categorical": (Categories(num_classes),),
        "multinomial": (Counts(), Nonempty()),
        **{name: (Counts(),) for name in COUNTS},
    }
    every = (Finite(), *of_likelihood.get(likelihood, ()))
    return tuple(part for each in every for part in known_or_all(each, options, likelihood))


def known_or_all(
    requirement: AbstractRequirement, options: RowsOptions, likelihood: str
) -> tuple[AbstractRequirement, ...]:
    """What every known number must be, and that all are known where a missing one cannot be integrated out."""
    if likelihood == "multinomial":
        instead = "a likelihood of independent entries, such as poisson,"
    elif options.mapping == "convolutional" and options.engine in ENCODERS:
        instead = "--mapping mlp, or an engine without a convolutional encoder (iterative, gradient, natural-gradient),"
    else:
        return (OrMissing(requirement),)
    advice = f"remove the row, fill in the value, or use {instead} and what is missing is integrated out"
    return Finite(advice), requirement


def row_chunks(rows: AbstractRows) -> Iterator[np.ndarray]:
    """All rows, a few megabytes at a time."""
    return rows.chunks(max(1, _CHUNK_NUMBERS // max(1, math.prod(rows.shape))))
