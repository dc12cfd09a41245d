"""Ways to infer that are trained beside a generative model, and how they are judged.

A typical use:

    networks = Networks(load_observations(config.dataset), config.sizes)
    engine = partial(networks.iterative, (Estimate(), Normalized(InferenceGradient(), 2)))
    method = InferenceMethod("iterative", networks, engine, num_steps=5)
    trained = train(context, "iterative", method.method(config.training), networks.data.train, key=key)
    bounds = method.bounds(trained.learned, rows, key=key)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ... import metrics
from ...core import AbstractEngine, AbstractFamily, AbstractModel
from ...distributions import AbstractExpectation, DiagonalGaussian, MonteCarlo
from ...inference import (
    AbstractIterationWeights,
    AllIterations,
    EnergyDescent,
    LastIteration,
    ModelWithEngine,
    free_energy_descent,
)
from ...objectives import FreeEnergy
from ...runs import RunContext
from ...typing import Any, Array, Float, Key
from .. import kit
from ..kit import Comparison, Method, Training, only
from ._networks import Networks, NetworkSizes


class InferenceMethod(NamedTuple):
    """A way to infer, and how it is learned beside a generative model, whose first weights do not depend on it.

    Attributes:
        name: for tables and stages.
        networks: for the data.
        engine: `engine(family=..., key=...)` builds the engine: `networks.direct`, or `networks.iterative` with its encodings.
        num_steps: engine steps on each observation.
        expectation: rule for the expected energy: `MonteCarlo(n)` for n samples.
        q: its family; diagonal Gaussians by default.
        engine_weights: of the iterations' losses, for the engine.
        passes: through the decoder in one update, each forwards and backwards; differentiating through one counts as two more.
        model: stays as it is while the engine learns; by default a new one learns too.
    """

    name: str
    networks: Networks
    engine: Callable[..., AbstractEngine]
    num_steps: int = 1
    expectation: AbstractExpectation = MonteCarlo(1)
    q: AbstractFamily | None = None
    engine_weights: AbstractIterationWeights = AllIterations()
    passes: int = 1
    model: AbstractModel | None = None

    @property
    def family(self) -> AbstractFamily:
        """Of q."""
        return DiagonalGaussian(self.networks.dim) if self.q is None else self.q

    def build(self, *, key: Key) -> ModelWithEngine:
        """The model with its engine, untrained."""
        model_key, engine_key = jr.split(key)
        model = self.networks.model(key=model_key) if self.model is None else self.model
        return ModelWithEngine(model, self.engine(family=self.family, key=engine_key))

    def method(self, training: Training, every: int = 100) -> Method:
        """Training of model and engine together, on rows prepared anew in each batch."""
        optimizer = training.optimizer()
        if self.model is not None:
            optimizer = only(lambda learned: learned.engine, optimizer)

        def learner(learned: ModelWithEngine) -> EnergyDescent:
            return free_energy_descent(
                learned, self.family, optimizer, self.expectation, self.num_steps, engine_weights=self.engine_weights,
                model_weights=LastIteration(), prepare=self.networks.data.prepare,
            )  # fmt: skip

        return Method(self.name, self.build, learner, training, every=every)

    def bounds(
        self, learned: ModelWithEngine, rows: Array, *, key: Key, num_steps: int | None = None, num_samples: int = 8
    ) -> Float[Array, "rows moments"]:
        """Bounds before inference and after each step, in nats, by so many samples; steps as in training by default."""
        return metrics.bound_path(
            learned.model, learned.engine, self.family, rows, key=key,
            num_steps=self.num_steps if num_steps is None else num_steps, training_expectation=self.expectation,
            expectation=MonteCarlo(num_samples),
        )  # fmt: skip


def compare(
    context: RunContext, name: str, methods: Sequence[InferenceMethod], trainings: Sequence[Training],
    score: Callable[..., Any], *, num_seeds: int, key: Key, every: int = 100,
) -> Comparison:  # fmt: skip
    """`kit.compare` for ways to infer: `score(method, learned, key=...)` gets the `InferenceMethod`."""
    known = {one.name: one for one in methods}
    trained_by = [one.method(training, every) for one, training in zip(methods, trainings, strict=True)]

    def scored(method: Method, learned: ModelWithEngine, *, key: Key) -> Any:
        return score(known[method.name], learned, key=key)

    rows = methods[0].networks.data.train
    return kit.compare(context, name, trained_by, rows, scored, num_seeds=num_seeds, key=key)


def update_seconds(
    methods: Sequence[InferenceMethod], training: Training, *, key: Key, updates: int, repeats: int
) -> Float[np.ndarray, " methods"]:
    """Median seconds of one update of each method on the first training rows; equal methods are timed once."""
    efforts = {method[1:]: method for method in methods}
    trained_by = [method.method(training) for method in efforts.values()]
    learners = [lambda one=one: one.learner(eqx.filter_jit(one.build)(key=key)) for one in trained_by]
    batch = jnp.asarray(methods[0].networks.data.train[: training.batch_size])
    seconds = metrics.update_seconds(learners, batch, key=key, updates=updates, repeats=repeats)
    return np.array([seconds[list(efforts).index(method[1:])] for method in methods])


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


class RowScores(NamedTuple):
    """Importance-weighted log-likelihoods, bounds and Pareto k of test rows, and the mean bound of validation rows."""

    log_likelihood_nats: Float[np.ndarray, "*seeds rows"]
    bound_nats: Float[np.ndarray, "*seeds rows"]
    pareto_k: Float[np.ndarray, "*seeds rows"]
    validation_nats: Float[np.ndarray, "*seeds"]


def scored(judging: Judging, method: InferenceMethod, learned: ModelWithEngine, *, key: Key) -> RowScores:
    """Likelihoods of the test rows and the mean bound of the validation rows."""
    weights_key, bound_key = jr.split(key)
    data = method.networks.data
    # The same pixels for every model: only then are differences those of the models.
    test = data.prepared(data.test, judging.num_test, key=jr.key(0))
    validation = data.prepared(data.validation, judging.num_validation, key=jr.key(1))
    evaluation = metrics.evaluate(
        learned.model, learned.engine, method.family, test, key=weights_key, num_steps=method.num_steps,
        num_samples=judging.num_importance, objective=FreeEnergy(learned.model, method.expectation),
        expectation=MonteCarlo(8), batch_size=8,
    )  # fmt: skip
    bounds = method.bounds(learned, validation, key=bound_key, num_samples=1)
    found = evaluation.likelihood.log_likelihood_nats, evaluation.elbo_nats, evaluation.likelihood.pareto_k
    return RowScores(*map(np.asarray, (*found, jnp.mean(bounds[:, -1]))))
