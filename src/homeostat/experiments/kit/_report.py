"""Measurements, tables and pictures of comparisons."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...runs import RunContext
from ...typing import Float
from ...viz import ComparisonRow, plot_comparison
from ._claims import Published
from ._compare import Comparison, Result, difference, mean_and_error

OfSeeds = Callable[[Result], Float[np.ndarray, " seeds"]]
"""A figure of each seed of a result; lower is better."""


def printed(estimated: tuple[Any, Any], digits: int = 3) -> str:
    """`value ± stderr` for a table; the value alone where there is no error."""
    value, stderr = (float(number) for number in estimated)
    if not np.isfinite(stderr):
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ± {stderr:.{digits}f}"


def measure(context: RunContext, claim: str, estimated: tuple[Any, Any]) -> None:
    """Report a claim's value with its standard error; a missing error is left out."""
    value, stderr = (float(number) for number in estimated)
    context.measure(claim, value, stderr=stderr if np.isfinite(stderr) else None)


def measure_lead(context: RunContext, claim: str, worse: Result | None, better: Result | None, figure: OfSeeds) -> None:
    """By how much `better` has the lower figure; nothing where one was not compared."""
    if worse is not None and better is not None:
        measure(context, claim, difference(figure(worse), figure(better)))


def measure_figure(context: RunContext, claim: str, result: Result | None, figure: OfSeeds) -> None:
    """The figure of one method; nothing where it was not compared."""
    if result is not None:
        measure(context, claim, mean_and_error(figure(result)))


def least_lead(comparisons: Sequence[Comparison], figure: OfSeeds, references: Sequence[float]) -> float:
    """The least lead of any trained model over a reference of its data, such as a model without latents."""
    pairs = zip(comparisons, references, strict=True)
    return min(
        reference - float(np.max(figure(result))) for comparison, reference in pairs for result in comparison.results
    )


class Column(NamedTuple):
    """A column of a table of comparisons: its title, and cells from results; arrays over seeds are printed as mean ± standard error."""

    title: str
    of: Callable[[Result], Any]
    digits: int = 2

    def cell(self, result: Result) -> Any:
        """What stands in a row."""
        value = self.of(result)
        return printed(mean_and_error(value), self.digits) if isinstance(value, np.ndarray) else value


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
    found = [(comparison, result) for comparison in comparisons for result in comparison.results]
    known = [None if published is None else published.of(comparison.name, result.name) for comparison, result in found]
    rows = [
        (comparison.name, result.name, *(column.cell(result) for column in columns), "" if beside is None else beside)
        for (comparison, result), beside in zip(found, known, strict=True)
    ]
    context.table("comparison", (*heads, *(column.title for column in columns), "published"), rows, caption=caption)
    points = []
    for index, (suffix, figure) in enumerate(figures.items()):
        for (comparison, result), beside in zip(found, known, strict=True):
            value, error = mean_and_error(figure(result))
            beside = beside if index == 0 else None
            points.append(ComparisonRow(comparison.name + suffix, result.name, value, error, beside))
    picture = plot_comparison(points, xlabel=f"{unit} (lower is better)", digits=digits)
    context.figure("comparison", picture, caption=caption)
