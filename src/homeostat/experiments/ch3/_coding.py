"""Predictive coding beside iterative inference: one trained model, several ways to infer on it, and what each costs."""

import time
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

from ...core import AbstractEngine, AbstractModel
from ...distributions import Delta, DeltaParams, DiagonalGaussian, MonteCarlo
from ...inference import ModelWithEngine, infer
from ...inference.engines import AbstractEncoding, Direct, Estimate, LogGradient, PredictiveCoding
from ...objectives import Evidence, FreeEnergy
from ...typing import Array, Float, Int, Key, PyTree
from .._protocol import AbstractRunContext
from ._common import (
    Observations,
    Sizes,
    Training,
    bound_path,
    data_encoding,
    direct_engine,
    iterative_engine,
    train,
    with_direct,
)

RULES: dict[str, Callable[..., optax.GradientTransformation]] = {
    "plain": optax.sgd,
    "momentum 0.9": partial(optax.sgd, momentum=0.9),
    "Adam": optax.adam,
}
"""What predictive coding makes a step of: the rate times the errors' balance, or that with a memory."""


@final
@dataclass(frozen=True)
class FixedModel(Training):
    """Training of an engine beside a model that stays as it is."""

    def optimizer(self) -> optax.GradientTransformation:
        """Adam for the engine, nothing for the model."""
        return optax.multi_transform({"engine": super().optimizer(), "model": optax.set_to_zero()}, _labels)


def _labels(learned: ModelWithEngine) -> ModelWithEngine:
    return ModelWithEngine(
        jax.tree.map(lambda _: "model", learned.model),  # pyright: ignore[reportArgumentType]
        jax.tree.map(lambda _: "engine", learned.engine),  # pyright: ignore[reportArgumentType]
    )


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
    context: AbstractRunContext,
    seed: int,
    data: Observations,
    sizes: Sizes,
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
    model = train(
        context, f"model-{seed}", data, partial(with_direct, data, sizes), trainings[0], key=key
    ).learned.model  # fmt: skip
    fixed = FixedModel(**vars(trainings[1]))
    gradients: tuple[AbstractEncoding, ...] = (Estimate(), LogGradient())

    def on_model(name: str, build: Callable[..., AbstractEngine], family, steps: int) -> AbstractEngine:
        def learned(*, key: Key) -> ModelWithEngine:
            return ModelWithEngine(model, build(data, sizes, key=key, family=family))

        return train(
            context, f"{name}-{seed}", data, learned, fixed, key=key, num_iterations=steps, family=family
        ).learned.engine

    by_gradient = lambda data, sizes, **rest: iterative_engine(data, sizes, gradients, **rest)  # noqa: E731
    by_both = lambda data, sizes, **rest: iterative_engine(data, sizes, (*gradients, data_encoding(data)), **rest)  # noqa: E731
    return Candidates(
        model,
        on_model("encoder", direct_engine, Delta(dim), 1),  # pyright: ignore[reportArgumentType]
        on_model("gradient", by_gradient, Delta(dim), num_iterations),
        on_model("data", by_both, Delta(dim), num_iterations),
        on_model("gaussian", by_gradient, DiagonalGaussian(dim), num_iterations),
    )


# ---------------------------------------------------------------------------------------------------------- measurement


class Measured(NamedTuple):
    """One repetition, in nats; moments are 0, 1, ..., iterations, bounds are at some of them. Validation energies are means, others
    one for each test row.

    Attributes:
        validation: of predictive coding from the common start, for each rule and rate.
        validation_forward: the same after a feedforward pass, which counts as the first iteration.
        choice: rule and rate (as one number) with the least validation energy at each moment.
        choice_forward: the same after a feedforward pass.
        coding: energy -log p(x, z) of predictive coding, with the choice of each moment.
        forward: the same after a feedforward pass.
        gradient: of iterative inference that reads gradients.
        data: of iterative inference that reads the observation too.
        optimum: of a long optimisation by Adam.
        bound_coding: free energy of a Gaussian about the points of `coding`, with scales from the curvature there.
        bound_gaussian: free energy that iterative inference of Gaussians ends with.
    """

    validation: Float[np.ndarray, "rules rates moments"]
    validation_forward: Float[np.ndarray, "rules rates moments"]
    choice: Int[np.ndarray, " moments"]
    choice_forward: Int[np.ndarray, " moments"]
    coding: Float[np.ndarray, "rows moments"]
    forward: Float[np.ndarray, "rows moments"]
    gradient: Float[np.ndarray, "rows moments"]
    data: Float[np.ndarray, "rows moments"]
    optimum: Float[np.ndarray, " rows"]
    bound_coding: Float[np.ndarray, "rows bounds"]
    bound_gaussian: Float[np.ndarray, "rows bounds"]


