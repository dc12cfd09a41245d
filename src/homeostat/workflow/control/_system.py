"""From options to worlds, a learner and a loader."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from ...agents import (
    STATE_BOUND,
    ActingLoader,
    ActorCritic,
    FromInitial,
    SoftActorCritic,
    direct_policy,
    flat_size,
    iterative_policy,
)
from ...control import (
    AbstractTemperature,
    DivergenceTarget,
    FixedTemperature,
    NStep,
    Retrace,
    UniformPrior,
    default_target,
    dense_critics,
    policy_family,
)
from ...core import AbstractEngine, AbstractEnvironment
from ...distributions import Categorical, Enumeration, MonteCarlo, SquashedGaussian
from ...environments import (
    AbstractWorlds,
    FunctionalWorlds,
    Pendulum,
    TimeLimit,
    action_probe,
    aim_probe,
    constant_probe,
    delay_probe,
    state_probe,
    truncation_probe,
)
from ...environments.adapters import gymnasium_worlds
from ...inference import AbstractIterationWeights, AllIterations, FirstIteration
from ...inference.engines import (
    MPPI,
    Chain,
    CrossEntropy,
    Estimate,
    Gradient,
    InferenceGradient,
    Normalized,
    StopGradient,
)
from ...objectives import MINIMUM_OF_TWO, DualAscent, SoftReturn
from ...results import BadInputError
from ...typing import Key
from ._options import ControlOptions

OWN: dict[str, Callable[[], AbstractEnvironment]] = {
    "pendulum": lambda: TimeLimit(Pendulum(), 200),
    "constant-probe": constant_probe,
    "state-probe": state_probe,
    "delay-probe": delay_probe,
    "action-probe": action_probe,
    "aim-probe": aim_probe,
    "truncation-probe": truncation_probe,
}
"""Environments of this library by name."""

ITERATIONS = {"direct": 1, "iterative": 5, "semi-amortized": 11, "gradient": 50, "cross-entropy": 3, "path-integral": 3}
"""Engine steps for each state where none are asked for."""

ITERATIVE_PESSIMISM = 2.5
"""Of iterative policies, which find what critics overrate (Marino, thesis, Sec. 6.3)."""

MOST_SHARE = 0.5
"""Of the memory of the machine that a replay buffer may take."""


class Engine(NamedTuple):
    """An engine, and what it learns from."""

    engine: AbstractEngine
    weights: AbstractIterationWeights = AllIterations()


def worlds_of(options: ControlOptions, num: int | None = None) -> AbstractWorlds:
    """Worlds by the name of their environment."""
    num = options.worlds if num is None else num
    if not options.env:
        raise BadInputError(
            f"Expected the name of an environment, got none: --env Pendulum-v1, or one of {', '.join(OWN)}."
        )
    return FunctionalWorlds(OWN[options.env](), num) if options.env in OWN else gymnasium_worlds(options.env, num)


def learner_of(options: ControlOptions, worlds: AbstractWorlds, *, key: Key) -> SoftActorCritic:
    """The learner that the options describe.

    Raises:
        BadInputError: options do not fit the environment's actions, or are out of range.
    """
    policy_key, critic_key = jax.random.split(key)
    spec, size = worlds.action_spec, flat_size(worlds.observation_spec)
    family = policy_family(spec)
    discrete = isinstance(family, Categorical)
    actions = family.num_classes if discrete else family.dim
    expectation = Enumeration() if discrete else MonteCarlo(options.action_samples)
    pessimism = options.pessimism
    if pessimism is None:
        pessimism = ITERATIVE_PESSIMISM if options.policy == "iterative" else MINIMUM_OF_TWO
    acting = pessimism if options.acting_pessimism is None else options.acting_pessimism
    engine, weights = _engine(options, family, size, key=policy_key)
    critics = dense_critics(
        size,
        actions,
        key=critic_key,
        num=options.critics,
        width=options.width,
        depth=options.depth,
        normalize=options.layer_norm,
        discrete=discrete,
    )
    returns = NStep(options.return_steps) if options.returns == "n-step" else Retrace(options.return_steps)
    adam = optax.adam(options.learning_rate)
    return SoftActorCritic(
        ActorCritic(engine, family, UniformPrior(spec), critics),
        _temperature(options, actions, discrete),
        adam,
        adam,
        objective=SoftReturn(expectation, acting),
        value=SoftReturn(expectation if discrete else MonteCarlo(1), pessimism),
        returns=returns,
        discount=options.discount,
        target_rate=options.target_rate,
        num_steps=options.iterations or ITERATIONS[options.policy],
        start=FromInitial(),
        engine_weights=weights,
    )


def loader_of(options: ControlOptions, worlds: AbstractWorlds, learner: SoftActorCritic) -> ActingLoader:
    """Acting and remembering.

    Raises:
        BadInputError: numbers do not fit together, or what is remembered does not fit the memory.
    """
    capacity = max(min(options.replay, options.steps), options.warmup)
    numbers = flat_size(worlds.observation_spec) + (math.prod(worlds.action_spec.shape) or 1) + 3
    need, have = 4 * capacity * numbers, _memory()
    if have is not None and need > MOST_SHARE * have:
        raise BadInputError(
            f"Expected a replay buffer within {MOST_SHARE:.0%} of {have / 2**30:.1f} GiB of memory, got {capacity:,} steps of {numbers} "
            f"numbers of 4 bytes, {need / 2**30:.1f} GiB: lower --replay."
        )
    return ActingLoader(
        worlds,
        learner,
        batch_size=options.batch_size,
        capacity=capacity,
        warmup=options.warmup,
        updates_per_step=options.updates_per_step,
    )


def num_updates(options: ControlOptions) -> int:
    """Updates in the steps after the warm-up.

    Raises:
        BadInputError: there is none.
    """
    updates = int((options.steps - options.warmup) * options.updates_per_step)
    if updates < 1:
        raise BadInputError(
            f"Expected more steps than the warm-up of {options.warmup:,}, got {options.steps:,}: raise --steps, or lower --warmup."
        )
    return updates


def _engine(options: ControlOptions, family: SquashedGaussian | Categorical, size: int, *, key: Key) -> Engine:
    discrete = isinstance(family, Categorical)
    sizes: dict[str, Any] = {"width": options.width, "depth": options.depth, "bound": None if discrete else STATE_BOUND}
    match options.policy:
        case "direct":
            return Engine(direct_policy(family, size, key=key, **sizes))
        case "iterative":
            if not discrete and family.dim > 1:
                # Of a single number nothing is left after its mean is taken away.
                sizes["encodings"] = (Normalized(Estimate(), 2), Normalized(InferenceGradient(), 2))
            return Engine(iterative_policy(family, size, key=key, **sizes))
        case "semi-amortized":
            first = direct_policy(family, size, key=key, **sizes)
            return Engine(Chain((first, StopGradient(Gradient(optax.adam(0.01)))), (1,)), FirstIteration())
        case "gradient":
            return Engine(Gradient(optax.adam(0.05)))
        case "cross-entropy":
            return Engine(CrossEntropy(100, 10))
        case "path-integral":
            return Engine(MPPI(100))


def _temperature(options: ControlOptions, actions: int, discrete: bool) -> AbstractTemperature:
    if options.temperature is not None:
        return FixedTemperature(options.temperature)
    target = default_target(actions, discrete=discrete)
    if options.target_divergence is not None:
        target = options.target_divergence
    return DivergenceTarget(target, DualAscent(optax.adam(options.learning_rate)))


def _memory() -> int | None:
    import os

    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
