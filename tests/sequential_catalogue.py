"""One line for every member that knows time: models, filters, and what learns from sequences. A part of `catalogue.py`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import optax

from deep_problems import DEEP_MODELS
from homeostat.core import AbstractFilter, AbstractLearner, AbstractSequentialModel, AbstractSmoother
from homeostat.distributions import DiagonalGaussian, FullGaussian, MonteCarlo
from homeostat.inference import (
    EnergyDescent,
    ModelWithFilter,
    SequenceBatch,
    StreamBatch,
    engines,
    evidence_descent,
    filtering_descent,
)
from homeostat.inference.filters import (
    Ensemble,
    Extended,
    Forward,
    GaussianBelief,
    InteractingModels,
    Kalman,
    Particle,
    SampledHistories,
    Unscented,
    VariationalFilter,
)
from homeostat.inference.smoothers import ForwardBackward, ParticleSmoother, RauchTungStriebel, Structured
from homeostat.models.sequential import (
    Conditioned,
    ConditionedOnFirst,
    GaussianEmissions,
    GeneralizedLinear,
    Given,
    HiddenMarkov,
    LinearDynamics,
    LinearGaussian,
    NonlinearGaussian,
    SwitchingLinear,
    TimedAction,
    TransitionMatrix,
    WithNoise,
    pendulum,
)
from homeostat.models.static import PoissonCounts
from path_problems import PATH_FILTERS, PATH_LEARNERS, chain
from problems import Steered, mapping, remembering


class ModelCase(NamedTuple):
    """A model with an action that it understands; None for a static one."""

    model: AbstractSequentialModel
    action: Any = None


def linear_gaussian() -> LinearGaussian:
    dynamics = LinearDynamics(jnp.array([[0.9, 0.1], [0.0, 0.8]]), jnp.array([[0.5], [1.0]]), 0.3 * jnp.eye(2))
    return LinearGaussian(jnp.zeros(2), jnp.eye(2), dynamics, jnp.array([[1.0, 0.5]]), jnp.array([[0.4]]))


def _hidden_markov() -> HiddenMarkov:
    emissions = GaussianEmissions(jnp.array([[-1.0, 0.0], [1.0, 0.5], [0.0, 2.0]]), jnp.stack(3 * [0.8 * jnp.eye(2)]))
    chain = jnp.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.3, 0.3, 0.4]])
    return HiddenMarkov.from_probabilities(jnp.array([0.5, 0.3, 0.2]), chain, emissions)


def _switching() -> SwitchingLinear:
    other = LinearDynamics(jnp.array([[0.2, -0.5], [0.5, 0.2]]), jnp.array([[0.0], [1.0]]), 0.6 * jnp.eye(2))
    second = LinearGaussian(jnp.ones(2), 0.5 * jnp.eye(2), other, jnp.array([[0.0, 1.0]]), jnp.array([[0.7]]))
    chain = TransitionMatrix.from_probabilities(jnp.array([[0.9, 0.1], [0.2, 0.8]]))
    return SwitchingLinear(jnp.zeros(2), chain, (linear_gaussian(), second))


def steered() -> Steered:
    return Steered(jnp.array([0.5, -0.3]))


MARKOV_MODELS: dict[str, Callable[[], ModelCase]] = {
    "linear Gaussian": lambda: ModelCase(linear_gaussian(), jnp.ones(1)),
    "hidden Markov": lambda: ModelCase(_hidden_markov(), jnp.zeros(0)),
    "nonlinear Gaussian": lambda: ModelCase(
        NonlinearGaussian.networks(2, 3, 1, width=4, depth=1, key=jr.key(0)), TimedAction(0.7, jnp.ones(1))
    ),
    "switching linear": lambda: ModelCase(_switching(), jnp.ones(1)),
    "generalized linear": lambda: ModelCase(
        GeneralizedLinear(
            jnp.zeros(2), jnp.eye(2), linear_gaussian().dynamics, 0.3 * jnp.ones((3, 2)), PoissonCounts((3,), -0.5)
        ),
        jnp.ones(1),
    ),
    "conditioned": lambda: ModelCase(Conditioned(remembering(), jnp.ones(3))),
    "deep Markov": lambda: ModelCase(DEEP_MODELS["deep Markov"](key=jr.key(0), action_dim=2), jnp.ones(2)),
}


SEQUENTIAL_MODELS: dict[str, Callable[[], ModelCase]] = {
    "remembering (of the tests)": lambda: ModelCase(remembering(), jnp.ones(1)),
    "linear Gaussian": lambda: ModelCase(linear_gaussian(), jnp.ones(1)),
    "steered (of the tests)": lambda: ModelCase(steered(), jnp.ones(())),
    "conditioned on the first": lambda: ModelCase(
        ConditionedOnFirst(remembering()), Given(jnp.ones(2), jnp.array(True))
    ),
    "with noise": lambda: ModelCase(WithNoise(remembering(), 0.3 * jnp.eye(2)), jnp.ones(1)),
    **{
        name: lambda name=name: ModelCase(DEEP_MODELS[name](key=jr.key(0), action_dim=2), jnp.ones(2))
        for name in ("VRNN", "SRNN", "SVG", "two time scales")
    },
}
"""Models whose carry is checked: all that are not Markov, and of those that are some of every kind of distribution."""


def belief() -> GaussianBelief:
    return GaussianBelief(jnp.array([0.5, -0.5]), jnp.array([[0.3, 0.0], [0.1, 0.2]]))


def steered_filter() -> VariationalFilter:
    return VariationalFilter(engines.NaturalGradient(1.0, keep=1e-6), FullGaussian(2))


class FilterCase(NamedTuple):
    """A filter with a model, an action and an observation."""

    filter: AbstractFilter
    model: AbstractSequentialModel
    action: Any
    observation: Any


FILTERS: dict[str, Callable[[], FilterCase]] = {
    "Kalman": lambda: FilterCase(Kalman(), linear_gaussian(), jnp.ones(1), jnp.ones(1)),
    "extended": lambda: FilterCase(Extended(2), pendulum(), jnp.ones(1), 0.3 * jnp.ones(1)),
    "unscented": lambda: FilterCase(Unscented(), pendulum(), jnp.ones(1), 0.3 * jnp.ones(1)),
    "ensemble": lambda: FilterCase(Ensemble(64, 0.02), pendulum(), jnp.ones(1), 0.3 * jnp.ones(1)),
    "forward": lambda: FilterCase(Forward(), _hidden_markov(), jnp.zeros(0), jnp.ones(2)),
    "interacting models": lambda: FilterCase(InteractingModels(), _switching(), jnp.ones(1), jnp.ones(1)),
    "particle": lambda: FilterCase(Particle(256), linear_gaussian(), jnp.ones(1), jnp.ones(1)),
    "particle, with a past": lambda: FilterCase(Particle(64), remembering(), jnp.ones(1), jnp.ones(2)),
    "variational, sampled pasts": lambda: FilterCase(
        VariationalFilter(engines.NaturalGradient(1.0), DiagonalGaussian(2), propagation=SampledHistories(3)),
        remembering(),
        jnp.ones(1),
        jnp.ones(2),
    ),
    **{name: lambda build=build: FilterCase(*build()) for name, build in PATH_FILTERS.items()},
    "variational": lambda: FilterCase(steered_filter(), steered(), jnp.ones(()), jnp.ones(2)),
    "variational, by gradient": lambda: FilterCase(
        VariationalFilter(engines.Gradient(optax.adam(0.1)), DiagonalGaussian(2), 5),
        steered(),
        jnp.ones(()),
        jnp.ones(2),
    ),
}


class SmootherCase(NamedTuple):
    """A smoother with a model, a sequence, its actions, and what its record says of every state."""

    smoother: AbstractSmoother
    model: AbstractSequentialModel
    observations: Any
    actions: Any
    per_step: Callable[[Any], Any]


def _beliefs(found: Any) -> Any:
    return eqx.filter(found.beliefs, eqx.is_array)


def _path_means(found: Any) -> Any:
    return found.mean


SMOOTHERS: dict[str, Callable[[], SmootherCase]] = {
    "Rauch-Tung-Striebel": lambda: SmootherCase(
        RauchTungStriebel(), linear_gaussian(), jnp.linspace(-1.0, 1.0, 4)[:, None], jnp.ones((3, 1)), _beliefs
    ),
    "forward-backward": lambda: SmootherCase(
        ForwardBackward(), _hidden_markov(), jnp.linspace(-1.0, 2.0, 8).reshape(4, 2), None, _beliefs
    ),
    "particle": lambda: SmootherCase(
        ParticleSmoother(Particle(32), 16),
        linear_gaussian(),
        jnp.linspace(-1.0, 1.0, 4)[:, None],
        jnp.ones((3, 1)),
        _path_means,
    ),
    "structured": lambda: SmootherCase(
        Structured(num_steps=2), chain(2), jnp.linspace(-1.0, 2.0, 8).reshape(4, 2), jnp.ones((3, 1)), _beliefs
    ),
}


def _sequences(count: int = 3) -> SequenceBatch:
    return SequenceBatch(jr.normal(jr.key(6), (count, 4, 2)), jnp.ones((count, 3, 1)), jnp.array([4, 2, 3]))


def _filtering(**options: Any) -> EnergyDescent:
    inputs = (engines.Estimate(), engines.InferenceGradient())
    engine = engines.Iterative(encoder_like(2, 4), inputs, engines.Residual(0.01))
    method = VariationalFilter(engine, DiagonalGaussian(2), 1, MonteCarlo(1), SampledHistories(1))
    return filtering_descent(ModelWithFilter(remembering(), method), optax.adam(1e-3), **options)


def encoder_like(dim: int, outputs: int) -> Any:
    """A small network that reads the parameters of `dim` Gaussians and as many gradients."""
    return mapping(4 * dim, outputs, key=jr.key(3))


SEQUENCE_LEARNERS: dict[str, Callable[[], tuple[AbstractLearner, Any]]] = {
    **PATH_LEARNERS,
    "evidence descent": lambda: (
        evidence_descent(ModelWithFilter(linear_gaussian(), Kalman()), optax.adam(1e-3)),
        SequenceBatch(jr.normal(jr.key(5), (2, 3, 1)), jnp.ones((2, 2, 1))),
    ),
    "filtering descent": lambda: (_filtering(truncation=2), _sequences()),
    "streaming descent": lambda: (
        _filtering(online=optax.adam(1e-3), num_streams=3),
        StreamBatch(jr.normal(jr.key(6), (3, 2, 2)), jnp.ones((3, 2, 1)), jnp.array([True, False, False])),
    ),
}
