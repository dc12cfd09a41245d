"""Point estimates on a surface of two latents: the optimum, an engine's path and gradient ascent; and gaps of Gaussians.

The optimum comes from a fine grid, then Newton's method from its best places.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from ...core import AbstractModel
from ...distributions import Delta, MonteCarlo
from ...inference import ModelWithEngine
from ...inference.engines import Gradient
from ...metrics import ReferenceOptimum, estimates, inference_gaps
from ...objectives import Evidence, FreeEnergy
from ...typing import Array, Float, Key, Scalar
from ._methods import InferenceMethod

NUM_STARTS = 4
"""Best local maxima of the grid from which Newton's method starts."""

STEP_LENGTHS = np.asarray([1.0, 0.5, 0.25, 0.1, 0.02, 0.002, 0.0])
"""Shares of a Newton step that are tried; the best is taken, and the last leaves the point where it is."""


class Grid(NamedTuple):
    """A square grid around the origin: half its side in latent units, and points along a side."""

    extent: float
    cells: int

    @property
    def side(self) -> Float[np.ndarray, " cells"]:
        """Coordinates along a side."""
        return np.linspace(-self.extent, self.extent, self.cells)

    @property
    def points(self) -> Float[np.ndarray, "cells_squared 2"]:
        """All points, the first coordinate fastest."""
        vertical, horizontal = np.meshgrid(self.side, self.side, indexing="ij")
        return np.stack([horizontal.ravel(), vertical.ravel()], axis=-1)


def log_joint(model: AbstractModel, z: Float[Array, "2"], observation: Float[Array, " size"]) -> Scalar:
    """log p(x, z), the bound of a point estimate."""
    return model.emission(z).log_prob(observation) + model.initial().log_prob(z)


@eqx.filter_jit
def bound_on_grid(model: AbstractModel, rows: Float[Array, "n size"], grid: Grid) -> Float[Array, "n cells_squared"]:
    """log p(x, z) of every row at every point of the grid, in nats."""

    def at(point: Float[Array, "2"]) -> Float[Array, " n"]:
        # The decoder runs once for a point, whatever the number of observations.
        emission, prior = model.emission(point), model.initial().log_prob(point)
        return jax.vmap(emission.log_prob)(rows) + prior

    return jax.lax.map(at, jnp.asarray(grid.points, rows.dtype), batch_size=256).T


def best_points(
    model: AbstractModel, rows: Float[Array, "n size"], starts: Float[Array, "n k 2"], grid: Grid, *, num_steps: int
) -> tuple[Float[Array, "n 2"], Float[Array, " n"]]:
    """Maxima of log p(x, z) over two latents, and their heights in nats.

    Newton's method (with the magnitudes of the curvatures, and a search along the step) runs from the best local maxima of the
    grid and from `starts`, such as the ends of other methods; the highest end counts, so it is at least as high as those.
    """
    surface = bound_on_grid(model, rows, grid).reshape(-1, grid.cells, grid.cells)
    # A window around each point includes the point, which is as high as itself.
    highest = jax.lax.reduce_window(surface, -jnp.inf, jax.lax.max, (1, 3, 3), (1, 1, 1), "SAME")
    peaks = jnp.where(surface >= highest, surface, -jnp.inf).reshape(len(rows), -1)
    _, index = jax.lax.top_k(peaks, NUM_STARTS)
    starts = jnp.concatenate([jnp.asarray(grid.points, rows.dtype)[index], starts], axis=1)
    return climb(model, rows, starts, num_steps=num_steps)


