"""Direct against iterative inference with the same generative model, as in Tables 3.1 to 3.3: training, budgets, figures.

Three models are trained for each seed:

- iterative, N updates;
- direct, N updates: equal numbers of updates;
- direct, N t_i / t_d updates, with t the seconds that an update takes in this run: equal wall-clock. Of the two direct models
  that with the higher bound on *validation* rows counts for this budget, because whoever has the time may also stop early.

Test rows are read by the final likelihoods and by nothing else.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ...distributions import DiagonalGaussian, MonteCarlo
from ...inference import FreeEnergyDescent, ModelWithEngine
from ...inference.engines import AbstractEncoding
from ...metrics import evaluate
from ...objectives import FreeEnergy
from ...typing import Array, Bool, Float, Key
from .._protocol import AbstractRunContext
from ._common import (
    Observations,
    Sizes,
    Trained,
    Training,
    bound_path,
    train,
    with_direct,
    with_iterative,
)

SEGMENT = 100
"""Updates in a compiled segment of training."""


@dataclass(frozen=True)
class Entry:
    """One pair of rows of a table: a generative model, and how it is learned with each kind of inference."""

    sizes: Sizes = Sizes()
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
class Reporting:
    """How models are judged."""

    num_seeds: int = 3
    """Independent trainings of each kind (count)."""
    num_validation: int = 1_000
    """Validation rows (count)."""
    num_test: int = 10_000
    """Test rows (count)."""
    num_importance: int = 5_000
    """Importance-weighted samples for each test row (count)."""


class Case(NamedTuple):
    """What is compared.

    Attributes:
        name: of the generative model, for instance "one level".
        data: what is observed.
        entry: sizes and training.
        encodings: inputs of the update network.
        highway: whether the generative model's hidden layers have highway connections.
    """

    name: str
    data: Observations
    entry: Entry
    encodings: Sequence[AbstractEncoding]
    highway: bool = False


class Scores(NamedTuple):
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


class Outcome(NamedTuple):
    """A comparison; scores have a leading axis of seeds.

    Attributes:
        direct: at an equal number of updates.
        longer: direct, at equal wall-clock time.
        iterative: iterative inference.
        seconds: of one update, direct (equal updates), direct (equal time) and iterative.
        updates: done in each case, in the same order.
        weights: learnable numbers, direct and iterative, engine and model together.
    """

    direct: Scores
    longer: Scores
    iterative: Scores
    seconds: tuple[float, float, float]
    updates: tuple[int, int, int]
    weights: tuple[int, int]

    @property
    def timed(self) -> Scores:
        """Direct inference at equal time: of each seed's two models, the one that validation prefers."""
        use = self.longer.validation_nats >= self.direct.validation_nats
        return Scores(*(_choose(use, a, b) for a, b in zip(self.longer, self.direct, strict=True)))

    @property
    def stopped_early(self) -> int:
        """Number of seeds whose shorter training validation preferred."""
        return int(np.sum(self.longer.validation_nats < self.direct.validation_nats))