def measure(
    candidates: Candidates,
    validation: Float[Array, "n size"],
    test: Float[Array, "m size"],
    rates: Sequence[float],
    iterations: Sequence[int],
    *,
    optimum_steps: int,
    key: Key,
) -> Measured:
    """Choose rates on validation rows and measure everything on test rows."""
    model, dim = candidates.model, candidates.model.initial().event_shape[0]
    steps, moments = max(iterations), np.asarray(iterations)
    zero = lambda rows: jnp.zeros((len(rows), dim), rows.dtype)  # noqa: E731
    first = lambda rows: _encode(candidates.encoder, rows)  # noqa: E731
    starts = ((zero, steps), (first, steps - 1))
    # As an array, so that one program serves every rate.
    settings = [(rule, jnp.asarray(rate, test.dtype)) for rule in RULES.values() for rate in rates]

    def tried(start: Callable, num_steps: int) -> Float[np.ndarray, "settings moments"]:
        begin = start(validation)
        means = [
            np.mean(_coding_path(model, validation, begin, rate, rule, num_steps)[0], axis=0) for rule, rate in settings
        ]
        # What has diverged is not chosen.
        return np.nan_to_num(np.stack(means), nan=np.inf)

    tables, choices, energies, points = [], [], [], []
    for start, num_steps in starts:
        table = tried(start, num_steps)
        choice = np.argmin(table, axis=0)
        begin = start(test)
        paths = {
            c: _coding_path(model, test, begin, settings[c][1], settings[c][0], num_steps) for c in np.unique(choice)
        }
        tables.append(table)
        choices.append(choice)
        energies.append(np.stack([paths[c][0][:, m] for m, c in enumerate(choice)], axis=1))
        points.append(jnp.stack([paths[c][1][:, m] for m, c in enumerate(choice)], axis=1))

    family = Delta(dim)
    paths = [
        -np.asarray(bound_path(ModelWithEngine(model, engine), test, num_steps=steps, key=key, family=family,
                               expectation=MonteCarlo(1)))
        for engine in (candidates.gradient, candidates.data)
    ]  # fmt: skip
    # The common start is the feedforward variant's moment 0, its encoder the first iteration.
    before = energies[0][:, :1]
    tables[1] = np.concatenate([tables[0][:, :1], tables[1]], axis=1)
    choices[1] = np.concatenate([choices[0][:1], choices[1]])
    gaussian = ModelWithEngine(model, candidates.gaussian)
    shape = (len(RULES), len(rates), steps + 1)
    return Measured(
        tables[0].reshape(shape),
        tables[1].reshape(shape),
        choices[0],
        choices[1],
        energies[0],
        np.concatenate([before, energies[1]], axis=1),
        *paths,
        np.asarray(_optimum(model, test, first(test), optimum_steps)),
        np.asarray(_laplace_bounds(model, test, points[0][:, moments], key)),
        -np.asarray(bound_path(gaussian, test, num_steps=steps, key=key, expectation=MonteCarlo(32)))[:, moments],
    )


def coding_path(
    model: AbstractModel,
    rows: Float[Array, "rows size"],
    starts: Float[Array, "rows d"],
    rate: Array | optax.Schedule,
    rule: Callable[..., optax.GradientTransformation],
    num_steps: int,
) -> tuple[Float[Array, "rows moments"], Float[Array, "rows moments d"]]:
    """Energies and points of predictive coding before the first step and after each."""
    objective, family = FreeEnergy(model), Delta(starts.shape[1])
    engine = PredictiveCoding(rule(rate))

    def one(row: Array, start: Array) -> tuple[Array, Array]:
        found = infer(
            objective, engine, family, Evidence(row), key=jr.key(0), params=DeltaParams(start), num_steps=num_steps,
            record=True, throw=False,
        )  # fmt: skip
        energies = jnp.concatenate([found.path_nats, found.energy_nats[None]])
        points = jax.tree.map(lambda path, end: jnp.concatenate([path, end[None]]), found.path, found.params)
        return energies, points.loc

    return jax.vmap(one)(rows, starts)


