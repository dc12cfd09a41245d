"""What the experiments of chapter 3 share: how a model is trained beside an engine, what an update costs, and statistics.

A typical use:

    data = load_observations(config.dataset)
    build = partial(with_iterative, data, config.sizes, (Estimate(), Normalized(InferenceGradient(), 2)))
    method = InferenceMethod("iterative", build, num_steps=5)
    trained = train(context, "iterative", data, method, config.training, key=key)
    bounds = method.bounds(trained.learned, data.prepared(data.validation, 1_000, key=key), key=key)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from ... import metrics
from ...core import AbstractFamily
from ...distributions import AbstractExpectation, MonteCarlo
from ...inference import (
    AbstractIterationWeights,
    AllIterations,
    FreeEnergyDescent,
    LastIteration,
    ModelWithEngine,
)
from ...metrics import bound_path, estimates as estimates
from ...results import BadInputError
from ...typing import Array, Float, Key
from .._protocol import AbstractRunContext
from ._data import DataSet as DataSet, SplitData as SplitData, load_observations as load_observations
from ._networks import default_family as default_family
from ._statistics import mean_and_error as mean_and_error, median_seconds as median_seconds, printed as printed


@dataclass(frozen=True)
class Training:
    """How a model is trained, with Adam."""

    num_steps: int = 100_000
    """Updates of model and engine (count)."""
    batch_size: int = 64
    """Rows in a batch (count)."""
    learning_rate: float = 2e-4
    """Adam's rate at the start (dimensionless)."""
    final_rate: float = 0.1
    """Share of the rate that is left at the end; it falls along half a cosine (fraction)."""

    def optimizer(self) -> optax.GradientTransformation:
        """Adam with a falling rate."""
        return optax.adam(optax.cosine_decay_schedule(self.learning_rate, self.num_steps, alpha=self.final_rate))


# ----------------------------------------------------------------------------------------------------------- training


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

    def learner(self, data: SplitData, training: Training, *, key: Key) -> FreeEnergyDescent:
        """Learns model and engine from `data.train`, prepared anew in each batch."""
        learned = eqx.filter_jit(self.build)(key=key)
        return FreeEnergyDescent(
            learned, self.family_of(learned), training.optimizer(), self.expectation, self.num_steps,
            engine_weights=self.engine_weights, model_weights=self.model_weights, prepare=data.prepare,
        )  # fmt: skip

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


class Trained(NamedTuple):
    """A trained model with its engine.

    Attributes:
        learned: the model and the engine.
        steps: updates done at the end of each segment.
        free_energy_nats: mean over each segment, at the last iteration, on training batches.
    """

    learned: ModelWithEngine
    steps: Float[Array, " segments"]
    free_energy_nats: Float[Array, " segments"]


def train(
    context: AbstractRunContext,
    name: str,
    data: SplitData,
    method: InferenceMethod,
    training: Training,
    *,
    key: Key,
    every: int = 100,
) -> Trained:
    """Train a model and an engine together as a stage of the run, resumable.

    Args:
        context: of the run.
        name: of the stage, unique in the experiment.
        data: what is observed.
        method: what is trained.
        training: steps, batch and rate.
        key: the stage's key is folded from it.
        every: updates in a compiled segment.

    Raises:
        BadInputError: training met something that was not finite.
    """
    every = min(every, training.num_steps)

    def fit(key: Key) -> Trained:
        build_key, fit_key = jr.split(key)
        learner = method.learner(data, training, key=build_key)
        result = context.fit(
            name, learner, data.train, num_steps=training.num_steps, batch_size=training.batch_size, key=fit_key,
            every=every,
        )  # fmt: skip
        if (failed := int(result.state.failure.step)) >= 0:
            raise BadInputError(
                f"Expected training of {name!r} to stay finite, got a value that was not at update {failed}: "
                "choose a smaller learning rate."
            )
        curve = (jnp.asarray(part, float) for part in (result.steps, result.history.free_energy_nats))
        return Trained(result.state.learned, *curve)

    empty = np.zeros(-(-training.num_steps // every), jnp.result_type(float))
    like = lambda: Trained(method.build(key=jr.key(0)), jnp.asarray(empty), jnp.asarray(empty))  # noqa: E731
    return context.stage(name, fit, key=key, like=like)


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
