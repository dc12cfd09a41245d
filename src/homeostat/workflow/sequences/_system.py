"""A sequential model with its filter and its learner, from a set of options."""

import math
from functools import partial
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import jax.random as jr

from ...inference import EnergyDescent, ModelWithFilter, filtering_descent
from ...inference.filters import (
    FlatReader,
    Kalman,
    amortized_variational_filter,
    deep_markov_filter,
    srnn_filter,
    svg_filter,
    vrnn_filter,
)
from ...models.sequential import (
    HiddenMarkov,
    LinearDynamics,
    LinearGaussian,
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
from ...models.static import AbstractLikelihood, ConditionalGaussian
from ...objectives import AbstractWeighting
from ...typing import Array, Key
from .._counts import count_likelihood
from .._task import make_optimizer
from ._describe import SequencesDescription
from ._maximization import Maximization, linear_step, states_step
from ._options import SequencesOptions


@final
class SequencesSystem(NamedTuple):
    """A model with its filter before training."""

    options: SequencesOptions
    description: SequencesDescription
    learned: ModelWithFilter
    weighting: AbstractWeighting

    def learner(self) -> EnergyDescent | Maximization:
        """Descends the weighted free energy in model and filter together, or maximises the likelihood of an exact filter."""
        options = self.options
        if isinstance(self.learned.model, LinearGaussian):
            return Maximization(self.learned.model, linear_step)
        if isinstance(self.learned.model, HiddenMarkov):
            return Maximization(self.learned.model, states_step)
        return filtering_descent(
            self.learned,
            make_optimizer(options),
            options.truncation or None,
            self.weighting,
            # Published encoders read the past by themselves, so their gradients go through it.
            detach=jax.lax.stop_gradient if options.engine == "amortized" else _through,
        )


def _through(leaf: Array) -> Array:
    return leaf


def deep(options: SequencesOptions, description: SequencesDescription, *, key: Key) -> ModelWithFilter:
    """A deep model with its filter, as they are named."""
    model_key, filter_key = jr.split(key)
    density, latents, width, depth = _density(description), int(options.latents), options.width, options.depth
    build: dict[str, Any] = {"key": model_key, "action_dim": description.action_dim}
    match options.model:
        case "deep-markov":
            sizes = {"transition_width": width, "decoder_width": width, "decoder_depth": depth}
            model = deep_markov(density, latents, **sizes, **build)
            published = partial(deep_markov_filter, model, width, depth)
        case "vrnn":
            sizes = VRNNSizes(latents, options.memory, width, width, width, width, width, depth)
            model = vrnn(density, sizes, **build)
            published = partial(vrnn_filter, model, sizes)
        case "srnn":
            sizes = SRNNSizes(latents, options.memory, width, depth, depth)
            model = srnn(density, sizes, **build)
            published = partial(srnn_filter, model, sizes)
        case _:
            sizes = SVGSizes(latents, width=options.memory)
            model = svg(density, sizes, **build)
            published = partial(svg_filter, model, sizes)
    if options.engine == "published":
        return ModelWithFilter(model, published(key=filter_key, num_samples=options.pasts))
    amortized = amortized_variational_filter(
        model,
        key=filter_key,
        num_steps=options.iterations,
        num_samples=options.pasts,
        width=width,
        depth=depth,
        reader=FlatReader() if options.encode_data else None,
    )
    return ModelWithFilter(model, amortized)


def _density(description: SequencesDescription) -> AbstractLikelihood:
    shape = description.event_shape
    if description.likelihood == "bernoulli":
        return music_density(math.prod(shape))
    if description.likelihood == "discretized-gaussian":
        return video_density(*shape)
    if description.likelihood == "gaussian":
        return ConditionalGaussian(shape)
    return count_likelihood(description.likelihood, description.scaling, shape)


def linear(options: SequencesOptions, description: SequencesDescription, *, key: Key) -> ModelWithFilter:
    """A slowly forgetting state that is seen through random directions; expectation maximisation goes on from there."""
    dim, size = int(options.latents), math.prod(description.event_shape)
    control = jnp.zeros((dim, description.action_dim))
    dynamics = LinearDynamics(0.9 * jnp.eye(dim), control, 0.5 * jnp.eye(dim))
    emission = jr.normal(jr.split(key)[0], (size, dim)) / math.sqrt(dim)
    return ModelWithFilter(LinearGaussian(jnp.zeros(dim), jnp.eye(dim), dynamics, emission, jnp.eye(size)), Kalman())
