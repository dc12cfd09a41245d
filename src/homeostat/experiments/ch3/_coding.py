"""Predictive coding beside iterative inference: one trained model and several ways to infer on it."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from ...core import AbstractEngine, AbstractFamily, AbstractModel
from ...distributions import Delta, DeltaParams, DiagonalGaussian, MonteCarlo
from ...inference import infer
from ...inference.engines import Direct, Estimate, LogGradient, PredictiveCoding
from ...metrics import bound_path
from ...objectives import Evidence, FreeEnergy
from ...runs import RunContext
from ...typing import Any, Array, Float, Key
from ..kit import Training, train
from ._methods import InferenceMethod
from ._networks import Networks, data_encoding

ITERATIONS = (1, 2, 4, 8)
"""Where costs are timed and tables are filled."""

RULES: dict[str, Callable[..., optax.GradientTransformation]] = {
    "plain": optax.sgd,
    "momentum 0.9": partial(optax.sgd, momentum=0.9),
    "Adam": optax.adam,
}
"""What predictive coding makes a step of: the rate times the errors' balance, or that with a memory."""


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
    context: RunContext, seed: int, networks: Networks, trainings: tuple[Training, Training], num_iterations: int, *, key: Key
) -> Candidates:  # fmt: skip
    """Train a model, fix it, and train every engine on it; `trainings` of the model and of the engines."""
    data, key = networks.data, jr.fold_in(key, seed)

    def learn(
        name: str, engine: Any, family: AbstractFamily | None, num_steps: int, model: AbstractModel | None
    ) -> Any:
        method = InferenceMethod(name, networks, engine, num_steps, q=family, model=model)
        trained_by = method.method(trainings[0 if model is None else 1])
        return train(context, f"{name}-{seed}", trained_by, data.train, key=key).learned

    model, dim = learn("model", networks.direct, None, 1, None).model, networks.dim
    by_gradient = partial(networks.iterative, (Estimate(), LogGradient()))
    by_both = partial(networks.iterative, (Estimate(), LogGradient(), data_encoding(data)))
    return Candidates(
        model,
        learn("encoder", networks.direct, Delta(dim), 1, model).engine,
        learn("gradient", by_gradient, Delta(dim), num_iterations, model).engine,
        learn("data", by_both, Delta(dim), num_iterations, model).engine,
        learn("gaussian", by_gradient, DiagonalGaussian(dim), num_iterations, model).engine,
    )


class CodingMeasures(NamedTuple):
    """One repetition, in nats; moments are 0, 1, ..., iterations, bounds are at some of them.

    Attributes:
        validation: mean energy of predictive coding on validation rows from the common start, for each rule and rate.
        coding: energy -log p(x, z) of test rows by predictive coding, with rule and rate chosen at each moment on validation.
        forward: the same after a feedforward pass, which counts as the first iteration.
        gradient: of iterative inference that reads gradients.
        data: of iterative inference that reads the observation too.
        optimum: of a long optimisation by Adam.
        bound_coding: free energy of a Gaussian about the points of `coding`, with scales from the curvature there.
        bound_gaussian: free energy that iterative inference of Gaussians ends with.
    """

    validation: Float[np.ndarray, "rules rates moments"]
    coding: Float[np.ndarray, "rows moments"]
    forward: Float[np.ndarray, "rows moments"]
    gradient: Float[np.ndarray, "rows moments"]
    data: Float[np.ndarray, "rows moments"]
    optimum: Float[np.ndarray, " rows"]
    bound_coding: Float[np.ndarray, "rows bounds"]
    bound_gaussian: Float[np.ndarray, "rows bounds"]


