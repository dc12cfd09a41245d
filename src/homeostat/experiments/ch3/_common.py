"""What the experiments of chapter 3 share: how a model is trained beside an engine, and what an update costs.

A typical use:

    data = load_observations(config.dataset)
    build = partial(with_iterative, data, config.sizes, (Estimate(), Normalized(InferenceGradient(), 2)))
    method = InferenceMethod("iterative", build, num_steps=5)
    trained = train(context, "iterative", data, method, config.training, key=key)
    bounds = method.bounds(trained.learned, data.prepared(data.validation, 1_000, key=key), key=key)
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ... import metrics
from ...core import AbstractFamily
from ...distributions import AbstractExpectation, MonteCarlo
from ...inference import (
    AbstractIterationWeights,
    AllIterations,
    EnergyDescent,
    LastIteration,
    ModelWithEngine,
    free_energy_descent,
)
from ...metrics import bound_path
from ...runs import RunContext
from ...typing import Array, Float, Key
from ..kit import Method, Trained, Training, train as train_method
from ._data import SplitData
from ._networks import default_family


class InferenceMethod(NamedTuple):
    """A model with an engine, and how both are learned.

    Attributes:
        name: for tables and stages.
        build: `build(key=...)` gives the model with its engine.
        num_steps: engine steps on each observation.
        expectation: rule for the expected energy: `MonteCarlo(n)` for n samples.
        family: of q; a diagonal Gaussian by default.
        engine_weights: of the iterations' losses, for the engine.
        model_weights: of the iterations' losses, for the model.
        passes: through the decoder in one update, each forwards and backwards; differentiating through one counts as two more.
    """

    name: str
    build: Callable[..., ModelWithEngine]
    num_steps: int = 1
    expectation: AbstractExpectation = MonteCarlo(1)
    family: AbstractFamily | None = None
    engine_weights: AbstractIterationWeights = AllIterations()
    model_weights: AbstractIterationWeights = LastIteration()
    passes: int = 1

    @property
    def label(self) -> str:
        """The name in lower-case words with hyphens, for stages."""
        return "-".join("".join(c if c.isalnum() else " " for c in self.name).split()).lower()

    def method(self, data: SplitData, training: Training, every: int = 100) -> Method:
        """Training of model and engine on `data.train`, prepared anew in each batch."""

        def learner(learned: ModelWithEngine) -> EnergyDescent:
            return free_energy_descent(
                learned, self.family_of(learned), training.optimizer(), self.expectation, self.num_steps,
                engine_weights=self.engine_weights, model_weights=self.model_weights, prepare=data.prepare,
            )  # fmt: skip

        return Method(self.name, self.build, learner, training, every=every)

    def learner(self, data: SplitData, training: Training, *, key: Key) -> EnergyDescent:
        """The learner from new weights."""
        learner = self.method(data, training).learner(eqx.filter_jit(self.build)(key=key))
        assert isinstance(learner, EnergyDescent)
        return learner

    def family_of(self, learned: ModelWithEngine) -> AbstractFamily:
        """Of q."""
        return default_family(learned.model) if self.family is None else self.family

    def bounds(self, learned: ModelWithEngine, rows: Array, *, key: Key, num_steps: int | None = None, reported=None):
        """Bounds before inference and after each step, in nats: [rows, moments]; steps as in training by default."""
        return bound_path(
            learned.model, learned.engine, self.family_of(learned), rows, key=key,
            num_steps=self.num_steps if num_steps is None else num_steps, training_expectation=self.expectation,
            expectation=MonteCarlo(8) if reported is None else reported,
        )  # fmt: skip


def train(
    context: RunContext,
    name: str,
    data: SplitData,
    method: InferenceMethod,
    training: Training,
    *,
    key: Key,
    every: int = 100,
) -> Trained:
    """Train a model and an engine together as a stage of the run; `every` updates are one compiled segment."""
    return train_method(context, name, method.method(data, training, every), data.train, key=key)


def update_seconds(
    data: SplitData,
    methods: Sequence[InferenceMethod],
    training: Training,
    *,
    key: Key,
    updates: int = 10,
    repeats: int = 7,
) -> Float[np.ndarray, " methods"]:
    """Median seconds of one update of each method on the first training rows; equal methods are timed once."""
    efforts = {method[1:]: method for method in methods}
    learners = [partial(method.learner, data, training, key=key) for method in efforts.values()]
    batch = jnp.asarray(data.train[: training.batch_size])
    seconds = metrics.update_seconds(learners, batch, key=key, updates=updates, repeats=repeats)
    return np.array([seconds[list(efforts).index(method[1:])] for method in methods])
