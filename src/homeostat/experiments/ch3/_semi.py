"""Semi-amortized inference: an encoder's estimate, refined by gradient descent; and what one training update costs."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from ...core import AbstractEngine
from ...distributions import AbstractExpectation
from ...inference import (
    AbstractIterationWeights,
    AllIterations,
    FirstIteration,
    FreeEnergyDescent,
    LastIteration,
    ModelWithEngine,
)
from ...inference.engines import Chain, Estimate, Gradient, InferenceGradient, Normalized, StopGradient
from ...typing import Array, Float, Key, PyTree
from ._common import (
    Observations,
    Sizes,
    Training,
    build_model,
    data_encoding,
    default_family,
    direct_engine,
    with_direct,
    with_iterative,
)


def unrolled(estimate: Array) -> Array:
    """The identity: gradients flow from iteration to iteration (`Iterative.detach`)."""
    return estimate


class Method(NamedTuple):
    """One way of inferring and learning.

    Attributes:
        name: for tables.
        build: `build(key=...)` gives the model with its engine.
        num_steps: engine steps on each observation, in training and testing.
        engine_credit: which iterations teach the engine.
        model_credit: which iterations teach the model.
        passes: passes through the decoder in one update, each forwards and backwards; differentiating through one counts as two
            more.
    """

    name: str
    build: Callable[..., ModelWithEngine]
    num_steps: int
    engine_weights: AbstractIterationWeights
    model_weights: AbstractIterationWeights
    passes: int


def direct_method(data: Observations, sizes: Sizes) -> Method:
    """A variational autoencoder."""

    def build(*, key: Key) -> ModelWithEngine:
        return with_direct(data, sizes, key=key)

    return Method("direct", build, 1, AllIterations(), LastIteration(), 1)


def refining_methods(
    data: Observations, sizes: Sizes, *, num_iterations: int, rate: float, rate_through: float
) -> tuple[Method, ...]:
    """Iterative inference, learned in both ways, and two kinds of semi-amortized inference, at equal decoder passes.

    Args:
        data: what is observed.
        sizes: of the networks, the same for all.
        num_iterations: K of iterative inference, which makes K + 1 passes in an update.
        rate: step size of refinement, K - 1 steps, for learning in the manner of Krishnan et al.
        rate_through: step size of refinement, K // 2 steps, for learning in the manner of Kim et al.

    References:
        Krishnan, Liang and Hoffman, "On the challenges of learning with inference networks on sparse, high-dimensional data",
        AISTATS 2018: the encoder learns from its own estimate, the model from the refined one. Kim et al., "Semi-amortized
        variational autoencoders", ICML 2018: both learn through the refinement.
    """
    encodings = (Normalized(Estimate(), 2), Normalized(InferenceGradient(), 2), data_encoding(data))
    # Made once: a rebuilt optimizer would be another structure for checkpoints.
    plain, through = optax.sgd(rate), optax.sgd(rate_through)

    def refined(gradient: AbstractEngine, *, key: Key) -> ModelWithEngine:
        model_key, engine_key = jr.split(key)
        first = direct_engine(data, sizes, key=engine_key)
        return ModelWithEngine(build_model(data, sizes, key=model_key), Chain((first, gradient), (1,)))

    every, first, last = AllIterations(), FirstIteration(), LastIteration()
    steps_through = num_iterations // 2
    return (
        Method(
            "iterative",
            lambda *, key: with_iterative(data, sizes, encodings, key=key),
            num_iterations, every, last, num_iterations + 1,
        ),
        Method(
            "iterative, unrolled",
            lambda *, key: with_iterative(data, sizes, encodings, key=key, detach=unrolled),
            num_iterations, every, last, 2 * num_iterations,
        ),
        Method(
            "semi-amortized (Krishnan et al.)",
            lambda *, key: refined(StopGradient(Gradient(plain)), key=key),
            num_iterations, first, last, num_iterations + 1,
        ),
        Method(
            "semi-amortized (Kim et al.)",
            lambda *, key: refined(Gradient(through), key=key),
            1 + steps_through, last, last, 3 * steps_through + 1,
        ),
    )  # fmt: skip


def update_seconds(
    data: Observations,
    chosen: Sequence[Method],
    training: Training,
    expectation: AbstractExpectation,
    *,
    key: Key,
    updates: int = 5,
    repeats: int = 5,
) -> Float[np.ndarray, " methods"]:
    """Median seconds of one training update of each method; methods take turns, so a busy machine slows all alike.

    Args:
        data: whose first training rows are learned from.
        chosen: what is timed.
        training: batch size and optimiser.
        expectation: rule for the expected energy.
        key: for weights and samples.
        updates: in one measurement.
        repeats: measurements of each method.
    """
    batch = jnp.asarray(data.train[: training.batch_size])

    def prepared(method: Method) -> Callable[[], Array]:
        learned = eqx.filter_jit(method.build)(key=key)
        learner = FreeEnergyDescent(
            learned,
            default_family(learned.model),
            training.optimizer(),
            expectation,
            method.num_steps,
            engine_weights=method.engine_weights,
            model_weights=method.model_weights,
            prepare=data.prepare,
        )
        arrays, static = eqx.partition(learner.init(key=key), eqx.is_array)

        @eqx.filter_jit
        def several(arrays: PyTree, batch: Array, key: Key) -> Array:
            def one(arrays: PyTree, key: Key) -> tuple[PyTree, Array]:
                state, metrics = learner.update(eqx.combine(arrays, static), batch, key=key)
                return eqx.filter(state, eqx.is_array), metrics.free_energy_nats

            return jax.lax.scan(one, arrays, jr.split(key, updates))[1]

        return lambda: jax.block_until_ready(several(arrays, batch, key))

    functions = [prepared(method) for method in chosen]
    for function in functions:
        function()
    seconds = np.zeros((len(functions), repeats))
    for repeat in range(repeats):
        for index, function in enumerate(functions):
            begin = time.perf_counter()
            function()
            seconds[index, repeat] = (time.perf_counter() - begin) / updates
    return np.median(seconds, axis=1)
