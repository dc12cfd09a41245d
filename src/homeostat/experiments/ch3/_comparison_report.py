"""Claims, tables and pictures of comparisons between direct and iterative inference."""

from collections.abc import Callable, Sequence

import numpy as np

from ...runs import RunContext
from ...typing import Float, Key
from ..kit import (
    Column,
    Published,
    Result,
    draw,
    least_lead,
    measure_figure,
    measure_lead,
    stage_name,
    tabulate as tabulate_methods,
)
from ._comparison import EQUAL_TIME, Judging, TableOutcome, TableRow, compare_inference

Figure = Callable[[Float[np.ndarray, "seeds rows"]], Float[np.ndarray, " seeds"]]
"""From log-likelihoods (or bounds) of test rows to the figure of each seed; lower is better."""


def nats(log_likelihood_nats: Float[np.ndarray, "seeds rows"]) -> Float[np.ndarray, " seeds"]:
    """-log p(x), mean over rows."""
    return -np.mean(log_likelihood_nats, axis=1)


def measure_leads(
    context: RunContext, claim: str, outcome: TableOutcome, figure: Figure, *, bound: bool = False
) -> None:
    """By how much iterative inference is below direct inference, for both budgets; from the bound, if so."""

    def of(result: Result) -> Float[np.ndarray, " seeds"]:
        return figure(result.scores.bound_nats if bound else result.scores.log_likelihood_nats)

    shown = outcome.shown
    for name, budget in (("direct", "updates"), (EQUAL_TIME, "time")):
        measure_lead(context, f"{claim}-{budget}", shown.of(name), shown.of("iterative"), of)


def measure_figures(context: RunContext, claim: str, outcome: TableOutcome, figure: Figure) -> None:
    """The table's own two figures, which are asserted at the scale of the thesis."""
    for name in ("direct", "iterative"):
        result = outcome.comparison.of(name)
        measure_figure(context, f"{claim}-{name}", result, lambda result: figure(result.scores.log_likelihood_nats))


def compare_rows(
    context: RunContext, group: str, cases: Sequence[TableRow], judging: Judging, figure: Figure, *, key: Key
) -> list[TableOutcome]:
    """Compare every row of a table, and measure its claims `group/row-...`."""
    outcomes = []
    for case in cases:
        outcome = compare_inference(context, case, judging, key=key)
        claim = f"{group}/{stage_name(case.name)}"
        measure_leads(context, claim, outcome, figure)
        measure_figures(context, claim, outcome, figure)
        outcomes.append(outcome)
    return outcomes


def lead_over_no_latents(outcomes: Sequence[TableOutcome], reference: float, figure: Figure = nats) -> float:
    """The least lead of any trained model over a model without latents."""
    comparisons = [outcome.comparison for outcome in outcomes]
    return least_lead(
        comparisons, lambda result: figure(result.scores.log_likelihood_nats), [reference] * len(comparisons)
    )


def tabulate(
    context: RunContext,
    outcomes: Sequence[TableOutcome],
    figure: Figure,
    *,
    unit: str,
    caption: str,
    digits: int = 2,
    published: Published | None = None,
    also_bound: bool = False,
) -> None:
    """The table of all comparisons, and the same as a picture.

    Args:
        context: of the run.
        outcomes: what came out.
        figure: of each seed.
        unit: of the figures.
        caption: what they are and on which rows.
        digits: after the decimal point.
        published: the thesis' figures.
        also_bound: draw the figures from the bound as well.
    """
    comparisons, pace = [outcome.shown for outcome in outcomes], {}
    for outcome, comparison in zip(outcomes, comparisons, strict=True):
        pace |= {id(result): each for result, each in zip(comparison.results, outcome.seconds, strict=True)}
        if outcome.stopped_early:
            context.note(
                stage_name("early", comparison.name),
                f"{comparison.name}: validation preferred the shorter direct training for {outcome.stopped_early} of "
                f"{len(outcome.scores('direct').validation_nats)} seeds, which is therefore direct inference at equal time "
                "too.",
            )
    likelihood = lambda result: figure(result.scores.log_likelihood_nats)  # noqa: E731
    bound = lambda result: figure(result.scores.bound_nats)  # noqa: E731
    updates = lambda result: result.method.training.num_steps  # noqa: E731
    columns = (
        Column("weights", lambda result: result.weights),
        Column("updates", updates),
        Column("ms an update", lambda result: 1e3 * pace[id(result)]),
        Column("minutes", lambda result: updates(result) * pace[id(result)] / 60.0),
        Column(unit, likelihood, digits),
        Column(f"{unit}, from the bound", bound, digits),
        Column("share of rows with Pareto k < 0.7", lambda result: float(np.mean(result.scores.pareto_k < 0.7))),
    )
    tabulate_methods(context, comparisons, columns, heads=("model", "inference"), caption=caption, published=published)
    figures = {"": likelihood} | ({", bound": bound} if also_bound else {})
    draw(context, comparisons, figures, unit=unit, caption=caption, digits=digits, published=published)
