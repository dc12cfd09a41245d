"""Encoders trained on sparse codes, and what their training costs."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from ...core import AbstractEngine, AbstractFamily, AbstractModel
from ...distributions import Delta, DeltaParams, DiagonalGaussian
from ...inference import ModelWithEngine, infer
from ...inference.engines import Direct, Estimate, LogGradient, PredictiveCoding
from ...metrics import take_turns
from ...objectives import Evidence, FreeEnergy
from ...runs import RunContext
from ...typing import Any, Array, Float, Key, PyTree
from ..kit import Training, train
from ._methods import InferenceMethod
from ._networks import Networks, data_encoding


class Candidates(NamedTuple):
    """A model and engines that were trained on it while it was fixed.

    Attributes:
        model: trained with a direct encoder and a Gaussian q, which is none of those compared.
        encoder: feedforward, to points.
        gradient: iterative, to points; reads estimate and gradient.
        data: iterative, to points; reads the observation as well.
        gaussian: iterative, to Gaussians; reads estimate and gradient.
    """

    model: AbstractModel
    encoder: Direct
    gradient: AbstractEngine
    data: AbstractEngine
    gaussian: AbstractEngine


def train_candidates(
    context: RunContext, seed: int, networks: Networks, trainings: tuple[Training, Training], num_iterations: int, *, key: Key
) -> Candidates:  # fmt: skip
    """Train a model, fix it, and train every engine on it; `trainings` of the model and of the engines."""
    data, key = networks.data, jr.fold_in(key, seed)

    def learn(name: str, method: InferenceMethod, training: Training) -> ModelWithEngine:
        return train(context, f"{name}-{seed}", method.method(training), data.train, key=key).learned

    model = learn("model", InferenceMethod("model", networks, networks.direct), trainings[0]).model

    def on_model(name: str, engine: Callable[..., AbstractEngine], family: AbstractFamily, num_steps: int) -> Any:
        method = InferenceMethod(name, networks, engine, num_steps, q=family, model=model)
        return learn(name, method, trainings[1]).engine

    points, gaussians = Delta(networks.dim), DiagonalGaussian(networks.dim)
    by_gradient = partial(networks.iterative, (Estimate(), LogGradient()))
    by_both = partial(networks.iterative, (Estimate(), LogGradient(), data_encoding(data)))
    return Candidates(
        model,
        on_model("encoder", networks.direct, points, 1),
        on_model("gradient", by_gradient, points, num_iterations),
        on_model("data", by_both, points, num_iterations),
        on_model("gaussian", by_gradient, gaussians, num_iterations),
    )


@eqx.filter_jit
def encode_rows(encoder: Direct, rows: Float[Array, "rows size"]) -> Float[Array, "rows d"]:
    """Points of the feedforward pass."""
    return jax.vmap(lambda row: encoder.encoder(Evidence(row)))(rows)


class CodingCosts(NamedTuple):
    """What inference costs: predictive coding, it after a feedforward pass, iterative inference by gradients, and with data.

    Attributes:
        multiply_adds: in weight matrices, for one observation. A step of predictive coding is one pass of predictions down
            and one of errors up; an iteration of iterative inference is the same two passes and the update network.
        seconds: least wall-clock time for the rows at once.
    """

    multiply_adds: Float[np.ndarray, "4 iterations"]
    seconds: Float[np.ndarray, "4 iterations"]


def costs(candidates: Candidates, rows: Float[Array, "n size"], iterations: Sequence[int], *, key: Key) -> CodingCosts:
    """Count and time."""
    model, encoder, gradient, data, _ = candidates
    dim = model.initial().event_shape[0]

    @eqx.filter_jit
    def run(engine: AbstractEngine, rows: Array, starts: Array, num_steps: int) -> Array:
        def one(row: Array, start: Array) -> Array:
            return infer(
                FreeEnergy(model), engine, Delta(dim), Evidence(row), key=key, params=DeltaParams(start), num_steps=num_steps,
                throw=False,
            ).params.loc  # fmt: skip

        return jax.vmap(one)(rows, starts)

    coding, starts = PredictiveCoding(optax.sgd(0.01)), jnp.zeros((len(rows), dim), rows.dtype)
    tasks = (
        lambda k: run(coding, rows, starts, k),
        lambda k: run(coding, rows, encode_rows(encoder, rows), k - 1),
        lambda k: run(gradient, rows, starts, k),
        lambda k: run(data, rows, starts, k),
    )
    # The least of many: what else the machine does can only add to it.
    seconds = [[take_turns([partial(task, k)], 15).min() for k in iterations] for task in tasks]
    step, once, by_gradient, by_both = map(_matrix_entries, ((model, model), encoder, gradient, data))
    adds = [[k * step, once + (k - 1) * step, k * (step + by_gradient), k * (step + by_both)] for k in iterations]
    return CodingCosts(np.asarray(adds, float).T, np.asarray(seconds))


def _matrix_entries(tree: PyTree) -> int:
    """Multiply-adds of one pass through dense layers."""
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array)) if leaf.ndim == 2)