def measure(
    candidates: Candidates, validation: Float[Array, "n size"], test: Float[Array, "m size"], rates: Sequence[float], *,
    optimum_steps: int, key: Key,
) -> CodingMeasures:  # fmt: skip
    """Choose rates on validation rows and measure everything on test rows."""
    model, dim = candidates.model, candidates.model.initial().event_shape[0]
    steps, moments = max(ITERATIONS), np.asarray(ITERATIONS)
    # As an array, so that one program serves every rate.
    settings = [(rule, jnp.asarray(rate, test.dtype)) for rule in RULES.values() for rate in rates]

    def chosen(start: Callable[[Array], Array], num_steps: int) -> tuple[np.ndarray, np.ndarray, Array]:
        """Validation energies of all settings, and test energies and points with the best setting of each moment."""
        path = lambda rows, rule, rate: coding_path(model, rows, start(rows), rate, rule, num_steps)  # noqa: E731
        means = np.stack([np.mean(path(validation, *setting)[0], axis=0) for setting in settings])
        table = np.nan_to_num(means, nan=np.inf)  # what has diverged is not chosen
        choice = np.argmin(table, axis=0)
        paths = {c: path(test, *settings[c]) for c in np.unique(choice)}
        energies, points = (jnp.stack([paths[c][of][:, m] for m, c in enumerate(choice)], axis=1) for of in (0, 1))
        return table, np.asarray(energies), points

    first = partial(encoded, candidates.encoder)
    table, coding, points = chosen(lambda rows: jnp.zeros((len(rows), dim), rows.dtype), steps)
    _, forward, _ = chosen(first, steps - 1)
    reported = partial(bound_path, model, rows=test, num_steps=steps, key=key)
    points_of = partial(reported, family=Delta(dim), expectation=MonteCarlo(1))
    gaussian = reported(engine=candidates.gaussian, family=DiagonalGaussian(dim), expectation=MonteCarlo(32))
    return CodingMeasures(
        table.reshape(len(RULES), len(rates), steps + 1),
        coding,
        # The common start is the feedforward variant's moment 0, its encoder the first iteration.
        np.concatenate([coding[:, :1], forward], axis=1),
        -np.asarray(points_of(engine=candidates.gradient)),
        -np.asarray(points_of(engine=candidates.data)),
        np.asarray(_optimum(model, test, first(test), optimum_steps)),
        np.asarray(_laplace_bounds(model, test, points[:, moments], key)),
        -np.asarray(gaussian)[:, moments],
    )


@eqx.filter_jit
def follow(
    model: AbstractModel, engine: AbstractEngine, rows: Float[Array, "rows size"], starts: Float[Array, "rows d"], num_steps: int
) -> tuple[Float[Array, "rows moments"], Float[Array, "rows moments d"]]:  # fmt: skip
    """Energies and points before the first step of an engine and after each."""
    objective, family = FreeEnergy(model), Delta(starts.shape[1])

    def one(row: Array, start: Array) -> tuple[Array, Array]:
        found = infer(
            objective, engine, family, Evidence(row), key=jr.key(0), params=DeltaParams(start), num_steps=num_steps,
            record=True, throw=False,
        )  # fmt: skip
        energies = jnp.concatenate([found.path_nats, found.energy_nats[None]])
        points = jax.tree.map(lambda path, end: jnp.concatenate([path, end[None]]), found.path, found.params)
        return energies, points.loc

    return jax.vmap(one)(rows, starts)


@eqx.filter_jit
def coding_path(
    model: AbstractModel, rows: Array, starts: Float[Array, "rows d"], rate: Array | optax.Schedule,
    rule: Callable[..., optax.GradientTransformation], num_steps: int,
) -> tuple[Float[Array, "rows moments"], Float[Array, "rows moments d"]]:  # fmt: skip
    """`follow` predictive coding; one program serves every rate."""
    return follow(model, PredictiveCoding(rule(rate)), rows, starts, num_steps)


@eqx.filter_jit
def _optimum(model: AbstractModel, rows: Array, starts: Array, num_steps: int) -> Float[Array, " rows"]:
    """The least energy that a long optimisation meets, from the encoder's point and from zero."""
    rate = optax.cosine_decay_schedule(0.1, num_steps, alpha=1e-3)
    least = lambda start: coding_path(model, rows, start, rate, optax.adam, num_steps)[0].min(axis=1)  # noqa: E731
    return jnp.minimum(least(starts), least(jnp.zeros_like(starts)))


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


@eqx.filter_jit
def encoded(encoder: Direct, rows: Float[Array, "rows size"]) -> Float[Array, "rows d"]:
    """Points of the feedforward pass."""
    return jax.vmap(lambda row: encoder.encoder(Evidence(row)))(rows)
