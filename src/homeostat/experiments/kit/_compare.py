"""Comparison of methods over seeds: training, scores, and their statistics."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.random as jr
import numpy as np

from ...metrics import count_weights
from ...runs import RunContext
from ...typing import Array, Float, Key, PyTree
from ._method import Method, Trained, train


class Result(NamedTuple):
    """All seeds of one method.

    Attributes:
        scores: what was measured of each trained model; a leading axis of seeds.
        weights: learnable numbers.
        trained: the first seed, for pictures.
    """

    method: Method
    scores: Any
    weights: int
    trained: Trained

    @property
    def name(self) -> str:
        """The method's."""
        return self.method.name


class Comparison(NamedTuple):
    """Results of methods, in their order, on one set of data; its name stands in tables and stages."""

    name: str
    results: tuple[Result, ...]

    def of(self, name: str) -> Result | None:
        """The result of a method by its name, or None where it was not compared."""
        return next((each for each in self.results if each.name == name), None)


def compare(
    context: RunContext,
    name: str,
    methods: Sequence[Method],
    data: PyTree,
    score: Callable[..., Any],
    *,
    num_seeds: int,
    key: Key,
) -> Comparison:
    """Train and score every method with every seed, resumable model by model.

    Args:
        data: training rows or sequences.
        score: `score(method, learned, key=...)` gives a NamedTuple of arrays; the same key for every method and seed
            but for the stage's name.
        num_seeds: independent trainings of each method.
    """
    results = []
    for method in methods:
        stages = [stage_name(name, method.name, seed) for seed in range(num_seeds)]
        trained = [train(context, stage, method, data, key=key) for stage in stages]
        scores = []
        for stage, each in zip(stages, trained, strict=True):

            def judged(key: Key, method: Method = method, each: Trained = each) -> Any:
                return jax.tree.map(np.asarray, score(method, each.learned, key=key))

            scores.append(context.stage(f"{stage}-score", judged, key=key))
        weights = count_weights(lambda method=method: method.build(key=jr.key(0)))
        results.append(Result(method, jax.tree.map(lambda *leaves: np.stack(leaves), *scores), weights, trained[0]))
    return Comparison(name, tuple(results))


def stage_name(*parts: str | int) -> str:
    """Parts joined by hyphens, without spaces and commas."""
    return "-".join(map(str, parts)).replace(",", "").replace(" ", "-")


def mean_and_error(values: Array | np.ndarray) -> tuple[float, float]:
    """Mean over rows (or seeds) and std / sqrt(n) as Python numbers; the error of a single row is NaN."""
    values = np.asarray(values, float)
    return float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else float("nan")


def difference(first: Float[np.ndarray, " seeds"], second: Float[np.ndarray, " seeds"]) -> tuple[float, float]:
    """Mean of `first` minus mean of `second`, independent trainings, with the error of the difference.

    Of paired rows take `mean_and_error(first - second)`.
    """
    (a, of_a), (b, of_b) = mean_and_error(first), mean_and_error(second)
    return a - b, float(np.hypot(of_a, of_b))