@eqx.filter_jit
def climb(
    model: AbstractModel, rows: Float[Array, "n size"], starts: Float[Array, "n k 2"], *, num_steps: int
) -> tuple[Float[Array, "n 2"], Float[Array, " n"]]:
    """The best maximum that Newton's method climbs to from `starts` alone, and its height in nats."""

    def best(pair: tuple[Array, Array]) -> tuple[Array, Scalar]:
        observation, places = pair
        energy = lambda z: -log_joint(model, z, observation)  # noqa: E731

        def newton(z: Array, _: None) -> tuple[Array, None]:
            gradient, curvature = jax.grad(energy)(z), jax.hessian(energy)(z)
            values, vectors = jnp.linalg.eigh(curvature)
            values = jnp.maximum(jnp.abs(values), 1e-3)
            step = vectors @ ((vectors.T @ gradient) / values)
            tried = z[None, :] - jnp.asarray(STEP_LENGTHS, z.dtype)[:, None] * step[None, :]
            return tried[jnp.argmin(jax.vmap(energy)(tried))], None

        ends = jax.vmap(lambda z: jax.lax.scan(newton, z, None, length=num_steps)[0])(places)
        energies = jax.vmap(energy)(ends)
        chosen = jnp.argmin(energies)
        return ends[chosen], -energies[chosen]

    return jax.lax.map(best, (rows, starts), batch_size=16)


class Ascent(NamedTuple):
    """Gradient ascent on the bound: step sizes that are tried, in latent units squared per nat, and steps."""

    rates: Sequence[float]
    num_steps: int


class PointBounds(NamedTuple):
    """Bounds of point estimates on one model, in nats, a row for each example.

    Attributes:
        optimum: where the optimum lies.
        optimum_nats: the bound there.
        local_nats: the bound at the maximum to which Newton's method climbs from the estimate after the iterations of training.
        path: estimates of the engine before each step and at the end.
        path_nats: the bound along the path.
        ascent: estimates of gradient ascent, for each step size.
        ascent_nats: the bound along them.
    """

    optimum: Float[Array, "n 2"]
    optimum_nats: Float[Array, " n"]
    local_nats: Float[Array, " n"]
    path: Float[Array, "n moments 2"]
    path_nats: Float[Array, "n moments"]
    ascent: Float[Array, "n rates times 2"]
    ascent_nats: Float[Array, "n rates times"]


def point_measures(
    learned: ModelWithEngine, rows: Float[Array, "n size"], *, num_steps: int, num_trained: int, ascent: Ascent, grid: Grid,
    newton_steps: int, key: Key,
) -> PointBounds:  # fmt: skip
    """The optimum, the engine's path and gradient ascent, for every row on one model.

    After `num_trained` of its `num_steps` steps, as many as in training, the maximum nearest to the engine is looked for.
    """
    model = learned.model

    @eqx.filter_jit
    def paths(learned: ModelWithEngine, rows: Array, keys: Array):
        def one(observation, key):
            run = partial(estimates, learned.model, family=Delta(2), evidence=Evidence(observation), key=key)
            path = run(engine=learned.engine, num_steps=num_steps).loc
            climbed = jax.vmap(lambda rate: run(engine=Gradient(optax.sgd(rate)), num_steps=ascent.num_steps).loc)(
                jnp.asarray(ascent.rates)
            )
            height = jax.vmap(lambda z: log_joint(learned.model, z, observation))
            return path, height(path), climbed, jax.vmap(height)(climbed)

        return jax.lax.map(lambda pair: one(*pair), (rows, keys), batch_size=32)

    path, path_nats, climbed, climbed_nats = paths(learned, rows, jr.split(key, len(rows)))
    starts = jnp.concatenate([path[:, -1:], climbed[:, :, -1]], axis=1)
    optimum = best_points(model, rows, starts, grid, num_steps=newton_steps)
    _, local_nats = climb(model, rows, path[:, num_trained : num_trained + 1], num_steps=newton_steps)
    return PointBounds(*optimum, local_nats, path, path_nats, climbed, climbed_nats)


def gaussian_gaps(
    rows: Float[Array, "n size"], method: InferenceMethod, learned: ModelWithEngine, *, key: Key
) -> Float[Array, " n"]:
    """Bound of the best Gaussian that long optimisation finds minus bound of the engine's, in nats."""
    return inference_gaps(
        learned.model, learned.engine, method.family, rows, key=key, num_steps=method.num_steps, num_samples=512,
        long_run=ReferenceOptimum(2, 300, 0.05, MonteCarlo(8), 10, MonteCarlo(128)),
        objective=FreeEnergy(learned.model, method.expectation), batch_size=8,
    ).amortization_nats  # fmt: skip
