"""What the tables of chapter 3 score a method by."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ...distributions import MonteCarlo
from ...inference import ModelWithEngine
from ...metrics import evaluate
from ...objectives import FreeEnergy
from ...typing import Bool, Float, Key
from ..kit import Comparison, OfSeeds
from ._data import SplitData
from ._methods import InferenceMethod

EQUAL_TIME = "direct, equal time"


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


class RowScores(NamedTuple):
    """Importance-weighted log-likelihoods, bounds and Pareto k of test rows, and the mean bound of validation rows."""

    log_likelihood_nats: Float[np.ndarray, "*seeds rows"]
    bound_nats: Float[np.ndarray, "*seeds rows"]
    pareto_k: Float[np.ndarray, "*seeds rows"]
    validation_nats: Float[np.ndarray, "*seeds"]


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
    bounds = method.bounds(learned, validation, key=bound_key, num_samples=1)
    return RowScores(
        np.asarray(evaluation.likelihood.log_likelihood_nats),
        np.asarray(evaluation.elbo_nats),
        np.asarray(evaluation.likelihood.pareto_k),
        np.asarray(jnp.mean(bounds[:, -1])),
    )


Figure = Callable[[Float[np.ndarray, "seeds rows"]], Float[np.ndarray, " seeds"]]
"""From log-likelihoods (or bounds) of test rows to the figure of each seed; lower is better."""


def nats(log_likelihood_nats: Float[np.ndarray, "seeds rows"]) -> Float[np.ndarray, " seeds"]:
    """-log p(x), mean over rows."""
    return -np.mean(log_likelihood_nats, axis=1)


def by_likelihood(figure: Figure) -> OfSeeds:
    """The figure of a result from its log-likelihoods."""
    return lambda result: figure(result.scores.log_likelihood_nats)


def by_bound(figure: Figure) -> OfSeeds:
    """The figure of a result from its bounds."""
    return lambda result: figure(result.scores.bound_nats)
