"""Encoders trained on sparse codes, and what their training costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, final

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
from ...typing import Array, Float, Key, PyTree
from ..kit import Training, only, train
from ._methods import InferenceMethod
from ._networks import Networks, data_encoding


@final
@dataclass(frozen=True)
class FixedModel(Training):
    """Training of an engine beside a model that stays as it is."""

    def optimizer(self) -> optax.GradientTransformation:
        """Adam for the engine, nothing for the model."""
        return only(lambda learned: learned.engine, super().optimizer())


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
    context: RunContext,
    seed: int,
    networks: Networks,
    trainings: tuple[Training, Training],
    num_iterations: int,
    *,
    key: Key,
) -> Candidates:
    """Train a model, fix it, and train every engine on it; `trainings` of the model and of the engines."""
    data, dim, key = networks.data, sum(networks.sizes.latents), jr.fold_in(key, seed)
    first = InferenceMethod("model", networks.with_direct).method(data, trainings[0])
    model = train(context, f"model-{seed}", first, data.train, key=key).learned.model
    fixed = FixedModel(**vars(trainings[1]))

    def on_model(
        name: str, engine: Callable[..., AbstractEngine], family: AbstractFamily, steps: int
    ) -> AbstractEngine:
        def build(*, key: Key) -> ModelWithEngine:
            return ModelWithEngine(model, engine(key=key, family=family))

        method = InferenceMethod(name, build, steps, family=family).method(data, fixed)
        return train(context, f"{name}-{seed}", method, data.train, key=key).learned.engine

    by_gradient = partial(networks.iterative, (Estimate(), LogGradient()))
    by_both = partial(networks.iterative, (Estimate(), LogGradient(), data_encoding(data)))
    return Candidates(
        model,
        on_model("encoder", networks.direct, Delta(dim), 1),  # pyright: ignore[reportArgumentType]
        on_model("gradient", by_gradient, Delta(dim), num_iterations),
        on_model("data", by_both, Delta(dim), num_iterations),
        on_model("gaussian", by_gradient, DiagonalGaussian(dim), num_iterations),
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


def costs(candidates: Candidates, rows: Float[Array, "n size"], iterations: Sequence[int]) -> CodingCosts:
    """Count and time."""
    model, dim = candidates.model, candidates.model.initial().event_shape[0]

    @eqx.filter_jit
    def run(engine: AbstractEngine, rows: Array, starts: Array, num_steps: int) -> Array:
        def one(row: Array, start: Array) -> Array:
            return infer(
                FreeEnergy(model), engine, Delta(dim), Evidence(row), key=jr.key(0), params=DeltaParams(start),
                num_steps=num_steps, throw=False,
            ).params.loc  # fmt: skip

        return jax.vmap(one)(rows, starts)

    coding = PredictiveCoding(optax.sgd(0.01))
    starts = jnp.zeros((len(rows), dim), rows.dtype)
    tasks = (
        lambda k: run(coding, rows, starts, k),
        lambda k: run(coding, rows, encode_rows(candidates.encoder, rows), k - 1),
        lambda k: run(candidates.gradient, rows, starts, k),
        lambda k: run(candidates.data, rows, starts, k),
    )
    # The least of many: what else the machine does can only add to it.
    seconds = [[take_turns([partial(task, k)], 15).min() for k in iterations] for task in tasks]
    step = 2 * _matrix_entries(model)
    encoder, gradient, data = map(_matrix_entries, (candidates.encoder, candidates.gradient, candidates.data))
    adds = [[k * step, encoder + (k - 1) * step, k * (step + gradient), k * (step + data)] for k in iterations]
    return CodingCosts(np.asarray(adds, float).T, np.asarray(seconds))


def _matrix_entries(tree: PyTree) -> int:
    """Multiply-adds of one pass through dense layers."""
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array)) if leaf.ndim == 2)
