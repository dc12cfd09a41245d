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
    """A column of a table of comparisons.

    Attributes:
        title: its head.
        of: from a result to a cell; an array over seeds is printed as mean ± standard error.
        digits: after the decimal point, of arrays.
    """

    title: str
    of: Callable[[Result], Any]
    digits: int = 2


def tabulate(
    context: RunContext,
    comparisons: Sequence[Comparison],
    columns: Sequence[Column],
    *,
    heads: tuple[str, str],
    caption: str,
    published: Published | None = None,
    name: str = "comparison",
) -> None:
    """The table of all comparisons, a row for each method.

    Args:
        context: of the run.
        comparisons: what came out.
        columns: behind the names of comparison and method.
        heads: titles of those two.
        caption: what the figures are.
        published: figures of the source, the last column; None for none.
        name: of the table.
    """
    rows = []
    for comparison in comparisons:
        for result in comparison.results:
            known = None if published is None else published.of(comparison.name, result.name)
            cells = (_cell(column.of(result), column.digits) for column in columns)
            rows.append((comparison.name, result.name, *cells, "" if known is None else known))
    context.table(name, (*heads, *(column.title for column in columns), "published"), rows, caption=caption)


def _cell(value: Any, digits: int) -> Any:
    return printed(mean_and_error(value), digits) if isinstance(value, np.ndarray) else value


def draw(
    context: RunContext,
    comparisons: Sequence[Comparison],
    figures: dict[str, OfSeeds],
    *,
    unit: str,
    caption: str,
    digits: int = 2,
    published: Published | None = None,
    name: str = "comparison",
) -> None:
    """The comparisons as a picture; published figures stand beside the first of `figures`.

    Args:
        context: of the run.
        comparisons: what came out.
        figures: by what is added to a comparison's name.
        unit: of the figures.
        caption: what they are.
        digits: after the decimal point.
        published: figures of the source.
        name: of the picture.
    """
    points = []
    for index, (suffix, figure) in enumerate(figures.items()):
        for comparison in comparisons:
            for result in comparison.results:
                known = published.of(comparison.name, result.name) if published is not None and index == 0 else None
                value, error = mean_and_error(figure(result))
                points.append(ComparisonRow(comparison.name + suffix, result.name, value, error, known))
    picture = plot_comparison(points, xlabel=f"{unit} (lower is better)", digits=digits)
    context.figure(name, picture, caption=caption)
