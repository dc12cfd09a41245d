"""Engines that race on one fixed model: their paths, the bound along them, rates chosen on training rows, and seconds.

The model is trained in parts, with the norms of gradients during inference measured in between.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from ...core import AbstractEngine, AbstractLearner, AbstractModel
from ...distributions import AbstractExpectation, DiagonalGaussian, DiagonalGaussianParams, MonteCarlo
from ...inference import EnergyDescentState, ModelWithEngine
from ...inference.engines import Gradient, NaturalGradient
from ...metrics import estimates, take_turns
from ...objectives import Evidence, FreeEnergy
from ...runs import RunContext
from ...train import InMemoryLoader
from ...typing import Array, Float, Key, PyTree, Scalar
from ..kit import Training
from ._methods import InferenceMethod


class TunedOptimizer(NamedTuple):
    """A method of optimisation: `engine` gives the engine for one of the settings (step sizes), or is it where there are none."""

    name: str
    engine: Callable[[Scalar], AbstractEngine] | AbstractEngine
    settings: tuple[float, ...] = ()


def optimizers(expectation: AbstractExpectation) -> tuple[TunedOptimizer, ...]:
    """The optimizers of Fig. 3.6, each with a grid of step sizes.

    Natural gradient works in the diagonal family, with the Fisher information at the same points as everybody else's gradients.
    Its curvature costs one forward pass for each latent and point, so a step is dearer than a gradient step by about the number
    of latents over three; only the diagonal is used.
    """
    fine = (0.003, 0.01, 0.03, 0.1, 0.3)
    coarse = (0.0003, 0.001, 0.003, 0.01, 0.03)
    return (
        TunedOptimizer("Adam", lambda rate: Gradient(optax.adam(rate)), fine),
        TunedOptimizer("RMSprop", lambda rate: Gradient(optax.rmsprop(rate)), fine),
        TunedOptimizer("SGD", lambda rate: Gradient(optax.sgd(rate)), coarse),
        TunedOptimizer("SGD, momentum", lambda rate: Gradient(optax.sgd(rate, 0.9)), coarse),
        TunedOptimizer("natural gradient", lambda rate: NaturalGradient(rate, 0.0, expectation), (0.05, 0.1, 0.2)),
    )


@eqx.filter_jit
def path_of(
    model: AbstractModel, expectation: AbstractExpectation, engine: Any, rows: Array, key: Key, num_steps: int
) -> DiagonalGaussianParams:
    """Parameters along inference from the standard start, [rows, moments, d]; `engine` may be a pair of a function and its setting."""
    used = engine[0](engine[1]) if isinstance(engine, tuple) else engine
    family = DiagonalGaussian(model.initial().event_shape[0])
    run = partial(estimates, model, used, family, num_steps=num_steps, expectation=expectation)
    return jax.vmap(lambda row, row_key: run(Evidence(row), key=row_key))(rows, jr.split(key, rows.shape[0]))


Energy = Callable[[DiagonalGaussianParams], Scalar]


def bound(energy: Energy, params: DiagonalGaussianParams) -> Scalar:
    """The bound, for `along`."""
    return -energy(params)


def mean_gradient_norm(energy: Energy, params: DiagonalGaussianParams) -> Scalar:
    """Euclidean norm of the bound's gradient with respect to the means, in nats per unit, averaged over samples before the norm."""
    return jnp.linalg.norm(jax.grad(energy)(params).loc)


@eqx.filter_jit
def along(
    measure: Callable[[Energy, DiagonalGaussianParams], Scalar], model: AbstractModel, path: DiagonalGaussianParams,
    rows: Array, key: Key, num_samples: int,
) -> Float[Array, "rows moments"]:  # fmt: skip
    """`measure(energy, params)` at every place of paths; one row's places share their random numbers."""
    family, objective = DiagonalGaussian(path.loc.shape[-1]), FreeEnergy(model, MonteCarlo(num_samples))

    def one(params: DiagonalGaussianParams, row: Array, row_key: Key) -> Scalar:
        return measure(lambda params: objective(family(params), Evidence(row), key=row_key), params)

    at = lambda params: jax.vmap(one)(params, rows, jr.split(key, rows.shape[0]))  # noqa: E731
    return jax.lax.map(at, jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), path)).T


