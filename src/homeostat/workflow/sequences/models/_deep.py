"""Deep models of sequences: learned by variational filtering, with an amortized engine or the published encoder."""

import abc
import math
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, final

import jax
import jax.random as jr

from ....core import AbstractFilter, AbstractLearner, AbstractSequentialModel
from ....inference import ModelWithFilter, filtering_descent
from ....inference.filters import (
    FlatReader,
    amortized_variational_filter,
    deep_markov_filter,
    srnn_filter,
    svg_filter,
    vrnn_filter,
)
from ....models.sequential import (
    SRNNSizes,
    SVGSizes,
    VRNNSizes,
    deep_markov,
    music_density,
    srnn,
    svg,
    video_density,
    vrnn,
)
from ....models.static import AbstractLikelihood, ConditionalGaussian
from ....typing import Array, Key
from ..._counts import count_likelihood
from ..._task import make_optimizer
from .._description import SequencesDescription
from .._options import SequencesOptions
from ._named import AbstractNamedModel, SequencesSystem

_Parts = tuple[AbstractSequentialModel, Callable[..., AbstractFilter]]


class AbstractNetworkModel(AbstractNamedModel):
    """A model with networks."""

    likelihoods: ClassVar[tuple[str, ...]] = (
        "gaussian",
        "bernoulli",
        "discretized-gaussian",
        "poisson",
        "negative-binomial",
    )
    takes_durations: ClassVar[bool] = True

    def learner(self, system: SequencesSystem) -> AbstractLearner:
        """Descends the weighted free energy in model and filter together."""
        options = system.options
        return filtering_descent(
            system.learned,
            make_optimizer(options),
            options.truncation or None,
            system.weighting,
            # Published encoders read the past by themselves, so their gradients go through it.
            detach=jax.lax.stop_gradient if options.engine == "amortized" else _through,
        )

    @abc.abstractmethod
    def parts(self, options: SequencesOptions, density: AbstractLikelihood, **build: Any) -> _Parts:
        """The model for an output density, and its own filter.

        Args:
            build: `key` and `action_dim` of the model.
        """

    def build(self, options: SequencesOptions, description: SequencesDescription, *, key: Key) -> ModelWithFilter[Any]:
        model_key, filter_key = jr.split(key)
        model, published = self.parts(options, _density(description), key=model_key, action_dim=description.action_dim)
        if options.engine == "published":
            return ModelWithFilter(model, published(key=filter_key, num_samples=options.pasts))
        amortized = amortized_variational_filter(
            model,
            key=filter_key,
            num_steps=options.iterations,
            num_samples=options.pasts,
            width=options.width,
            depth=options.depth,
            reader=FlatReader() if options.encode_data else None,
        )
        return ModelWithFilter(model, amortized)


@final
class DeepMarkovModel(AbstractNetworkModel):
    """`deep-markov`."""

    name: ClassVar[str] = "deep-markov"

    def parts(self, options: SequencesOptions, density: AbstractLikelihood, **build: Any) -> _Parts:
        width, depth = options.width, options.depth
        sizes = {"transition_width": width, "decoder_width": width, "decoder_depth": depth}
        model = deep_markov(density, int(options.latents), **sizes, **build)
        return model, partial(deep_markov_filter, model, width, depth)


@final
class VRNNModel(AbstractNetworkModel):
    """`vrnn`."""

    name: ClassVar[str] = "vrnn"

    def parts(self, options: SequencesOptions, density: AbstractLikelihood, **build: Any) -> _Parts:
        width = options.width
        sizes = VRNNSizes(int(options.latents), options.memory, width, width, width, width, width, options.depth)
        model = vrnn(density, sizes, **build)
        return model, partial(vrnn_filter, model, sizes)


@final
class SRNNModel(AbstractNetworkModel):
    """`srnn`."""

    name: ClassVar[str] = "srnn"

    def parts(self, options: SequencesOptions, density: AbstractLikelihood, **build: Any) -> _Parts:
        sizes = SRNNSizes(int(options.latents), options.memory, options.width, options.depth, options.depth)
        model = srnn(density, sizes, **build)
        return model, partial(srnn_filter, model, sizes)


@final
class SVGModel(AbstractNetworkModel):
    """`svg`, for frames of 64 x 64."""

    name: ClassVar[str] = "svg"
    framed: ClassVar[bool] = True

    def parts(self, options: SequencesOptions, density: AbstractLikelihood, **build: Any) -> _Parts:
        sizes = SVGSizes(int(options.latents), width=options.memory)
        model = svg(density, sizes, **build)
        return model, partial(svg_filter, model, sizes)


DEEP_MODELS = (DeepMarkovModel(), VRNNModel(), SRNNModel(), SVGModel())


def _through(leaf: Array) -> Array:
    return leaf


def _density(description: SequencesDescription) -> AbstractLikelihood:
    shape = description.event_shape
    if description.likelihood == "bernoulli":
        return music_density(math.prod(shape))
    if description.likelihood == "discretized-gaussian":
        return video_density(*shape)
    if description.likelihood == "gaussian":
        return ConditionalGaussian(shape)
    return count_likelihood(description.likelihood, description.scaling, shape)
