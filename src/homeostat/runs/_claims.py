"""Claims: what a run must measure, and the relation that the measured value is expected to satisfy."""

import abc
import math
from dataclasses import dataclass
from typing import final


@dataclass(frozen=True)
class AbstractRelation(abc.ABC):
    """What a measured value is expected to satisfy; `str(relation)` is its printable form."""

    @abc.abstractmethod
    def check(self, value: float | int) -> bool:
        """Whether `value` satisfies the relation. A value that is not finite never does."""


@final
@dataclass(frozen=True)
class AtLeast(AbstractRelation):
    """value >= threshold."""

    threshold: float | int

    def check(self, value: float | int) -> bool:
        return math.isfinite(value) and value >= self.threshold

    def __str__(self) -> str:
        return f">= {self.threshold:.12g}"


@final
@dataclass(frozen=True)
class AtMost(AbstractRelation):
    """value <= threshold."""

    threshold: float | int

    def check(self, value: float | int) -> bool:
        return math.isfinite(value) and value <= self.threshold

    def __str__(self) -> str:
        return f"<= {self.threshold:.12g}"


@final
@dataclass(frozen=True)
class Between(AbstractRelation):
    """low <= value <= high."""

    low: float | int
    high: float | int

    def check(self, value: float | int) -> bool:
        return math.isfinite(value) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"in [{self.low:.12g}, {self.high:.12g}]"


def relation(text: str) -> AbstractRelation:
    """Read a relation back from its printable form.

    Raises:
        ValueError: the text is none of `>= a`, `<= a`, `in [a, b]`.
    """
    head, _, rest = text.strip().partition(" ")
    try:
        if head == ">=":
            return AtLeast(float(rest))
        if head == "<=":
            return AtMost(float(rest))
        if head == "in":
            low, high = rest.strip("[]").split(",")
            return Between(float(low), float(high))
    except ValueError:
        pass
    raise ValueError(f"Expected a relation such as '>= 0.95', '<= 0.1' or 'in [0.4, 0.6]', got {text!r}.")


@final
@dataclass(frozen=True)
class Claim:
    """One statement that a run checks.

    A claim is asserted at the scales it names and nowhere else. To assert something weaker at `smoke`, write a second
    `Claim` with the same `id`, the weaker relation and `scales=("smoke",)`; an id may appear once for each scale.

    Attributes:
        id: unique inside the experiment's group, `"<experiment>/<what>"`, such as `"control/reached"`.
        source: the table, figure, slide or section that makes the claim.
        metric: what the number is, in words.
        unit: its unit (`"nats"`, `"fraction"`, `"degrees"`, `"ratio"`, ...).
        expected: the relation that the measured value must satisfy.
        scales: where the claim is asserted.
    """

    id: str
    source: str
    metric: str
    unit: str
    expected: AbstractRelation
    scales: tuple[str, ...] = ("small", "paper")
