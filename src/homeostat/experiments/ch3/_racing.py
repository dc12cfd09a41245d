"""Engines that race on one fixed model: their paths, the bound along them, rates chosen on training rows, and seconds."""

import time
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from ...core import AbstractEngine, AbstractModel
from ...distributions import AbstractExpectation, MonteCarlo
from ...inference.engines import Gradient, NaturalGradient
from ...metrics import estimates
from ...objectives import Evidence, FreeEnergy
from ...typing import Array, Float, Key, Scalar
from ._networks import default_family


class TunedOptimizer(NamedTuple):
    """A method of optimisation with one setting to choose.

    Attributes:
        name: for tables and figures.
        engine: gives the engine for a setting (a step size, or a rate).
        settings: to choose from.
    """

    name: str
    engine: Callable[[Scalar], AbstractEngine]
    settings: tuple[float, ...]


def first_order(momentum: float = 0.9) -> tuple[TunedOptimizer, ...]:
    """The gradient-based optimizers of Fig. 3.6, each with a grid of step sizes."""
    fine = (0.003, 0.01, 0.03, 0.1, 0.3)
    coarse = (0.0003, 0.001, 0.003, 0.01, 0.03)
    return (
        TunedOptimizer("Adam", lambda rate: Gradient(optax.adam(rate)), fine),
        TunedOptimizer("RMSprop", lambda rate: Gradient(optax.rmsprop(rate)), fine),
        TunedOptimizer("SGD", lambda rate: Gradient(optax.sgd(rate)), coarse),
        TunedOptimizer("SGD, momentum", lambda rate: Gradient(optax.sgd(rate, momentum)), coarse),
    )


def natural(expectation: AbstractExpectation) -> TunedOptimizer:
    """Natural gradient in the diagonal family, with the Fisher information at the same points as everybody else's gradients.

    Its curvature costs one forward pass for each latent and point, so a step is dearer than a gradient step by about the number
    of latents over three; only the diagonal is used.
    """
    return TunedOptimizer("natural gradient", lambda rate: NaturalGradient(rate, 0.0, expectation), (0.05, 0.1, 0.2))


class Race(NamedTuple):
    """How one method did on the validation rows.

    Attributes:
        bounds: the bound before the first step and after each, in nats.
        setting: the setting that was chosen on training rows.
        tuned_nats: mean final bound on those training rows with that setting.
        seconds: wall-clock seconds of one iteration on all validation rows.
    """

    bounds: Float[Array, "rows moments"]
    setting: Float[Array, ""]
    tuned_nats: Float[Array, ""]
    seconds: Float[Array, ""]


@eqx.filter_jit
def path_of(
    arguments: tuple[AbstractModel, AbstractExpectation], engine, rows: Array, key: Key, num_steps: int
) -> Float[Array, "rows moments k"]:
    """Flat parameters along inference from the standard start. `engine` is an engine, or a pair of a function and its setting."""
    model, expectation = arguments
    family = default_family(model)
    used = engine[0](engine[1]) if isinstance(engine, tuple) else engine

    def one(observation: Array, row_key: Key) -> Float[Array, "moments k"]:
        path = estimates(
            model, used, family, Evidence(observation), num_steps=num_steps, key=row_key, expectation=expectation
        )
        return jax.vmap(lambda params: ravel_pytree(params)[0])(path)

    return jax.vmap(one)(rows, jr.split(key, rows.shape[0]))


@eqx.filter_jit
def bounds_along(
    model: AbstractModel, path: Float[Array, "rows moments k"], rows: Array, key: Key, num_samples: int
) -> Float[Array, "rows moments"]:
    """The bound at every place of paths; one row's places share their standard-normal numbers."""
    family = default_family(model)
    unravel = ravel_pytree(family.init())[1]
    objective = FreeEnergy(model, MonteCarlo(num_samples))

    def at(flat: Float[Array, "rows k"]) -> Float[Array, " rows"]:
        return -jax.vmap(lambda p, x, k: objective(family(unravel(p)), Evidence(x), key=k))(
            flat, rows, jr.split(key, rows.shape[0])
        )

    return jax.lax.map(at, jnp.swapaxes(path, 0, 1)).T


@eqx.filter_jit
def mean_gradient_norms(
    model: AbstractModel, path: Float[Array, "rows moments k"], rows: Array, key: Key, num_samples: int
) -> Float[Array, "rows moments"]:
    """Euclidean norm of the bound's gradient with respect to the means, in nats per unit, averaged over samples before the norm."""
    family = default_family(model)
    objective = FreeEnergy(model, MonteCarlo(num_samples))
    unravel = ravel_pytree(family.init())[1]

    def norm(flat: Float[Array, " k"], x: Array, k: Key) -> Scalar:
        slope = jax.grad(lambda params: objective(family(params), Evidence(x), key=k))(unravel(flat))
        return jnp.linalg.norm(slope.loc)

    def at(flat: Float[Array, "rows k"]) -> Float[Array, " rows"]:
        return jax.vmap(norm)(flat, rows, jr.split(key, rows.shape[0]))

    return jax.lax.map(at, jnp.swapaxes(path, 0, 1)).T


def race(
    model: AbstractModel,
    contender: TunedOptimizer,
    tuning: Float[Array, "rows size"],
    rows: Float[Array, "rows size"],
    *,
    key: Key,
    num_steps: int,
    expectation: AbstractExpectation,
    num_samples: int,
) -> Race:
    """Choose the setting with the highest mean final bound on `tuning`, then run it on `rows` and take the time.

    Args:
        model: fixed.
        contender: the method and its settings.
        tuning: training rows, as many as `rows`, so that one program serves both.
        rows: validation rows.
        key: random key.
        num_steps: iterations.
        expectation: what the method sees of q.
        num_samples: samples of what is reported.
    """
    run_key, measure_key = jr.split(key)
    arguments = (model, expectation)
    finals = []
    for setting in contender.settings:
        ends = path_of(arguments, (contender.engine, jnp.asarray(setting)), tuning, run_key, num_steps)[:, -1:]
        final = float(jnp.mean(bounds_along(model, ends, tuning, measure_key, num_samples)))
        finals.append(final if np.isfinite(final) else -np.inf)
    best = int(np.argmax(finals))
    chosen = (contender.engine, jnp.asarray(contender.settings[best]))
    return _timed(arguments, chosen, rows, run_key, measure_key, num_steps, num_samples, chosen[1], finals[best])


def run_alone(
    model: AbstractModel,
    engine: AbstractEngine,
    rows: Float[Array, "rows size"],
    *,
    key: Key,
    num_steps: int,
    expectation: AbstractExpectation,
    num_samples: int,
) -> Race:
    """A method without a setting, in the same way."""
    run_key, measure_key = jr.split(key)
    nothing = jnp.full((), jnp.nan)
    return _timed(
        (model, expectation), engine, rows, run_key, measure_key, num_steps, num_samples, nothing, float("nan")
    )


def _timed(arguments, engine, rows, run_key, measure_key, num_steps, num_samples, setting, tuned) -> Race:
    path = jax.block_until_ready(path_of(arguments, engine, rows, run_key, num_steps))
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        jax.block_until_ready(path_of(arguments, engine, rows, run_key, num_steps))
        seconds.append(time.perf_counter() - begin)
    bounds = bounds_along(arguments[0], path, rows, measure_key, num_samples)
    # The least of three: on a shared machine everything else is somebody else's work.
    return Race(bounds, setting, jnp.asarray(tuned), jnp.asarray(min(seconds) / num_steps))
