"""A model that is trained first, and the engines that are trained on it while it stays as it is."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, final

import jax.random as jr
import optax

from ...core import AbstractEngine, AbstractModel
from ...distributions import Delta, DiagonalGaussian
from ...inference import ModelWithEngine
from ...inference.engines import AbstractEncoding, Direct, Estimate, LogGradient
from ...runs import RunContext
from ...typing import Key
from ..kit import Training, only
from ._common import InferenceMethod, train
from ._data import SplitData
from ._networks import NetworkSizes, data_encoding, direct_engine, iterative_engine, with_direct


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
    data: SplitData,
    sizes: NetworkSizes,
    trainings: tuple[Training, Training],
    num_iterations: int,
    *,
    key: Key,
) -> Candidates:
    """Train a model, fix it, and train every engine on it.

    Args:
        context: of the run.
        seed: number of this repetition.
        data: what is observed.
        sizes: of the networks.
        trainings: of the model and of the engines.
        num_iterations: iterations that iterative engines are trained with.
        key: random key.
    """
    dim = sum(sizes.latents)
    key = jr.fold_in(key, seed)
    first = InferenceMethod("model", partial(with_direct, data, sizes))
    model = train(context, f"model-{seed}", data, first, trainings[0], key=key).learned.model
    fixed = FixedModel(**vars(trainings[1]))
    gradients: tuple[AbstractEncoding, ...] = (Estimate(), LogGradient())

    def on_model(name: str, build: Callable[..., AbstractEngine], family, steps: int) -> AbstractEngine:
        def learned(*, key: Key) -> ModelWithEngine:
            return ModelWithEngine(model, build(data, sizes, key=key, family=family))

        method = InferenceMethod(name, learned, steps, family=family)
        return train(context, f"{name}-{seed}", data, method, fixed, key=key).learned.engine

    by_gradient = lambda data, sizes, **rest: iterative_engine(data, sizes, gradients, **rest)  # noqa: E731
    by_both = lambda data, sizes, **rest: iterative_engine(data, sizes, (*gradients, data_encoding(data)), **rest)  # noqa: E731
    return Candidates(
        model,
        on_model("encoder", direct_engine, Delta(dim), 1),  # pyright: ignore[reportArgumentType]
        on_model("gradient", by_gradient, Delta(dim), num_iterations),
        on_model("data", by_both, Delta(dim), num_iterations),
        on_model("gaussian", by_gradient, DiagonalGaussian(dim), num_iterations),
    )
