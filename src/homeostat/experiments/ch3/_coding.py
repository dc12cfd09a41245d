"""Predictive coding beside iterative inference: one trained model, several ways to infer on it, and what each costs."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from ...core import AbstractModel
from ...distributions import Delta, DeltaParams, DiagonalGaussian, MonteCarlo
from ...inference import infer
from ...inference.engines import Direct, PredictiveCoding
from ...metrics import bound_path
from ...objectives import Evidence, FreeEnergy
from ...typing import Array, Float, Int, Key
from ._coding_training import Candidates

RULES: dict[str, Callable[..., optax.GradientTransformation]] = {
    "plain": optax.sgd,
    "momentum 0.9": partial(optax.sgd, momentum=0.9),
    "Adam": optax.adam,
}
"""What predictive coding makes a step of: the rate times the errors' balance, or that with a memory."""


class CodingMeasures(NamedTuple):
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
) -> CodingMeasures:
    """Choose rates on validation rows and measure everything on test rows."""
    model, dim = candidates.model, candidates.model.initial().event_shape[0]
    steps, moments = max(iterations), np.asarray(iterations)
    zero = lambda rows: jnp.zeros((len(rows), dim), rows.dtype)  # noqa: E731
    first = lambda rows: encode_rows(candidates.encoder, rows)  # noqa: E731
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
        -np.asarray(bound_path(model, engine, family, test, num_steps=steps, key=key, expectation=MonteCarlo(1)))
        for engine in (candidates.gradient, candidates.data)
    ]
    # The common start is the feedforward variant's moment 0, its encoder the first iteration.
    before = energies[0][:, :1]
    tables[1] = np.concatenate([tables[0][:, :1], tables[1]], axis=1)
    choices[1] = np.concatenate([choices[0][:1], choices[1]])
    gaussian = partial(bound_path, model, candidates.gaussian, DiagonalGaussian(dim))
    shape = (len(RULES), len(rates), steps + 1)
    return CodingMeasures(
        tables[0].reshape(shape),
        tables[1].reshape(shape),
        choices[0],
        choices[1],
        energies[0],
        np.concatenate([before, energies[1]], axis=1),
        *paths,
        np.asarray(_optimum(model, test, first(test), optimum_steps)),
        np.asarray(_laplace_bounds(model, test, points[0][:, moments], key)),
        -np.asarray(gaussian(test, num_steps=steps, key=key, expectation=MonteCarlo(32)))[:, moments],
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
def encode_rows(encoder: Direct, rows: Float[Array, "rows size"]) -> Float[Array, "rows d"]:
    """Points of the feedforward pass."""
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
