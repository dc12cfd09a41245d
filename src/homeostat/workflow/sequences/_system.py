"""A sequential model with its filter and its learner, from a set of options."""

import math
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from ...core import AbstractFilter, AbstractSequentialModel
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
from ...objectives import AbstractWeighting, Annealing, Unweighted
from ...results import BadInputError
from ...typing import Array, Key
from .._checks import check_training, require, require_positive
from .._task import make_optimizer
from ._describe import SequencesDescription
from ._maximization import Maximization
from ._options import SequencesOptions


@final
class SequencesSystem(NamedTuple):
    """A model with its filter before training.

    Attributes:
        options: of the fit.
        description: of the sequences.
        learned: model and filter.
        weighting: around the terms of the free energy.
    """

    options: SequencesOptions
    description: SequencesDescription
    learned: ModelWithFilter
    weighting: AbstractWeighting

    def learner(self) -> EnergyDescent | Maximization:
        """Descends the weighted free energy in model and filter together, or maximises the likelihood of an exact filter."""
        options = self.options
        if isinstance(self.learned.model, LinearGaussian):
            return Maximization(self.learned.model)
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


def check_sequences_options(options: SequencesOptions) -> None:
    """Refuse options that contradict each other, before anything is read.

    Raises:
        BadInputError: they do.
    """
    check_training(options)
    require_positive(
        options, "latents", "width", "memory", "depth", "iterations", "pasts", "window", "steps_per_beat", "bounds"
    )
    require(options.piece >= 2, "--piece of at least 2", options.piece)
    require(options.truncation >= 0, "--truncation of 0 or more", options.truncation)
    if (options.engine == "exact") != (options.model == "linear-gaussian"):
        raise BadInputError(
            f"Expected --engine exact with --model linear-gaussian, and with no other, got --engine {options.engine} with "
            f"{options.model}."
        )
    if options.engine != "amortized" and (options.iterations != 1 or options.encode_data):
        raise BadInputError(
            f"Expected --iterations and --encode-data with --engine amortized only, got them with {options.engine}."
        )


def build_sequences_system(
    options: SequencesOptions, description: SequencesDescription, *, key: Key | None
) -> SequencesSystem:
    """Turn options into objects.

    Args:
        options: of the fit.
        description: of the sequences.
        key: for initial weights; None for shapes in place of arrays, to check that all fits together, and to restore into.

    Raises:
        BadInputError: options contradict each other or the data.
    """
    check_sequences_options(options)

    def initial(key: Key) -> ModelWithFilter:
        model_key, filter_key = jr.split(key)
        if options.model == "linear-gaussian":
            return ModelWithFilter(_linear(options, description, model_key), Kalman())
        model, sizes = _model(options, description, model_key)
        return ModelWithFilter(model, _filter(model, sizes, options, filter_key))

    learned = eqx.filter_eval_shape(initial, jr.key(0)) if key is None else eqx.filter_jit(initial)(key)
    anneal = options.anneal
    weighting = Unweighted() if anneal is None else Annealing(optax.linear_schedule(0.0, 1.0, anneal))
    return SequencesSystem(options, description, learned, weighting)


def _model(
    options: SequencesOptions, description: SequencesDescription, key: Key
) -> tuple[AbstractSequentialModel, Any]:
    """A model with its sizes."""
    density, width, depth = _density(description), options.width, options.depth
    build: dict[str, Any] = {"key": key, "action_dim": description.action_dim}
    if options.model == "deep-markov":
        sizes = {"transition_width": width, "decoder_width": width, "decoder_depth": depth}
        return deep_markov(density, options.latents, **sizes, **build), None
    if options.model == "vrnn":
        sizes = VRNNSizes(options.latents, options.memory, width, width, width, width, width, depth)
        return vrnn(density, sizes, **build), sizes
    if options.model == "srnn":
        sizes = SRNNSizes(options.latents, options.memory, width, depth, depth)
        return srnn(density, sizes, **build), sizes
    sizes = SVGSizes(options.latents, width=options.memory)
    return svg(density, sizes, **build), sizes


def _filter(model: Any, sizes: Any, options: SequencesOptions, key: Key) -> AbstractFilter:
    if options.engine == "amortized":
        return amortized_variational_filter(
            model,
            key=key,
            num_steps=options.iterations,
            num_samples=options.pasts,
            width=options.width,
            depth=options.depth,
            reader=FlatReader() if options.encode_data else None,
        )
    if options.model == "deep-markov":
        return deep_markov_filter(model, options.width, options.depth, key=key, num_samples=options.pasts)
    published = {"vrnn": vrnn_filter, "srnn": srnn_filter, "svg": svg_filter}[options.model]
    return published(model, sizes, key=key, num_samples=options.pasts)


def _density(description: SequencesDescription) -> AbstractLikelihood:
    shape = description.event_shape
    if description.likelihood == "bernoulli":
        return music_density(math.prod(shape))
    return video_density(*shape) if description.likelihood == "discretized-gaussian" else ConditionalGaussian(shape)


def _linear(options: SequencesOptions, description: SequencesDescription, key: Key) -> LinearGaussian:
    """A slowly forgetting state that is seen through random directions; expectation maximisation goes on from there."""
    dim, size = options.latents, math.prod(description.event_shape)
    control = jnp.zeros((dim, description.action_dim))
    dynamics = LinearDynamics(0.9 * jnp.eye(dim), control, 0.5 * jnp.eye(dim))
    emission = jr.normal(key, (size, dim)) / math.sqrt(dim)
    return LinearGaussian(jnp.zeros(dim), jnp.eye(dim), dynamics, emission, jnp.eye(size))
