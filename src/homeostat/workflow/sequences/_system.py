"""A sequential model with its filter and its learner, from a set of options."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from ...core import AbstractFilter, AbstractSequentialModel
from ...inference import FilteringDescent, FilteringState, ModelWithFilter
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
from ...typing import Array, Key, PyTree
from ._describe import SequencesDescription
from ._maximization import Maximization, MaximizationState
from ._options import SequencesOptions


class Tracker(NamedTuple):
    """A model and the filter that follows it; either may be learned.

    Attributes:
        model: p(x, z).
        filter: finds the beliefs.
    """

    model: AbstractSequentialModel
    filter: AbstractFilter


class SequenceKept(NamedTuple):
    """What training leaves behind.

    Attributes:
        learned: model and filter.
        weighting: state of the weighting they were trained under.
    """

    learned: Tracker
    weighting: PyTree


@final
class SequencesSystem(NamedTuple):
    """A model with its filter before or after training.

    Attributes:
        config: the options.
        observations: what the sequences are.
        learned: model and filter.
        weighting: around the terms of the free energy.
    """

    config: SequencesOptions
    observations: SequencesDescription
    learned: Tracker
    weighting: AbstractWeighting

    @property
    def closed_form(self) -> bool:
        """Whether the model is learned by expectation maximisation."""
        return self.config.engine == "exact"

    def start(self) -> SequenceKept:
        """Where learning starts."""
        return SequenceKept(self.learned, self.weighting.init())

    def learner(self) -> FilteringDescent | Maximization:
        """Descends the weighted free energy in model and filter together, or maximises the likelihood of an exact filter."""
        config = self.config
        if isinstance(self.learned.model, LinearGaussian):
            return Maximization(self.learned.model)
        adam = optax.adam(config.learning_rate)
        return FilteringDescent(
            ModelWithFilter(*self.learned),  # pyright: ignore[reportArgumentType]
            adam if config.clip_norm == 0.0 else optax.chain(optax.clip_by_global_norm(config.clip_norm), adam),
            config.truncation or None,
            self.weighting,
            # Published encoders read the past by themselves, so their gradients go through it.
            detach=jax.lax.stop_gradient if config.engine == "amortized" else _through,
        )

    def keep(self, state: FilteringState | MaximizationState) -> SequenceKept:
        """What of a learner's state is worth keeping."""
        if isinstance(state, MaximizationState):
            return SequenceKept(Tracker(state.model, self.learned.filter), self.weighting.init())
        return SequenceKept(Tracker(state.learned.model, state.learned.filter), state.weighting)


def _through(leaf: Array) -> Array:
    return leaf


def check_sequences_options(config: SequencesOptions) -> None:
    """Refuse options that contradict each other, before anything is read.

    Raises:
        BadInputError: they do.
    """
    for name in (
        "latents", "width", "memory", "depth", "iterations", "pasts", "window", "steps_per_beat", "steps", "batch_size",
        "validate_every", "report_every", "bounds",
    ):  # fmt: skip
        _require(getattr(config, name) >= 1, f"--{name.replace('_', '-')} of at least 1", getattr(config, name))
    _require(config.piece >= 2, "--piece of at least 2", config.piece)
    for name in ("truncation", "patience"):
        _require(getattr(config, name) >= 0, f"--{name} of 0 or more", getattr(config, name))
    _require(0.0 < config.learning_rate < math.inf, "a positive --learning-rate", config.learning_rate)
    _require(0.0 <= config.clip_norm < math.inf, "--clip-norm of 0 or more", config.clip_norm)
    _require(0.0 <= config.validation_fraction < 1.0, "a --validation-fraction in [0, 1)", config.validation_fraction)
    _require(config.anneal is None or config.anneal >= 1, "--anneal of at least 1", config.anneal)
    if (config.engine == "exact") != (config.model == "linear-gaussian"):
        raise BadInputError(
            f"Expected --engine exact with --model linear-gaussian, and with no other, got --engine {config.engine} with "
            f"{config.model}."
        )
    if config.engine != "amortized" and (config.iterations != 1 or config.encode_data):
        raise BadInputError(
            f"Expected --iterations and --encode-data with --engine amortized only, got them with {config.engine}."
        )