_coding_path = eqx.filter_jit(coding_path)


@eqx.filter_jit
def _encode(encoder: Direct, rows: Float[Array, "rows size"]) -> Float[Array, "rows d"]:
    return jax.vmap(lambda row: encoder.encoder(Evidence(row)))(rows)


@eqx.filter_jit
def _optimum(model: AbstractModel, rows: Array, starts: Array, num_steps: int) -> Float[Array, " rows"]:
    """The least energy that a long optimisation meets, from the encoder's point and from zero."""
    rate = optax.cosine_decay_schedule(0.1, num_steps, alpha=1e-3)

    def end(start: Array) -> Array:
        return coding_path(model, rows, start, rate, optax.adam, num_steps)[0].min(axis=1)

    return jnp.minimum(end(starts), end(jnp.zeros_like(starts)))


@eqx.filter_jit
def _laplace_bounds(
    model: AbstractModel, rows: Array, points: Float[Array, "rows moments d"], key: Key
) -> Float[Array, "rows moments"]:
    """Free energies of N(z, diag(1 / H_ii)), H the curvature of the energy at z: the factorised Gaussian that fits it best."""
    objective = FreeEnergy(model, MonteCarlo(32))
    family = DiagonalGaussian(points.shape[-1])

    def one(operand: tuple[Array, Array, Key]) -> Array:
        row, path, row_key = operand
        evidence = Evidence(row)

        def bound(point: Array) -> Array:
            curvature = jnp.diagonal(objective.curvature(point, evidence, key=row_key))
            params = family.init()._replace(loc=point, log_scale=-0.5 * jnp.log(curvature))
            return objective(family(params), evidence, key=row_key)

        return jax.lax.map(bound, path)

    return jax.lax.map(one, (rows, points, jr.split(key, len(rows))), batch_size=min(64, len(rows)))


# --------------------------------------------------------------------------------------------------------------- costs


class Costs(NamedTuple):
    """What inference costs.

    Attributes:
        coding: multiply-adds in weight matrices of one step of predictive coding on one observation: one pass of predictions
            down, one of errors up.
        gradient: of one iteration of iterative inference that reads gradients: the same two passes and the update network.
        data: the same where it reads the observation.
        encoder: of the feedforward pass.
        seconds: least wall-clock time of predictive coding, of it after a feedforward pass, and of iterative inference with gradients and
            with data, for the rows at once, [4, iterations].
    """

    coding: float
    gradient: float
    data: float
    encoder: float
    seconds: Float[np.ndarray, "4 iterations"]


def costs(candidates: Candidates, rows: Float[Array, "n size"], iterations: Sequence[int]) -> Costs:
    """Count and time."""
    model, dim = candidates.model, candidates.model.initial().event_shape[0]
    decoder = _matrix_entries(model)

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
    tasks = {
        "coding": lambda k: run(coding, rows, starts, k),
        "forward": lambda k: run(coding, rows, _encode(candidates.encoder, rows), k - 1),
        "gradient": lambda k: run(candidates.gradient, rows, starts, k),
        "data": lambda k: run(candidates.data, rows, starts, k),
    }
    seconds = [[_least_seconds(partial(task, k)) for k in iterations] for task in tasks.values()]
    return Costs(
        2.0 * decoder,
        2.0 * decoder + _matrix_entries(candidates.gradient),
        2.0 * decoder + _matrix_entries(candidates.data),
        float(_matrix_entries(candidates.encoder)),
        np.asarray(seconds),
    )


def _least_seconds(function: Callable[[], PyTree], *, repeats: int = 15) -> float:
    """Least wall-clock seconds of a compiled function: what else the machine does can only add to it."""
    jax.block_until_ready(function())
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        jax.block_until_ready(function())
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def _matrix_entries(tree: PyTree) -> int:
    """Multiply-adds of one pass through dense layers."""
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array)) if leaf.ndim == 2)
