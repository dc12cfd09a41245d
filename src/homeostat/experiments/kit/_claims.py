"""Claims from one table of published figures."""

from dataclasses import dataclass
from typing import final

from ...runs import AtLeast, Between, Claim

EVERYWHERE = ("smoke", "small", "paper")
"""All scales."""


@final
@dataclass(frozen=True)
class Published:
    """Figures of a source: a row for each data set or model, a column for each method. Lower is better.

    Attributes:
        source: the table.
        unit: of the figures.
        methods: names of the columns.
        rows: figures by name; shorter where the source has no more.
        digits: after the decimal point of a difference.
    """

    source: str
    unit: str
    methods: tuple[str, ...]
    rows: dict[str, tuple[float, ...]]
    digits: int = 2

    def of(self, row: str, method: str) -> float | None:
        """A figure, or None where the source has none."""
        return dict(zip(self.methods, self.rows.get(row, ()), strict=False)).get(method)

    def lead(self, row: str, worse: str, better: str) -> float:
        """By how much the second method has the lower figure.

        Raises:
            KeyError: the source does not have both figures.
        """
        known = dict(zip(self.methods, self.rows[row], strict=False))
        return round(known[worse] - known[better], self.digits)

    def lead_claim(
        self,
        id: str,
        metric: str,
        row: str,
        worse: str,
        better: str,
        *,
        least: float = 0.0,
        told: str = "",
        scales: tuple[str, ...] = ("small", "paper"),
    ) -> Claim:
        """`better` is ahead of `worse` by at least `least`; the source's own lead stands in the claim behind `told`."""
        text = f"{metric} ({told}{self.lead(row, worse, better):.{self.digits}f})"
        return Claim(id, self.source, text, self.unit, AtLeast(least), scales)

    def figure_claim(self, id: str, metric: str, row: str, method: str, *, within: float) -> Claim:
        """The method's figure is the source's, give or take `within`, at the scale of the source."""
        value = dict(zip(self.methods, self.rows[row], strict=False))[method]
        bounds = Between(round(value - within, 6), round(value + within, 6))
        return Claim(id, self.source, f"{metric} ({value:g})", self.unit, bounds, scales=("paper",))
