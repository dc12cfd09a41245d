"""Networks of the chapter's sizes, and ways to infer that are trained together with a model.

A typical use:

    data = load_observations(config.dataset)
    build = partial(Networks(data, config.sizes).with_iterative, (Estimate(), Normalized(InferenceGradient(), 2)))
    method = InferenceMethod("iterative", build, num_steps=5)
    trained = train(context, "iterative", method.method(data, config.training), data.train, key=key)
    bounds = method.bounds(trained.learned, data.prepared(data.validation, 1_000, key=key), key=key)
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ... import metrics
from ...core import AbstractFamily, AbstractModel
from ...distributions import AbstractExpectation, DiagonalGaussian, MonteCarlo
from ...inference import (
    AbstractIterationWeights,
    AllIterations,
    EnergyDescent,
    LastIteration,
    ModelWithEngine,
    free_energy_descent,
)
from ...typing import Array, Float, Key
from ..kit import Method, Training
from ._data import SplitData

Detach = Callable[[Array], Array]
"""What becomes of an estimate between iterations, for the gradient."""


def default_family(model: AbstractModel) -> DiagonalGaussian:
    """Independent Gaussians over all latents of a model."""
    return DiagonalGaussian(model.initial().event_shape[0])


class InferenceMethod(NamedTuple):
    """A model with an engine, and how both are learned.

    Attributes:
        name: for tables and stages.
        build: `build(key=...)` gives the model with its engine.
        num_steps: engine steps on each observation.
        expectation: rule for the expected energy: `MonteCarlo(n)` for n samples.
        family: of q; a diagonal Gaussian by default.
        engine_weights: of the iterations' losses, for the engine.
        passes: through the decoder in one update, each forwards and backwards; differentiating through one counts as two more.
    """

    name: str
    build: Callable[..., ModelWithEngine]
    num_steps: int = 1
    expectation: AbstractExpectation = MonteCarlo(1)
    family: AbstractFamily | None = None
    engine_weights: AbstractIterationWeights = AllIterations()
    passes: int = 1

    def method(self, data: SplitData, training: Training, every: int = 100) -> Method:
        """Training of model and engine together, on rows prepared anew in each batch."""

        def learner(learned: ModelWithEngine) -> EnergyDescent:
            return free_energy_descent(
                learned, self.family_of(learned), training.optimizer(), self.expectation, self.num_steps,
                engine_weights=self.engine_weights, model_weights=LastIteration(), prepare=data.prepare,
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

    def bounds(
        self, learned: ModelWithEngine, rows: Array, *, key: Key, num_steps: int | None = None, num_samples: int = 8
    ) -> Float[Array, "rows moments"]:
        """Bounds before inference and after each step, in nats, by so many samples; steps as in training by default."""
        return metrics.bound_path(
            learned.model, learned.engine, self.family_of(learned), rows, key=key,
            num_steps=self.num_steps if num_steps is None else num_steps, training_expectation=self.expectation,
            expectation=MonteCarlo(num_samples),
        )  # fmt: skip


def update_seconds(
    data: SplitData, methods: Sequence[InferenceMethod], training: Training, *, key: Key, updates: int, repeats: int
) -> Float[np.ndarray, " methods"]:
    """Median seconds of one update of each method on the first training rows; equal methods are timed once."""
    efforts = {method[1:]: method for method in methods}
    learners = [partial(method.learner, data, training, key=key) for method in efforts.values()]
    batch = jnp.asarray(data.train[: training.batch_size])
    seconds = metrics.update_seconds(learners, batch, key=key, updates=updates, repeats=repeats)
    return np.array([seconds[list(efforts).index(method[1:])] for method in methods])
