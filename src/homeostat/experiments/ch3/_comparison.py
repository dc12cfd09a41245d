"""Direct against iterative inference with the same generative model, as in Tables 3.1 to 3.3: training, budgets, scores, report.

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
from typing import NamedTuple, final

import jax.random as jr
import numpy as np

from ...distributions import MonteCarlo
from ...inference.engines import AbstractEncoding
from ...runs import RunContext
from ...typing import Bool, Float, Key
from .. import kit
from ..kit import Column, Comparison, Result
from ._data import DataSet, SplitData
from ._methods import Entry, InferenceMethod, Judging, RowScores, compare, scored, update_seconds
from ._networks import Networks

SEGMENT = 100
"""Updates in a compiled segment of training."""
EQUAL_TIME = "direct, equal time"


@dataclass(frozen=True)
class ImageConfig:
    """Options of the tables of images."""

    data: DataSet
    """What is observed: pictures."""
    one_level: Entry
    """The model of one level."""
    two_levels: Entry
    """The model of two levels."""
    num_models: int
    """1 leaves the model of two levels out (count)."""
    reporting: Judging
    """How models are judged."""


class TableRow(NamedTuple):
    """A generative model by its name, for instance "one level", its sizes and training, and inputs of the update network.

    With `highway`, the generative model's hidden layers have highway connections.
    """

    name: str
    entry: Entry
    encodings: Sequence[AbstractEncoding]
    highway: bool = False


def nats(log_likelihood_nats: Float[np.ndarray, "seeds rows"]) -> Float[np.ndarray, " seeds"]:
    """-log p(x), mean over rows."""
    return -np.mean(log_likelihood_nats, axis=1)


@final
@dataclass(frozen=True, eq=False)
class Table:
    """What all rows of a table share.

    Attributes:
        name: of the experiment, in claims.
        data, judging: what is observed, and how models are judged.
        unit: of the figures.
        figure: from log-likelihoods (or bounds) of test rows to the figure of each seed; lower is better.
        digits: of a figure, after the decimal point.
        published: figures of the source, to be shown beside.
        claimed: whether figures of the source are comparable, and so claimed.
    """

    name: str
    data: SplitData
    judging: Judging
    unit: str = "nats"
    figure: Callable[[Float[np.ndarray, "seeds rows"]], Float[np.ndarray, " seeds"]] = nats
    digits: int = 2
    published: kit.Published | None = None
    claimed: bool = True

    def by_likelihood(self, result: Result) -> Float[np.ndarray, " seeds"]:
        """The figure of a result from its log-likelihoods."""
        return self.figure(result.scores.log_likelihood_nats)

    def by_bound(self, result: Result) -> Float[np.ndarray, " seeds"]:
        """The figure of a result from its bounds."""
        return self.figure(result.scores.bound_nats)


class TableOutcome(NamedTuple):
    """One row of a table: direct, direct for longer, and iterative, scored by `RowScores`; seconds of an update of each."""

    comparison: Comparison
    seconds: tuple[float, ...]

    @property
    def longer_is_better(self) -> Bool[np.ndarray, " seeds"]:
        """Whether validation prefers the longer direct training."""
        direct, longer, _ = self.comparison.results
        return longer.scores.validation_nats >= direct.scores.validation_nats

    @property
    def shown(self) -> Comparison:
        """Direct at equal updates, direct at equal time, and iterative.

        Direct inference at equal time is, of each seed's two models, the one that validation prefers.
        """
        direct, longer, iterative = self.comparison.results
        use = self.longer_is_better
        choose = lambda a, b: np.where(use.reshape(-1, *[1] * (a.ndim - 1)), a, b)  # noqa: E731
        scores = RowScores(*map(choose, longer.scores, direct.scores))
        timed = longer._replace(method=replace(longer.method, name=EQUAL_TIME), scores=scores)
        return Comparison(self.comparison.name, (direct, timed, iterative))


def compare_row(context: RunContext, table: Table, row: TableRow, *, key: Key) -> TableOutcome:
    """Train and score every model of a row, resumable model by model, and measure its claims `table/row-...`."""
    entry, networks = row.entry, Networks(table.data, row.entry.sizes, row.highway)
    iterative, samples = partial(networks.iterative, row.encodings), MonteCarlo(entry.num_samples)
    kinds = (
        InferenceMethod("direct", networks, networks.direct, 1, MonteCarlo(entry.direct_samples)),
        InferenceMethod("longer", networks, networks.direct, 1, samples),
        InferenceMethod("iterative", networks, iterative, entry.num_iterations, samples),
    )
    # Measured once in the life of a run: a resumed one keeps its budget.
    pace = partial(update_seconds, kinds, entry.training, updates=10, repeats=7)
    seconds = tuple(float(each) for each in context.stage(kit.stage_name(row.name, "pace"), pace, key=key))
    # Whole segments, because a shorter last one would be a program of its own.
    more = SEGMENT * max(1, round(entry.training.num_steps * seconds[2] / seconds[1] / SEGMENT))
    context.say(f"{row.name}: {1e3 * seconds[1]:.1f} ms a direct update, {1e3 * seconds[2]:.1f} ms an iterative one")
    trainings = (entry.training, replace(entry.training, num_steps=more), entry.training)
    judge, num_seeds = partial(scored, table.judging), table.judging.num_seeds
    found = compare(context, row.name, kinds, trainings, judge, num_seeds=num_seeds, key=key, every=SEGMENT)
    outcome, claim = TableOutcome(found, seconds), f"{table.name}/{kit.stage_name(row.name)}"
    measure_leads(context, claim, outcome, table.by_likelihood)
    for name in ("direct", "iterative") if table.claimed else ():
        kit.measure_figure(context, f"{claim}-{name}", found.of(name), table.by_likelihood)
    return outcome


def measure_leads(context: RunContext, claim: str, outcome: TableOutcome, figure: kit.OfSeeds) -> None:
    """By how much iterative inference is below direct inference, for both budgets."""
    direct, timed, iterative = outcome.shown.results
    for budget, each in (("updates", direct), ("time", timed)):
        kit.measure_lead(context, f"{claim}-{budget}", each, iterative, figure)


def run_images(
    context: RunContext, table: Table, rows: Sequence[TableRow], independent_nats: Callable[..., float],
    told: Callable[[float], str], *, caption: str, key: Key,
) -> None:  # fmt: skip
    """A table of images beside independent pixels, learned on the first 10,000 training images; `told` says their nats."""
    outcomes, data = [compare_row(context, table, row, key=key) for row in rows], table.data
    train = data.prepared(data.train, 10_000, key=jr.key(2))
    test = data.prepared(data.test, table.judging.num_test, key=jr.key(0))
    reference = independent_nats(np.asarray(train), np.asarray(test))
    comparisons, in_nats = [each.comparison for each in outcomes], replace(table, figure=nats).by_likelihood
    least = kit.least_lead(comparisons, in_nats, [reference] * len(comparisons))
    context.measure(f"{table.name}/no-latents", least)
    context.note("no-latents", told(reference))
    tabulate(context, table, outcomes, caption=caption)


def tabulate(
    context: RunContext, table: Table, outcomes: Sequence[TableOutcome], *, caption: str, also_bound: bool = False
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
        Column("weights", lambda result: result.weights),
        Column("updates", updates),
        Column("ms an update", lambda result: 1e3 * pace[id(result)]),
        Column("minutes", lambda result: updates(result) * pace[id(result)] / 60.0),
        Column(table.unit, table.by_likelihood, table.digits),
        Column(f"{table.unit}, from the bound", table.by_bound, table.digits),
        Column("share of rows with Pareto k < 0.7", lambda result: float(np.mean(result.scores.pareto_k < 0.7))),
    )
    figures = {"": table.by_likelihood} | ({", bound": table.by_bound} if also_bound else {})
    kit.report(
        context, comparisons, columns, figures, heads=("model", "inference"), unit=table.unit, caption=caption,
        digits=table.digits, published=table.published,
    )  # fmt: skip