def build_sequences_system(
    config: SequencesOptions, observations: SequencesDescription, *, key: Key
) -> SequencesSystem:
    """Turn options into objects.

    Args:
        config: the options.
        observations: what the sequences are, from `describe_sequences`.
        key: for initial weights.

    Raises:
        BadInputError: options contradict each other or the data.
    """
    return _assemble(config, observations, eqx.filter_jit(_initial(config, observations))(key))


def outline_sequences_system(config: SequencesOptions, observations: SequencesDescription) -> SequencesSystem:
    """The system without numbers: shapes in place of arrays, to check that all fits together, and to restore into."""
    return _assemble(config, observations, eqx.filter_eval_shape(_initial(config, observations), jr.key(0)))


def _assemble(config: SequencesOptions, observations: SequencesDescription, learned: Tracker) -> SequencesSystem:
    weighting = Unweighted() if config.anneal is None else Annealing(optax.linear_schedule(0.0, 1.0, config.anneal))
    return SequencesSystem(config, observations, learned, weighting)


def _initial(config: SequencesOptions, observations: SequencesDescription) -> Callable[[Key], Tracker]:
    check_sequences_options(config)

    def initial(key: Key) -> Tracker:
        model_key, filter_key = jr.split(key)
        if config.model == "linear-gaussian":
            return Tracker(_linear(config, observations, model_key), Kalman())
        density = _density(observations)
        sizes: Any = None
        build: dict[str, Any] = {"key": model_key, "action_dim": observations.action_dim}
        if config.model == "deep-markov":
            model = deep_markov(
                density,
                config.latents,
                transition_width=config.width,
                decoder_width=config.width,
                decoder_depth=config.depth,
                **build,
            )
        elif config.model == "vrnn":
            width = config.width
            sizes = VRNNSizes(config.latents, config.memory, width, width, width, width, width, config.depth)
            model = vrnn(density, sizes, **build)
        elif config.model == "srnn":
            sizes = SRNNSizes(config.latents, config.memory, config.width, config.depth, config.depth)
            model = srnn(density, sizes, **build)
        else:
            sizes = SVGSizes(config.latents, width=config.memory)
            model = svg(density, sizes, **build)
        return Tracker(model, _filter(model, sizes, config, filter_key))

    return initial


def _filter(model: Any, sizes: Any, config: SequencesOptions, key: Key) -> AbstractFilter:
    if config.engine == "amortized":
        return amortized_variational_filter(
            model,
            key=key,
            num_steps=config.iterations,
            num_samples=config.pasts,
            width=config.width,
            depth=config.depth,
            reader=FlatReader() if config.encode_data else None,
        )
    if config.model == "deep-markov":
        return deep_markov_filter(model, config.width, config.depth, key=key, num_samples=config.pasts)
    published = {"vrnn": vrnn_filter, "srnn": srnn_filter, "svg": svg_filter}[config.model]
    return published(model, sizes, key=key, num_samples=config.pasts)


def _density(observations: SequencesDescription) -> AbstractLikelihood:
    shape = observations.event_shape
    if observations.likelihood == "bernoulli":
        return music_density(math.prod(shape))
    return video_density(*shape) if observations.likelihood == "discretized-gaussian" else ConditionalGaussian(shape)


def _linear(config: SequencesOptions, observations: SequencesDescription, key: Key) -> LinearGaussian:
    """A slowly forgetting state that is seen through random directions; expectation maximisation goes on from there."""
    dim, size = config.latents, math.prod(observations.event_shape)
    control = jnp.zeros((dim, observations.action_dim))
    dynamics = LinearDynamics(0.9 * jnp.eye(dim), control, 0.5 * jnp.eye(dim))
    emission = jr.normal(key, (size, dim)) / math.sqrt(dim)
    return LinearGaussian(jnp.zeros(dim), jnp.eye(dim), dynamics, emission, jnp.eye(size))


def _require(holds: bool, expected: str, got: object) -> None:
    if not holds:
        raise BadInputError(f"Expected {expected}, got {got}.")
