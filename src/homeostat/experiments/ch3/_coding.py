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
from ...inference.engines import PredictiveCoding
from ...metrics import bound_path, estimates
from ...objectives import Evidence, FreeEnergy
from ...typing import Array, Float, Key
from ._coding_training import Candidates, encode_rows
from ._surface import log_joint

RULES: dict[str, Callable[..., optax.GradientTransformation]] = {
    "plain": optax.sgd,
    "momentum 0.9": partial(optax.sgd, momentum=0.9),
    "Adam": optax.adam,
}
"""What predictive coding makes a step of: the rate times the errors' balance, or that with a memory."""


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
    candidates: Candidates, validation: Float[Array, "n size"], test: Float[Array, "m size"], rates: Sequence[float],
    iterations: Sequence[int], *, optimum_steps: int, key: Key,
) -> CodingMeasures:  # fmt: skip
    """Choose rates on validation rows and measure everything on test rows."""
    model, dim = candidates.model, candidates.model.initial().event_shape[0]
    steps, moments = max(iterations), np.asarray(iterations)
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

    first = partial(encode_rows, candidates.encoder)
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
def coding_path(
    model: AbstractModel, rows: Float[Array, "rows size"], starts: Float[Array, "rows d"], rate: Array | optax.Schedule,
    rule: Callable[..., optax.GradientTransformation], num_steps: int,
) -> tuple[Float[Array, "rows moments"], Float[Array, "rows moments d"]]:  # fmt: skip
    """Energies and points of predictive coding before the first step and after each."""
    run = partial(estimates, model, PredictiveCoding(rule(rate)), Delta(starts.shape[1]), num_steps=num_steps)

    def one(row: Array, start: Array) -> tuple[Array, Array]:
        points = run(Evidence(row), key=jr.key(0), start=DeltaParams(start)).loc
        return -jax.vmap(lambda z: log_joint(model, z, row))(points), points

    return jax.vmap(one)(rows, starts)


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
