"""Claims from published figures, errors over rows or seeds, and tables and pictures of comparisons."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np

from ...runs import AtLeast, Between, Claim, RunContext
from ...typing import Array, Float
from ...viz import ComparisonRow, SettingCurve, plot_comparison
from ._method import Comparison, Result

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

    def row(self, name: str) -> dict[str, float]:
        """The figures of a row by method; those that the source does not have are left out."""
        return dict(zip(self.methods, self.rows.get(name, ()), strict=False))

    def lead(self, row: str, worse: str, better: str) -> float:
        """By how much the second method has the lower figure.

        Raises:
            KeyError: the source does not have both figures.
        """
        return round(self.row(row)[worse] - self.row(row)[better], self.digits)

    def lead_claim(
        self, id: str, metric: str, row: str, worse: str, better: str, *, least: float = 0.0, told: str = "",
        scales: tuple[str, ...] = ("small", "paper"),
    ) -> Claim:  # fmt: skip
        """`better` is ahead of `worse` by at least `least`; the source's own lead stands in the claim behind `told`."""
        text = f"{metric} ({told}{self.lead(row, worse, better):.{self.digits}f})"
        return Claim(id, self.source, text, self.unit, AtLeast(least), scales)

    def figure_claim(self, id: str, metric: str, row: str, method: str, *, within: float) -> Claim:
        """The method's figure is the source's, give or take `within`, at the scale of the source."""
        value = self.row(row)[method]
        bounds = Between(round(value - within, 6), round(value + within, 6))
        return Claim(id, self.source, f"{metric} ({value:g})", self.unit, bounds, scales=("paper",))


def mean_and_error(values: Array | np.ndarray) -> tuple[float, float]:
    """Mean over rows (or seeds) and std / sqrt(n) as Python numbers; the error of a single row is NaN."""
    values = np.asarray(values, float)
    return float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else float("nan")


def difference(first: Float[np.ndarray, " seeds"], second: Float[np.ndarray, " seeds"]) -> tuple[float, float]:
    """Mean of `first` minus mean of `second`, independent trainings, with the error of the difference.

    Of paired rows take `mean_and_error(first - second)`.
    """
    (a, of_a), (b, of_b) = mean_and_error(first), mean_and_error(second)
    return a - b, float(np.hypot(of_a, of_b))


Estimate = tuple[Any, Any] | Array | np.ndarray
"""A value with its standard error, or the rows (or seeds) whose mean it is."""


def _estimated(estimate: Estimate) -> tuple[float, float]:
    value, stderr = estimate if isinstance(estimate, tuple) else mean_and_error(estimate)
    return float(value), float(stderr)


def printed(estimate: Estimate, digits: int = 3) -> str:
    """`value ± stderr` for a table; the value alone where there is no error."""
    value, stderr = _estimated(estimate)
    return f"{value:.{digits}f}" + (f" ± {stderr:.{digits}f}" if np.isfinite(stderr) else "")


def measure(context: RunContext, claim: str, estimate: Estimate) -> None:
    """Report a claim's value with its standard error; a missing error is left out."""
    value, stderr = _estimated(estimate)
    context.measure(claim, value, stderr=stderr if np.isfinite(stderr) else None)


def setting_curve(name: str, values: Float[np.ndarray, "rows settings"]) -> SettingCurve:
    """Mean and standard error over rows (or seeds) at each setting; the error of a single row is drawn as zero."""
    mean, error = np.stack([mean_and_error(column) for column in values.T], axis=1)
    return SettingCurve(name, mean, np.nan_to_num(error))


OfSeeds = Callable[[Result], Float[np.ndarray, " seeds"]]
"""A figure of each seed of a result; lower is better."""


def measure_lead(context: RunContext, claim: str, worse: Result | None, better: Result | None, figure: OfSeeds) -> None:
    """By how much `better` has the lower figure; nothing where one was not compared."""
    if worse is not None and better is not None:
        measure(context, claim, difference(figure(worse), figure(better)))


def measure_figure(context: RunContext, claim: str, result: Result | None, figure: OfSeeds) -> None:
    """The figure of one method; nothing where it was not compared."""
    if result is not None:
        measure(context, claim, figure(result))


def least_lead(comparisons: Sequence[Comparison], figure: OfSeeds, references: Sequence[float]) -> float:
    """The least lead of any trained model over a reference of its data, such as a model without latents."""
    pairs = zip(comparisons, references, strict=True)
    return min(reference - float(np.max(figure(result))) for found, reference in pairs for result in found.results)


class Column(NamedTuple):
    """A column of a table of comparisons: its title, and cells from results; arrays over seeds are printed as mean ± standard error."""

    title: str
    of: Callable[[Result], Any]
    digits: int = 2

    def cell(self, result: Result) -> Any:
        """What stands in a row."""
        value = self.of(result)
        return printed(value, self.digits) if isinstance(value, np.ndarray) else value


def report(
    context: RunContext, comparisons: Sequence[Comparison], columns: Sequence[Column], figures: dict[str, OfSeeds], *,
    heads: tuple[str, str], unit: str, caption: str, digits: int = 2, published: Published | None = None,
) -> None:  # fmt: skip
    """The table of all comparisons, a row for each method, and the same as a picture.

    Figures of the source, where there are any, are the table's last column, and stand beside the first of `figures`.

    Args:
        columns: behind the names of comparison and method, whose titles are `heads`.
        figures: what is drawn, by what is added to a comparison's name.
        digits: after the decimal point, in the picture.
    """
    known = {found.name: {} if published is None else published.row(found.name) for found in comparisons}
    every = [
        (found.name, result, known[found.name].get(result.name)) for found in comparisons for result in found.results
    ]
    rows = [
        (name, result.name, *(column.cell(result) for column in columns), "" if beside is None else beside)
        for name, result, beside in every
    ]
    context.table("comparison", (*heads, *(column.title for column in columns), "published"), rows, caption=caption)
    points = [
        ComparisonRow(name + suffix, result.name, *mean_and_error(figure(result)), None if index else beside)
        for index, (suffix, figure) in enumerate(figures.items())
        for name, result, beside in every
    ]
    picture = plot_comparison(points, xlabel=f"{unit} (lower is better)", digits=digits)
    context.figure("comparison", picture, caption=caption)