def _choose(use: Bool[np.ndarray, " seeds"], first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.where(use.reshape(-1, *[1] * (first.ndim - 1)), first, second)


# ------------------------------------------------------------------------------------------------ training and scoring


def compare(context: AbstractRunContext, case: Case, reporting: Reporting, *, key: Key) -> Outcome:
    """Train and score every model of a comparison, resumable model by model."""
    entry, data = case.entry, case.data

    def direct(key: Key = jr.key(0)) -> ModelWithEngine:
        return with_direct(data, entry.sizes, key=key, highway=case.highway)

    def iterative(key: Key = jr.key(0)) -> ModelWithEngine:
        return with_iterative(data, entry.sizes, case.encodings, key=key, highway=case.highway)

    name = case.name.replace(" ", "-")
    plans = ((direct, 1, entry.direct_samples), (direct, 1, entry.num_samples), (iterative, *_effort(entry)))
    seconds = context.stage(
        f"{name}-pace", lambda key: update_seconds(data, plans, entry.training, key=key), key=key
    )  # measured once in the life of a run: a resumed one keeps its budget
    more = entry.training.num_steps * float(seconds[2]) / float(seconds[1])
    # Whole segments, because a shorter last one would be a program of its own.
    more = SEGMENT * max(1, round(more / SEGMENT))
    trainings = (entry.training, replace(entry.training, num_steps=more), entry.training)
    context.say(f"{case.name}: {1e3 * seconds[1]:.1f} ms a direct update, {1e3 * seconds[2]:.1f} ms an iterative one")
    scores = []
    for kind, plan, training in zip(("direct", "longer", "iterative"), plans, trainings, strict=True):
        each = [
            _train_and_score(context, f"{name}-{kind}-{seed}", data, plan, training, reporting, key)
            for seed in range(reporting.num_seeds)
        ]
        scores.append(Scores(*(np.stack(leaves) for leaves in zip(*each, strict=True))))
    weights = [count_weights(build) for build in (direct, iterative)]
    return Outcome(
        *scores,
        (float(seconds[0]), float(seconds[1]), float(seconds[2])),
        (trainings[0].num_steps, trainings[1].num_steps, trainings[2].num_steps),
        (weights[0], weights[1]),
    )


Plan = tuple[Callable[..., ModelWithEngine], int, int]
"""How to build a model with its engine, iterations of inference, samples of q."""


def _effort(entry: Entry) -> tuple[int, int]:
    return entry.num_iterations, entry.num_samples


def count_weights(build: Callable[..., ModelWithEngine]) -> int:
    """Number of learnable numbers of what `build` gives, without building it."""
    leaves = jax.tree.leaves(eqx.filter_eval_shape(build))
    shapes = [leaf for leaf in leaves if isinstance(leaf, jax.ShapeDtypeStruct)]
    return sum(leaf.size for leaf in shapes if jnp.issubdtype(leaf.dtype, jnp.inexact))


def update_seconds(
    data: Observations, plans: Sequence[Plan], training: Training, *, key: Key, updates: int = 10, repeats: int = 7
) -> Float[np.ndarray, " plans"]:
    """Median seconds of one update under each plan; plans take turns, so that a busy machine slows all of them.

    Args:
        data: whose first training rows are learned.
        plans: what is timed.
        training: batch size and optimiser.
        key: for weights and samples.
        updates: in one measurement.
        repeats: measurements of each plan.
    """
    batch = jnp.asarray(data.train[: training.batch_size])

    def prepared(plan: Plan) -> Callable[[], Array]:
        build, num_iterations, num_samples = plan
        learned = eqx.filter_jit(build)(key=key)
        learner = FreeEnergyDescent(
            learned, DiagonalGaussian(learned.model.initial().event_shape[0]), training.optimizer(), MonteCarlo(num_samples), num_iterations,
            prepare=data.prepare,
        )  # fmt: skip
        arrays, static = eqx.partition(learner.init(key=key), eqx.is_array)

        @eqx.filter_jit
        def several(arrays, batch: Array, key: Key) -> Array:
            def one(arrays, key):
                state, metrics = learner.update(eqx.combine(arrays, static), batch, key=key)
                return eqx.filter(state, eqx.is_array), metrics.free_energy_nats

            return jax.lax.scan(one, arrays, jr.split(key, updates))[1]

        return lambda: jax.block_until_ready(several(arrays, batch, key))

    functions = {plan: prepared(plan) for plan in dict.fromkeys(plans)}
    for function in functions.values():
        function()
    seconds: dict[Plan, list[float]] = {plan: [] for plan in functions}
    for _ in range(repeats):
        for plan, function in functions.items():
            begin = time.perf_counter()
            function()
            seconds[plan].append((time.perf_counter() - begin) / updates)
    return np.array([np.median(seconds[plan]) for plan in plans])


def _train_and_score(
    context: AbstractRunContext,
    name: str,
    data: Observations,
    plan: Plan,
    training: Training,
    reporting: Reporting,
    key: Key,
) -> Scores:
    build, num_iterations, num_samples = plan
    trained: Trained = train(
        context,
        name,
        data,
        build,
        training,
        key=key,
        num_iterations=num_iterations,
        expectation=MonteCarlo(num_samples),
    )

    def judge(key: Key) -> Scores:
        with context.progress(f"likelihood ({name})", total=1) as bar:
            found = scored(trained.learned, data, reporting, num_iterations, num_samples, key=key)
            bar.advance()
        return found

    return context.stage(f"{name}-score", judge, key=key)


def scored(
    learned: ModelWithEngine,
    data: Observations,
    reporting: Reporting,
    num_iterations: int,
    num_samples: int,
    *,
    key: Key,
) -> Scores:
    """Likelihoods of the test rows and the mean bound of the validation rows."""
    weights_key, bound_key = jr.split(key)
    # The same pixels for every model: only then are differences those of the models.
    test = data.prepared(data.test, reporting.num_test, key=jr.key(0))
    validation = data.prepared(data.validation, reporting.num_validation, key=jr.key(1))
    family, seen = DiagonalGaussian(learned.model.initial().event_shape[0]), MonteCarlo(num_samples)
    evaluation = evaluate(
        learned.model, learned.engine, family, test, key=weights_key, num_steps=num_iterations,
        num_samples=reporting.num_importance, objective=FreeEnergy(learned.model, seen), expectation=MonteCarlo(8),
        batch_size=8,
    )  # fmt: skip
    bounds = bound_path(
        learned,
        validation,
        num_steps=num_iterations,
        key=bound_key,
        training_expectation=seen,
        expectation=MonteCarlo(1),
    )
    return Scores(
        np.asarray(evaluation.likelihood.log_likelihood_nats),
        np.asarray(evaluation.elbo_nats),
        np.asarray(evaluation.likelihood.pareto_k),
        np.asarray(jnp.mean(bounds[:, -1])),
    )
