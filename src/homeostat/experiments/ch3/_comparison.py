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
from ...metrics import count_weights as count_weights, evaluate
from ...objectives import FreeEnergy
from ...typing import Bool, Float, Key
from .._protocol import AbstractRunContext
from ._common import InferenceMethod, SplitData, Training, train, update_seconds
from ._networks import NetworkSizes, with_direct, with_iterative

SEGMENT = 100
"""Updates in a compiled segment of training."""


@dataclass(frozen=True)
class Entry:
    """One pair of rows of a table: a generative model, and how it is learned with each kind of inference."""

    sizes: NetworkSizes = NetworkSizes()
    """Of the networks."""
    training: Training = Training()
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
    """A comparison; scores have a leading axis of seeds.

    Attributes:
        direct: at an equal number of updates.
        longer: direct, at equal wall-clock time.
        iterative: iterative inference.
        seconds: of one update, direct (equal updates), direct (equal time) and iterative.
        updates: done in each case, in the same order.
        weights: learnable numbers, direct and iterative, engine and model together.
    """

    direct: RowScores
    longer: RowScores
    iterative: RowScores
    seconds: tuple[float, float, float]
    updates: tuple[int, int, int]
    weights: tuple[int, int]

    @property
    def timed(self) -> RowScores:
        """Direct inference at equal time: of each seed's two models, the one that validation prefers."""
        use = self.longer.validation_nats >= self.direct.validation_nats
        return RowScores(*(_choose(use, a, b) for a, b in zip(self.longer, self.direct, strict=True)))

    @property
    def stopped_early(self) -> int:
        """Number of seeds whose shorter training validation preferred."""
        return int(np.sum(self.longer.validation_nats < self.direct.validation_nats))


def _choose(use: Bool[np.ndarray, " seeds"], first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.where(use.reshape(-1, *[1] * (first.ndim - 1)), first, second)


# ------------------------------------------------------------------------------------------------ training and scoring


def compare(context: AbstractRunContext, case: TableRow, reporting: Judging, *, key: Key) -> TableOutcome:
    """Train and score every model of a comparison, resumable model by model."""
    entry, data, name = case.entry, case.data, case.name.replace(" ", "-")
    direct = partial(with_direct, data, entry.sizes, highway=case.highway)
    iterative = partial(with_iterative, data, entry.sizes, case.encodings, highway=case.highway)
    samples = MonteCarlo(entry.num_samples)
    methods = (
        InferenceMethod("direct", direct, 1, MonteCarlo(entry.direct_samples)),
        InferenceMethod("longer", direct, 1, samples),
        InferenceMethod("iterative", iterative, entry.num_iterations, samples),
    )
    # Measured once in the life of a run: a resumed one keeps its budget.
    pace = lambda key: update_seconds(data, methods, entry.training, key=key)  # noqa: E731
    seconds = [float(each) for each in context.stage(f"{name}-pace", pace, key=key)]
    # Whole segments, because a shorter last one would be a program of its own.
    more = SEGMENT * max(1, round(entry.training.num_steps * seconds[2] / seconds[1] / SEGMENT))
    trainings = (entry.training, replace(entry.training, num_steps=more), entry.training)
    context.say(f"{case.name}: {1e3 * seconds[1]:.1f} ms a direct update, {1e3 * seconds[2]:.1f} ms an iterative one")
    scores = []
    for method, training in zip(methods, trainings, strict=True):
        each = []
        for seed in range(reporting.num_seeds):
            stage = f"{name}-{method.name}-{seed}"
            learned = train(context, stage, data, method, training, key=key).learned
            score = partial(scored, method, learned, data, reporting)
            each.append(context.stage(f"{stage}-score", score, key=key))
        scores.append(RowScores(*(np.stack(leaves) for leaves in zip(*each, strict=True))))
    updates = (trainings[0].num_steps, trainings[1].num_steps, trainings[2].num_steps)
    weights = (count_weights(partial(direct, key=key)), count_weights(partial(iterative, key=key)))
    return TableOutcome(scores[0], scores[1], scores[2], (seconds[0], seconds[1], seconds[2]), updates, weights)


def scored(
    method: InferenceMethod, learned: ModelWithEngine, data: SplitData, reporting: Judging, *, key: Key
) -> RowScores:
    """Likelihoods of the test rows and the mean bound of the validation rows."""
    weights_key, bound_key = jr.split(key)
    # The same pixels for every model: only then are differences those of the models.
    test = data.prepared(data.test, reporting.num_test, key=jr.key(0))
    validation = data.prepared(data.validation, reporting.num_validation, key=jr.key(1))
    evaluation = evaluate(
        learned.model, learned.engine, method.family_of(learned), test, key=weights_key, num_steps=method.num_steps,
        num_samples=reporting.num_importance, objective=FreeEnergy(learned.model, method.expectation),
        expectation=MonteCarlo(8), batch_size=8,
    )  # fmt: skip
    bounds = method.bounds(learned, validation, key=bound_key, reported=MonteCarlo(1))
    return RowScores(
        np.asarray(evaluation.likelihood.log_likelihood_nats),
        np.asarray(evaluation.elbo_nats),
        np.asarray(evaluation.likelihood.pareto_k),
        np.asarray(jnp.mean(bounds[:, -1])),
    )
