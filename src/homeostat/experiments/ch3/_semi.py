"""Semi-amortized inference: an encoder's estimate, refined by gradient descent."""

from functools import partial

import jax.random as jr
import optax

from ...core import AbstractEngine
from ...distributions import AbstractExpectation
from ...inference import AllIterations, FirstIteration, LastIteration, ModelWithEngine
from ...inference.engines import Chain, Estimate, Gradient, InferenceGradient, Normalized, StopGradient
from ...typing import Array, Key
from ._common import InferenceMethod
from ._data import SplitData
from ._networks import NetworkSizes, build_model, data_encoding, direct_engine, with_direct, with_iterative


def unrolled(estimate: Array) -> Array:
    """The identity: gradients flow from iteration to iteration (`Iterative.detach`)."""
    return estimate


def direct_method(data: SplitData, sizes: NetworkSizes, expectation: AbstractExpectation) -> InferenceMethod:
    """A variational autoencoder."""
    return InferenceMethod("direct", partial(with_direct, data, sizes), 1, expectation)


def refining_methods(
    data: SplitData,
    sizes: NetworkSizes,
    *,
    num_iterations: int,
    rate: float,
    rate_through: float,
    expectation: AbstractExpectation,
) -> tuple[InferenceMethod, ...]:
    """Iterative inference, learned in both ways, and two kinds of semi-amortized inference, at equal decoder passes.

    Args:
        data: what is observed.
        sizes: of the networks, the same for all.
        num_iterations: K of iterative inference, which makes K + 1 passes in an update.
        rate: step size of refinement, K - 1 steps, for learning in the manner of Krishnan et al.
        rate_through: step size of refinement, K // 2 steps, for learning in the manner of Kim et al.
        expectation: rule for the expected energy.

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

    first, last = FirstIteration(), LastIteration()
    steps_through, iterative = num_iterations // 2, partial(with_iterative, data, sizes, encodings)

    def method(name, build, num_steps, passes, engine_weights=AllIterations()):
        return InferenceMethod(
            name, build, num_steps, expectation, engine_weights=engine_weights, model_weights=last, passes=passes
        )

    return (
        method("iterative", iterative, num_iterations, num_iterations + 1),
        method("iterative, unrolled", partial(iterative, detach=unrolled), num_iterations, 2 * num_iterations),
        method(
            "semi-amortized (Krishnan et al.)", partial(refined, StopGradient(Gradient(plain))), num_iterations,
            num_iterations + 1, first,
        ),
        method(
            "semi-amortized (Kim et al.)", partial(refined, Gradient(through)), 1 + steps_through,
            3 * steps_through + 1, last,
        ),
    )  # fmt: skip
