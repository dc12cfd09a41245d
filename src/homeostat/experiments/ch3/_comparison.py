"""Direct against iterative inference with the same generative model, as in Tables 3.1 to 3.3: training, budgets, report.

Three models are trained for each seed:

- iterative, N updates;
- direct, N updates: equal numbers of updates;
- direct, N t_i / t_d updates, with t the seconds that an update takes in this run: equal wall-clock. Of the two direct models
  that with the higher bound on *validation* rows counts for this budget, because whoever has the time may also stop early.

Test rows are read by the final likelihoods and by nothing else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax.random as jr
import numpy as np

from ...distributions import MonteCarlo
from ...inference import ModelWithEngine
from ...inference.engines import AbstractEncoding
from ...runs import RunContext
from ...typing import Key
from .. import kit
from ..kit import Method, OfSeeds, Training
from ._data import SplitData
from ._methods import InferenceMethod, update_seconds
from ._networks import Networks, NetworkSizes
from ._scores import EQUAL_TIME, Figure, Judging, RowScores, TableOutcome, by_bound, by_likelihood, nats, scored

SEGMENT = 100
"""Updates in a compiled segment of training."""


@dataclass(frozen=True)
class Entry:
    """One pair of rows of a table: a generative model, and how it is learned with each kind of inference."""

    sizes: NetworkSizes = NetworkSizes()
    """Of the networks."""
    training: Training = Training(100_000, 64, 2e-4)
    """Of the iterative model, and of the direct one at an equal number of updates."""
    num_iterations: int = 5
    """Iterations of iterative inference (count)."""
    num_samples: int = 1
    """Samples of q at each iteration, and of direct inference at equal time (count)."""
    direct_samples: int = 1
    """Samples of q of direct inference at an equal number of updates (count)."""


class TableRow(NamedTuple):
    """A generative model by its name, for instance "one level", its data, sizes and training, and inputs of the update network.

    With `highway`, the generative model's hidden layers have highway connections.
    """

    name: str
    data: SplitData
    entry: Entry
    encodings: Sequence[AbstractEncoding]
    highway: bool = False


def measure_leads(context: RunContext, claim: str, outcome: TableOutcome, figure: OfSeeds) -> None:
    """By how much iterative inference is below direct inference, for both budgets."""
    shown = outcome.shown
    for name, budget in (("direct", "updates"), (EQUAL_TIME, "time")):
        kit.measure_lead(context, f"{claim}-{budget}", shown.of(name), shown.of("iterative"), figure)


def compare_row(
    context: RunContext,
    group: str,
    case: TableRow,
    judging: Judging,
    figure: Figure,
    *,
    key: Key,
    comparable: bool = True,
) -> TableOutcome:
    """Train and score every model of a row, resumable model by model, and measure its claims `group/row-...`.

    The thesis' figures themselves are claimed where they are comparable.
    """
    entry, data = case.entry, case.data
    networks = Networks(data, entry.sizes, case.highway)
    direct, iterative = networks.with_direct, partial(networks.with_iterative, case.encodings)
    samples = MonteCarlo(entry.num_samples)
    kinds = (
        InferenceMethod("direct", direct, 1, MonteCarlo(entry.direct_samples)),
        InferenceMethod("longer", direct, 1, samples),
        InferenceMethod("iterative", iterative, entry.num_iterations, samples),
    )
    # Measured once in the life of a run: a resumed one keeps its budget.
    pace = lambda key: update_seconds(data, kinds, entry.training, key=key, updates=10, repeats=7)  # noqa: E731
    seconds = tuple(float(each) for each in context.stage(kit.stage_name(case.name, "pace"), pace, key=key))
    # Whole segments, because a shorter last one would be a program of its own.
    more = SEGMENT * max(1, round(entry.training.num_steps * seconds[2] / seconds[1] / SEGMENT))
    context.say(f"{case.name}: {1e3 * seconds[1]:.1f} ms a direct update, {1e3 * seconds[2]:.1f} ms an iterative one")
    trainings = (entry.training, replace(entry.training, num_steps=more), entry.training)
    methods = [kind.method(data, training, SEGMENT) for kind, training in zip(kinds, trainings, strict=True)]
    by_name = {kind.name: kind for kind in kinds}

    def score(method: Method, learned: ModelWithEngine, *, key: Key) -> RowScores:
        return scored(by_name[method.name], learned, data, judging, key=key)

    found = kit.compare(context, case.name, methods, data.train, score, num_seeds=judging.num_seeds, key=key)
    outcome, claim = TableOutcome(found, seconds), f"{group}/{kit.stage_name(case.name)}"
    measure_leads(context, claim, outcome, by_likelihood(figure))
    for name in ("direct", "iterative") if comparable else ():
        kit.measure_figure(context, f"{claim}-{name}", found.of(name), by_likelihood(figure))
    return outcome


def lead_over_no_latents(outcomes: Sequence[TableOutcome], reference: float, figure: Figure = nats) -> float:
    """The least lead of any trained model over a model without latents."""
    comparisons = [outcome.comparison for outcome in outcomes]
    return kit.least_lead(comparisons, by_likelihood(figure), [reference] * len(comparisons))


def compare_images(
    context: RunContext, group: str, cases: Sequence[TableRow], judging: Judging, figure: Figure,
    independent_nats: Callable[..., float], *, key: Key,
) -> tuple[list[TableOutcome], float]:  # fmt: skip
    """All rows of a table of images, and nats of independent pixels, learned on the first 10,000 training images."""
    outcomes = [compare_row(context, group, case, judging, figure, key=key) for case in cases]
    data = cases[0].data
    train = data.prepared(data.train, 10_000, key=jr.key(2))
    test = data.prepared(data.test, judging.num_test, key=jr.key(0))
    reference = independent_nats(np.asarray(train), np.asarray(test))
    context.measure(f"{group}/no-latents", lead_over_no_latents(outcomes, reference))
    return outcomes, reference


def tabulate(
    context: RunContext,
    outcomes: Sequence[TableOutcome],
    figure: Figure,
    *,
    unit: str,
    caption: str,
    digits: int = 2,
    published: kit.Published | None = None,
    also_bound: bool = False,
) -> None:
    """The table of all comparisons, and the same as a picture; with figures from the bound as well, if so."""
    comparisons, pace = [outcome.shown for outcome in outcomes], {}
    for outcome, comparison in zip(outcomes, comparisons, strict=True):
        pace |= {id(result): each for result, each in zip(comparison.results, outcome.seconds, strict=True)}
        longer = outcome.longer_is_better
        if not longer.all():
            context.note(
                kit.stage_name("early", comparison.name),
                f"{comparison.name}: validation preferred the shorter direct training for {np.sum(~longer)} of "
                f"{len(longer)} seeds, which is therefore direct inference at equal time too.",
            )
    updates = lambda result: result.method.training.num_steps  # noqa: E731
    columns = (
        kit.Column("weights", lambda result: result.weights),
        kit.Column("updates", updates),
        kit.Column("ms an update", lambda result: 1e3 * pace[id(result)]),
        kit.Column("minutes", lambda result: updates(result) * pace[id(result)] / 60.0),
        kit.Column(unit, by_likelihood(figure), digits),
        kit.Column(f"{unit}, from the bound", by_bound(figure), digits),
        kit.Column("share of rows with Pareto k < 0.7", lambda result: float(np.mean(result.scores.pareto_k < 0.7))),
    )
    figures = {"": by_likelihood(figure)} | ({", bound": by_bound(figure)} if also_bound else {})
    kit.report(
        context, comparisons, columns, figures, heads=("model", "inference"), unit=unit, caption=caption, digits=digits,
        published=published,
    )  # fmt: skip
