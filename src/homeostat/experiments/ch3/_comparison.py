"""Direct against iterative inference with the same generative model, as in Tables 3.1 to 3.3: training, budgets, figures.

Three models are trained for each seed:

- iterative, N updates;
- direct, N updates: equal numbers of updates;
- direct, N t_i / t_d updates, with t the seconds that an update takes in this run: equal wall-clock. Of the two direct models
  that with the higher bound on *validation* rows counts for this budget, because whoever has the time may also stop early.

Test rows are read by the final likelihoods and by nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ...distributions import MonteCarlo
from ...inference import ModelWithEngine
from ...inference.engines import AbstractEncoding
from ...metrics import evaluate
from ...objectives import FreeEnergy
from ...runs import RunContext
from ...typing import Float, Key
from ..kit import Comparison, Method, Training, compare, stage_name
from ._common import InferenceMethod, update_seconds
from ._data import SplitData
from ._networks import NetworkSizes, with_direct, with_iterative

EQUAL_TIME = "direct, equal time"

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


@dataclass(frozen=True)
class Judging:
    """How models are judged."""

    num_seeds: int = 3
    """Independent trainings of each kind (count)."""
    num_validation: int = 1_000
    """Validation rows (count)."""
    num_test: int = 10_000
    """Test rows (count)."""
    num_importance: int = 5_000
    """Importance-weighted samples for each test row (count)."""


class TableRow(NamedTuple):
    """What is compared.

    Attributes:
        name: of the generative model, for instance "one level".
        data: what is observed.
        entry: sizes and training.
        encodings: inputs of the update network.
        highway: whether the generative model's hidden layers have highway connections.
    """

    name: str
    data: SplitData
    entry: Entry
    encodings: Sequence[AbstractEncoding]
    highway: bool = False


class RowScores(NamedTuple):
    """What was found for one trained model.

    Attributes:
        log_likelihood_nats: importance-weighted estimate for each test row.
        bound_nats: of each test row.
        pareto_k: of each test row's weights.
        validation_nats: mean bound of the validation rows.
    """

    log_likelihood_nats: Float[np.ndarray, "*seeds rows"]
    bound_nats: Float[np.ndarray, "*seeds rows"]
    pareto_k: Float[np.ndarray, "*seeds rows"]
    validation_nats: Float[np.ndarray, "*seeds"]


class TableOutcome(NamedTuple):
    """One row of a table.

    Attributes:
        comparison: direct, direct for longer, and iterative; scores are `RowScores` over seeds.
        seconds: of one update of each.
    """

    comparison: Comparison
    seconds: tuple[float, ...]

    def scores(self, name: str) -> RowScores:
        """Of a method."""
        return next(each.scores for each in self.comparison.results if each.name == name)

    @property
    def shown(self) -> Comparison:
        """Direct at equal updates, direct at equal time, and iterative.

        Direct inference at equal time is, of each seed's two models, the one that validation prefers.
        """
        direct, longer, iterative = self.comparison.results
        use = longer.scores.validation_nats >= direct.scores.validation_nats
        choose = lambda a, b: np.where(use.reshape(-1, *[1] * (a.ndim - 1)), a, b)  # noqa: E731
        timed = longer._replace(
            method=replace(longer.method, name=EQUAL_TIME),
            scores=RowScores(*map(choose, longer.scores, direct.scores)),
        )
        return Comparison(self.comparison.name, (direct, timed, iterative))

    @property
    def stopped_early(self) -> int:
        """Number of seeds whose shorter training validation preferred."""
        longer, direct = self.scores("longer").validation_nats, self.scores("direct").validation_nats
        return int(np.sum(longer < direct))


def compare_inference(context: RunContext, case: TableRow, judging: Judging, *, key: Key) -> TableOutcome:
    """Train and score every model of a comparison, resumable model by model."""
    entry, data = case.entry, case.data
    direct = partial(with_direct, data, entry.sizes, highway=case.highway)
    iterative = partial(with_iterative, data, entry.sizes, case.encodings, highway=case.highway)
    samples = MonteCarlo(entry.num_samples)
    kinds = (
        InferenceMethod("direct", direct, 1, MonteCarlo(entry.direct_samples)),
        InferenceMethod("longer", direct, 1, samples),
        InferenceMethod("iterative", iterative, entry.num_iterations, samples),
    )
    # Measured once in the life of a run: a resumed one keeps its budget.
    pace = lambda key: update_seconds(data, kinds, entry.training, key=key)  # noqa: E731
    seconds = tuple(float(each) for each in context.stage(stage_name(case.name, "pace"), pace, key=key))
    # Whole segments, because a shorter last one would be a program of its own.
    more = SEGMENT * max(1, round(entry.training.num_steps * seconds[2] / seconds[1] / SEGMENT))
    context.say(f"{case.name}: {1e3 * seconds[1]:.1f} ms a direct update, {1e3 * seconds[2]:.1f} ms an iterative one")
    trainings = (entry.training, replace(entry.training, num_steps=more), entry.training)
    methods = [kind.method(data, training, SEGMENT) for kind, training in zip(kinds, trainings, strict=True)]
    by_name = {kind.name: kind for kind in kinds}

    def score(method: Method, learned: ModelWithEngine, *, key: Key) -> RowScores:
        return scored(by_name[method.name], learned, data, judging, key=key)

    found = compare(context, case.name, methods, data.train, score, num_seeds=judging.num_seeds, key=key)
    return TableOutcome(found, seconds)


def scored(
    method: InferenceMethod, learned: ModelWithEngine, data: SplitData, judging: Judging, *, key: Key
) -> RowScores:
    """Likelihoods of the test rows and the mean bound of the validation rows."""
    weights_key, bound_key = jr.split(key)
    # The same pixels for every model: only then are differences those of the models.
    test = data.prepared(data.test, judging.num_test, key=jr.key(0))
    validation = data.prepared(data.validation, judging.num_validation, key=jr.key(1))
    evaluation = evaluate(
        learned.model, learned.engine, method.family_of(learned), test, key=weights_key, num_steps=method.num_steps,
        num_samples=judging.num_importance, objective=FreeEnergy(learned.model, method.expectation),
        expectation=MonteCarlo(8), batch_size=8,
    )  # fmt: skip
    bounds = method.bounds(learned, validation, key=bound_key, reported=MonteCarlo(1))
    return RowScores(
        np.asarray(evaluation.likelihood.log_likelihood_nats),
        np.asarray(evaluation.elbo_nats),
        np.asarray(evaluation.likelihood.pareto_k),
        np.asarray(jnp.mean(bounds[:, -1])),
    )
