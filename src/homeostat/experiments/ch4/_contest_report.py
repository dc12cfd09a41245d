"""Tables, pictures and claims of contests between filters."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...viz import ComparisonRow, plot_comparison
from .._protocol import AbstractRunContext
from ..ch3._comparison_report import lead as lead, measure as measure, over_seeds as over_seeds
from ._common import printed
from ._contest import Contest, Standing


class Result(NamedTuple):
    """A contest and what came out.

    Attributes:
        contest: what was compared.
        standings: of its contenders, in their order.
        published: figures of the thesis in that order; None where it has none.
    """

    contest: Contest
    standings: Sequence[Standing]
    published: Sequence[float | None] = ()

    def of(self, num_iterations: int) -> Standing | None:
        """The standing of a filter by its iterations; 0 for the published one."""
        return next((each for each in self.standings if each.contender.num_iterations == num_iterations), None)


def tabulate(
    context: AbstractRunContext,
    results: Sequence[Result],
    *,
    unit: str,
    caption: str,
    digits: int = 2,
    per: float = 1.0,
) -> None:
    """The table of all contests, and the same as a picture.

    Args:
        context: of the run.
        results: what came out.
        unit: of the figures.
        caption: what they are.
        digits: after the decimal point.
        per: what free energies per step are divided by, such as the entries of a frame.
    """
    rows, points = [], []
    for result in results:
        known = [*result.published, *[None] * len(result.standings)]
        for standing, paper in zip(result.standings, known, strict=False):
            value, sequences, validation = (
                over_seeds(each / per)
                for each in (standing.nats, standing.nats_of_sequences, standing.score.validation_nats)
            )
            rows.append((
                result.contest.name, standing.contender.name, standing.weights, printed(value, digits),
                printed(sequences, digits), printed(validation, digits), "" if paper is None else paper,
            ))  # fmt: skip
            points.append(
                ComparisonRow(
                    result.contest.name, standing.contender.name, float(value.value), float(value.stderr), paper
                )
            )
    columns = (
        "model and data", "filter", "weights", f"{unit}, all steps alike", f"{unit}, all sequences alike",
        f"{unit}, validation clips", "published",
    )  # fmt: skip
    context.table("contest", columns, rows, caption=caption)
    context.figure(
        "contest", plot_comparison(points, xlabel=f"{unit} (lower is better)", digits=digits), caption=caption
    )


def measure_lead(
    context: AbstractRunContext, claim: str, first: Standing | None, second: Standing | None, per: float = 1.0
) -> None:
    """By how much the second filter's free energy per step is below that of the first; nothing where one is missing."""
    if first is not None and second is not None:
        measure(context, claim, lead(first.nats / per, second.nats / per))


def measure_reference(
    context: AbstractRunContext, claim: str, results: Sequence[Result], references: Sequence[float], per: float = 1.0
) -> None:
    """The least lead of any trained model over what a model without memory and latents scores on the same steps."""
    leads = [
        reference - float(np.max(standing.nats))
        for result, reference in zip(results, references, strict=True)
        for standing in result.standings
    ]
    context.measure(claim, min(leads) / per)
