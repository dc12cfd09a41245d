"""What the experiments of chapter 3 share: networks of the authors' sizes, training, and the bound while inference goes on.

A typical use:

    data = load_observations(config.dataset)
    build = lambda key=jr.key(0): with_iterative(data, config.sizes, (Estimate(), Normalized(InferenceGradient(), 2)), key=key)
    trained = train(context, "iterative", data, build, config.training, num_iterations=5, key=key)
    rows = data.prepared(data.validation, 1_000, key=key)
    bounds = bound_path(trained.learned, rows, num_steps=5, key=key)
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from ...core import AbstractEngine, AbstractFamily, AbstractModel
from ...distributions import AbstractExpectation, MonteCarlo
from ...inference import (
    AbstractIterationWeights,
    AllIterations,
    FreeEnergyDescent,
    LastIteration,
    ModelWithEngine,
    infer,
    standard_start,
)
from ...metrics import Estimated
from ...objectives import AbstractWeighting, Evidence, FreeEnergy, Unweighted
from ...results import BadInputError
from ...train import InMemoryLoader
from ...typing import Array, Float, Key, PyTree
from .._protocol import AbstractRunContext
from ._data import DataSet as DataSet, Observations as Observations, load_observations as load_observations
from ._networks import (
    Encoder as Encoder,
    ObservedFeatures as ObservedFeatures,
    Sizes as Sizes,
    build_model as build_model,
    data_encoding as data_encoding,
    default_family as default_family,
    direct_engine as direct_engine,
    encoding_size as encoding_size,
    iterative_engine as iterative_engine,
    num_weights as num_weights,
    with_direct as with_direct,
    with_iterative as with_iterative,
)


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
    data: Observations,
    build: Callable[..., ModelWithEngine],
    training: Training,
    *,
    key: Key,
    num_iterations: int = 1,
    family: AbstractFamily | None = None,
    expectation: AbstractExpectation = MonteCarlo(1),
    engine_weights: AbstractIterationWeights = AllIterations(),
    model_weights: AbstractIterationWeights = LastIteration(),
    weighting: AbstractWeighting = Unweighted(),
    start: Callable[..., PyTree] = standard_start,
    every: int = 100,
) -> Trained:
    """Train a model and an engine together as a stage of the run, resumable.

    Args:
        context: of the run.
        name: of the stage, unique in the experiment.
        data: `data.train` is used, prepared anew in each batch.
        build: `build(key=...)` gives the model with its engine; also called without a key, for the structure alone.
        training: steps, batch and rate.
        key: the stage's key is folded from it.
        num_iterations: engine steps on each observation.
        family: of q; a diagonal Gaussian by default.
        expectation: rule for the expected energy: `MonteCarlo(n)` for n samples.
        engine_credit: which iterations teach the engine.
        model_credit: which iterations teach the model.
        weighting: around the free energy's terms.
        start: gives the first estimate.
        every: updates in a compiled segment.

    Raises:
        BadInputError: training met something that was not finite.
    """
    every = min(every, training.num_steps)
    segments = -(-training.num_steps // every)

    def fit(key: Key) -> Trained:
        build_key, fit_key = jr.split(key)
        learned = eqx.filter_jit(build)(key=build_key)
        learner = FreeEnergyDescent(
            learned,
            default_family(learned.model) if family is None else family,
            training.optimizer(),
            expectation,
            num_iterations,
            weighting,
            engine_weights,
            model_weights,
            start,
            data.prepare,
        )
        result = context.fit(
            name,
            learner,
            InMemoryLoader(data.train, training.batch_size),
            num_steps=training.num_steps,
            key=fit_key,
            every=every,
        )
        if result.failure is not None:
            raise BadInputError(
                f"Expected training of {name!r} to stay finite, got a value that was not at update {result.last_step}: "
                "choose a smaller learning rate."
            )
        return Trained(
            result.state.learned,
            jnp.asarray(result.steps, float),
            jnp.asarray(result.history.free_energy_nats, float),
        )

    empty = np.zeros(segments, jnp.result_type(float))
    return context.stage(
        name, fit, key=key, like=lambda: Trained(build(key=jr.key(0)), jnp.asarray(empty), jnp.asarray(empty))
    )


# --------------------------------------------------------------------------------------------------------- evaluation


def bound_path(
    learned: ModelWithEngine,
    rows: Float[Array, "rows size"],
    *,
    num_steps: int,
    key: Key,
    family: AbstractFamily | None = None,
    training_expectation: AbstractExpectation = MonteCarlo(1),
    expectation: AbstractExpectation = MonteCarlo(8),
    start: PyTree = None,
    batch_size: int = 64,
) -> Float[Array, "rows moments"]:
    """The bound before the first engine step and after each, for every row, in nats.

    Inference sees `training_expectation`; what is reported is measured with samples of its own (`expectation`), the same
    standard-normal numbers at every moment.

    Args:
        learned: model and engine.
        rows: prepared observations.
        num_steps: engine steps.
        key: random key.
        family: of q; a diagonal Gaussian by default.
        training_expectation: what the engine sees.
        expectation: what is reported.
        start: first parameters; `family.init()` by default.
        batch_size: rows worked on at once.
    """
    family = default_family(learned.model) if family is None else family
    return _bound_path((learned, family, training_expectation, expectation), rows, key, num_steps, start, batch_size)


@eqx.filter_jit
def _bound_path(
    arguments: tuple, rows: Array, key: Key, num_steps: int, start: PyTree, batch_size: int
) -> Float[Array, "rows moments"]:
    learned, family, seen, reported = arguments
    family = family.given(learned.model.initial())
    measured = FreeEnergy(learned.model, reported)

    def one(row: tuple[Array, Key]) -> Float[Array, " moments"]:
        observation, row_key = row
        evidence, infer_key, measure_key = Evidence(observation), *jr.split(row_key)
        path = estimates(
            learned.model, learned.engine, family, evidence, num_steps=num_steps, key=infer_key,
            expectation=seen, start=start,
        )  # fmt: skip
        return -jax.lax.map(lambda params: measured(family(params), evidence, key=measure_key), path)

    return jax.lax.map(one, (rows, jr.split(key, rows.shape[0])), batch_size=min(batch_size, rows.shape[0]))


def estimates(
    model: AbstractModel,
    engine: AbstractEngine,
    family: AbstractFamily,
    evidence: Evidence,
    *,
    num_steps: int,
    key: Key,
    expectation: AbstractExpectation = MonteCarlo(1),
    start: PyTree = None,
) -> PyTree:
    """Parameters before the first step and after each, with a leading axis of num_steps + 1; unbatched."""
    posterior = infer(
        FreeEnergy(model, expectation), engine, family, evidence, key=key, params=start, num_steps=num_steps,
        record=True, throw=False,
    )  # fmt: skip
    return jax.tree.map(lambda path, end: jnp.concatenate([path, end[None]]), posterior.path, posterior.params)


def mean_and_error(values: Array | np.ndarray) -> tuple[float, float]:
    """Mean over rows and std / sqrt(n) as Python numbers, for `context.measure`; no error for a single row is NaN."""
    values = np.asarray(values, float)
    return float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else float("nan")


def median_error(values: Array | np.ndarray, *, seed: int, num_resamples: int = 500) -> float:
    """Bootstrap standard error of the median over rows."""
    values, generator = np.asarray(values, float), np.random.default_rng(seed)
    resampled = generator.choice(values, (num_resamples, len(values)))
    return float(np.median(resampled, axis=1).std(ddof=1))


def median_seconds(function: Callable[[], PyTree], *, repeats: int = 5) -> float:
    """Median wall-clock seconds of a compiled function, after one call that does not count."""
    jax.block_until_ready(function())
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        jax.block_until_ready(function())
        seconds.append(time.perf_counter() - begin)
    return float(np.median(seconds))


def printed(estimated: Estimated | tuple[float, float], digits: int = 3) -> str:
    """`value ± stderr` for a table; the value alone where there is no error."""
    value, stderr = (float(number) for number in estimated)
    if not np.isfinite(stderr):
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ± {stderr:.{digits}f}"