class Race(NamedTuple):
    """How one method did: bounds of validation rows before the first step and after each, and seconds of an iteration on all rows.

    The setting was chosen on training rows, where `tuned_nats` is its mean final bound.
    """

    bounds: Float[Array, "rows moments"]
    setting: Float[Array, ""]
    tuned_nats: Float[Array, ""]
    seconds: Float[Array, ""]


def race(
    model: AbstractModel, contender: TunedOptimizer, tuning: Float[Array, "rows size"], rows: Float[Array, "rows size"],
    *, key: Key, num_steps: int, expectation: AbstractExpectation, num_samples: int,
) -> Race:  # fmt: skip
    """Choose the setting with the highest mean final bound on `tuning`, then run it on `rows` and take the time.

    Training rows are as many as validation rows, so that one program serves both. The method sees q by `expectation`; bounds are
    reported by `num_samples` samples.
    """
    run_key, measure_key = jr.split(key)
    follow = lambda engine, rows: path_of(model, expectation, engine, rows, run_key, num_steps)  # noqa: E731
    bounds = lambda path, rows: along(bound, model, path, rows, measure_key, num_samples)  # noqa: E731
    engine, setting, tuned = contender.engine, jnp.nan, np.nan
    if contender.settings:
        candidates = [(contender.engine, jnp.asarray(setting)) for setting in contender.settings]
        ends = [jax.tree.map(lambda leaf: leaf[:, -1:], follow(candidate, tuning)) for candidate in candidates]
        finals = np.nan_to_num([jnp.mean(bounds(end, tuning)) for end in ends], nan=-np.inf, posinf=-np.inf)
        engine, tuned = candidates[np.argmax(finals)], finals.max()
        setting = engine[1]
    # The least of three: on a shared machine everything else is somebody else's work.
    seconds = take_turns([partial(follow, engine, rows)], 3).min() / num_steps
    return Race(bounds(follow(engine, rows), rows), *map(jnp.asarray, (setting, tuned, seconds)))


@final
class Continued(AbstractLearner[EnergyDescentState, Any]):
    """A learner that goes on from a given state, so that a long training can be looked at in between."""

    learner: AbstractLearner
    state: EnergyDescentState

    def init(self, *, key: Key) -> EnergyDescentState:
        return self.state

    def update(self, state: EnergyDescentState, batch: PyTree, *, key: Key) -> tuple[EnergyDescentState, Any]:
        return self.learner.update(state, batch, key=key)


class Watched(NamedTuple):
    """A trained model with its engine, updates done at each look, and mean gradient norms on validation rows."""

    learned: ModelWithEngine
    steps: Float[Array, " looks"]
    norms: Float[Array, "looks moments"]


def train_watched(
    context: RunContext, method: InferenceMethod, training: Training, rows: Float[Array, "n size"], *, num_looks: int,
    num_samples: int, key: Key,
) -> Watched:  # fmt: skip
    """Train in parts, and measure mean gradient norms on `rows` after each, with `num_samples` samples."""
    num_steps, loader = training.num_steps // num_looks, InMemoryLoader(method.networks.data.train, training.batch_size)

    def norms(learned: ModelWithEngine, key: Key) -> Float[Array, " moments"]:
        path = path_of(learned.model, method.expectation, learned.engine, rows, key, method.num_steps)
        return jnp.mean(along(mean_gradient_norm, learned.model, path, rows, key, num_samples), axis=0)

    def fit(key: Key) -> Watched:
        build_key, fit_key, look_key = jr.split(key, 3)
        learner = method.method(training).learner(eqx.filter_jit(method.build)(key=build_key))
        state, curve = eqx.filter_jit(learner.init)(key=fit_key), []
        for look in range(num_looks):
            state = context.fit(
                f"part-{look}", Continued(learner, state), loader, num_steps=num_steps, key=jr.fold_in(fit_key, look),
                every=min(100, num_steps),
            ).state  # fmt: skip
            curve.append(norms(state.learned, look_key))
        steps = num_steps * (1.0 + np.arange(num_looks))
        return Watched(state.learned, jnp.asarray(steps), jnp.stack(curve))

    def empty() -> Watched:
        return Watched(method.build(key=jr.key(0)), jnp.zeros(num_looks), jnp.zeros((num_looks, method.num_steps + 1)))

    return context.stage("train", fit, key=key, like=empty)
