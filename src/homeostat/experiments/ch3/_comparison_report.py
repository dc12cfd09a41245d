"""Claims, tables and pictures of comparisons between direct and iterative inference."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ...metrics import Estimated
from ...typing import Float, Key
from ...viz import ComparisonRow, plot_comparison
from .._protocol import AbstractRunContext
from ._comparison import Judging, TableOutcome, TableRow, compare
from ._statistics import printed

Figure = Callable[[Float[np.ndarray, "seeds rows"]], Float[np.ndarray, " seeds"]]
"""From log-likelihoods (or bounds) of test rows to the figure of each seed; lower is better."""


class Published(NamedTuple):
    """The thesis' figures for one generative model.

    Attributes:
        direct: of direct inference.
        iterative: of iterative inference.
    """

    direct: float
    iterative: float


def nats(log_likelihood_nats: Float[np.ndarray, "seeds rows"]) -> Float[np.ndarray, " seeds"]:
    """-log p(x), mean over rows."""
    return -np.mean(log_likelihood_nats, axis=1)


def over_seeds(values: Float[np.ndarray, " seeds"]) -> Estimated:
    """Mean over seeds and std / sqrt(seeds); the error of a single seed is NaN."""
    num = len(values)
    error = np.std(values, ddof=1) / num**0.5 if num > 1 else np.nan
    return Estimated(jnp.asarray(np.mean(values)), jnp.asarray(error))


def lead(first: Float[np.ndarray, " seeds"], second: Float[np.ndarray, " seeds"]) -> Estimated:
    """Mean of `first` minus mean of `second`, independent trainings, with the error of the difference."""
    a, b = over_seeds(first), over_seeds(second)
    return Estimated(a.value - b.value, jnp.sqrt(a.stderr**2 + b.stderr**2))


def measure(context: AbstractRunContext, claim: str, estimated: Estimated) -> None:
    """Report a claim's value; a missing error is left out."""
    error = float(estimated.stderr)
    context.measure(claim, float(estimated.value), stderr=error if np.isfinite(error) else None)


def measure_leads(context: AbstractRunContext, claim: str, outcome: TableOutcome, figure: Figure) -> None:
    """The two relations of one table: by how much iterative inference is below direct inference, for both budgets."""
    iterative = figure(outcome.iterative.log_likelihood_nats)
    measure(context, f"{claim}-updates", lead(figure(outcome.direct.log_likelihood_nats), iterative))
    measure(context, f"{claim}-time", lead(figure(outcome.timed.log_likelihood_nats), iterative))


def compare_rows(
    context: AbstractRunContext, group: str, cases: Sequence[TableRow], reporting: Judging, figure: Figure, *, key: Key
) -> list[tuple[TableRow, TableOutcome]]:
    """Compare every row of a table, and measure its claims `group/row-...`."""
    outcomes = []
    for case in cases:
        outcome = compare(context, case, reporting, key=key)
        claim = f"{group}/{case.name.replace(' ', '-')}"
        measure_leads(context, claim, outcome, figure)
        measure_figures(context, claim, outcome, figure)
        outcomes.append((case, outcome))
    return outcomes


def tabulate(
    context: AbstractRunContext,
    outcomes: Sequence[tuple[TableRow, TableOutcome]],
    figure: Figure,
    *,
    unit: str,
    caption: str,
    digits: int = 2,
    published: Sequence[Published] = (),
    also_bound: bool = False,
) -> None:
    """The table of all comparisons, and the same as a picture.

    Args:
        context: of the run.
        outcomes: what was compared, and what came out.
        figure: of each seed.
        unit: of the figures.
        caption: what they are and on which rows.
        digits: after the decimal point.
        published: the thesis' figures for each comparison.
        also_bound: draw the figures from the bound as well.
    """
    rows, points, bounds = [], [], []
    for index, (case, outcome) in enumerate(outcomes):
        known = published[index] if index < len(published) else None
        parts = (
            ("direct", outcome.direct, 0, known and known.direct),
            ("direct, equal time", outcome.timed, 1, None),
            ("iterative", outcome.iterative, 2, known and known.iterative),
        )
        for name, scores, place, paper in parts:
            value, bound = (over_seeds(figure(each)) for each in (scores.log_likelihood_nats, scores.bound_nats))
            updates = outcome.updates[place]
            rows.append((
                case.name, name, outcome.weights[place // 2], updates, 1e3 * outcome.seconds[place],
                updates * outcome.seconds[place] / 60.0, printed(value, digits), printed(bound, digits),
                "" if paper is None else paper, float(np.mean(scores.pareto_k < 0.7)),
            ))  # fmt: skip
            points.append(ComparisonRow(case.name, name, float(value.value), float(value.stderr), paper))
            bounds.append(ComparisonRow(f"{case.name}, bound", name, float(bound.value), float(bound.stderr)))
        if outcome.stopped_early:
            context.note(
                f"early-{case.name.replace(' ', '-')}",
                f"{case.name}: validation preferred the shorter direct training for {outcome.stopped_early} of "
                f"{len(outcome.direct.validation_nats)} seeds, which therefore stands for direct inference at equal time too.",
            )
    columns = (
        "model", "inference", "weights", "updates", "ms an update", "minutes", unit, f"{unit}, from the bound",
        "published", "share of rows with Pareto k < 0.7",
    )  # fmt: skip
    context.table("comparison", columns, rows, caption=caption)
    points += bounds if also_bound else []
    context.figure(
        "comparison", plot_comparison(points, xlabel=f"{unit} (lower is better)", digits=digits), caption=caption
    )


def measure_figures(context: AbstractRunContext, claim: str, outcome: TableOutcome, figure: Figure) -> None:
    """The table's own two figures, which are asserted at the scale of the thesis."""
    measure(context, f"{claim}-direct", over_seeds(figure(outcome.direct.log_likelihood_nats)))
    measure(context, f"{claim}-iterative", over_seeds(figure(outcome.iterative.log_likelihood_nats)))


def lead_over_no_latents(outcomes: Sequence[tuple[TableRow, TableOutcome]], reference_nats: float) -> float:
    """The least lead of any trained model over a model without latents, in nats of mean -log p(x)."""
    each = (scores for _, outcome in outcomes for scores in (outcome.direct, outcome.longer, outcome.iterative))
    return reference_nats - max(float(np.max(nats(scores.log_likelihood_nats))) for scores in each)
