"""The best point estimate of two latents: a fine grid, then Newton's method from its best places."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ...core import AbstractModel
from ...objectives import Evidence, FreeEnergy
from ...typing import Array, Float, Scalar

NUM_STARTS = 4
"""Best local maxima of the grid from which Newton's method starts."""

STEP_LENGTHS = np.asarray([1.0, 0.5, 0.25, 0.1, 0.02, 0.002, 0.0])
"""Shares of a Newton step that are tried; the best is taken, and the last leaves the point where it is."""


class Grid(NamedTuple):
    """A square grid around the origin.

    Attributes:
        extent: half side, in latent units.
        cells: points along a side.
    """

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


@eqx.filter_jit
def _rows_on_points(model: AbstractModel, rows: Array, points: Array) -> Float[Array, "n points"]:
    def at(point: Float[Array, "2"]) -> Float[Array, " n"]:
        # The decoder runs once for a point, whatever the number of observations.
        emission, prior = model.emission(point), model.initial().log_prob(point)
        return jax.vmap(emission.log_prob)(rows) + prior

    return jax.lax.map(at, points, batch_size=256).T


def bound_on_grid(model: AbstractModel, rows: Float[Array, "n size"], grid: Grid) -> Float[Array, "n cells_squared"]:
    """log p(x, z) of every row at every point of the grid, in nats."""
    return _rows_on_points(model, rows, jnp.asarray(grid.points, rows.dtype))


def best_points(
    model: AbstractModel,
    rows: Float[Array, "n size"],
    starts: Float[Array, "n k 2"],
    grid: Grid,
    *,
    num_steps: int,
) -> tuple[Float[Array, "n 2"], Float[Array, " n"]]:
    """Maxima of log p(x, z) over z, and their heights in nats.

    Newton's method (with the magnitudes of the curvatures, and a search along the step) runs from the best local maxima of the
    grid and from `starts`; the highest end counts, so it is at least as high as anything it is compared with.

    Args:
        model: with two latents.
        rows: observations.
        starts: further places to start from, such as the ends of other methods.
        grid: where maxima are looked for.
        num_steps: Newton steps from each start.
    """
    surface = bound_on_grid(model, rows, grid).reshape(-1, grid.cells, grid.cells)
    padded = jnp.pad(surface, ((0, 0), (1, 1), (1, 1)), constant_values=-jnp.inf)
    cells = grid.cells
    around = jnp.stack(
        [padded[:, 1 + a : 1 + a + cells, 1 + b : 1 + b + cells] for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b]
    )
    peaks = jnp.where(surface >= jnp.max(around, axis=0), surface, -jnp.inf).reshape(len(rows), -1)
    _, index = jax.lax.top_k(peaks, NUM_STARTS)
    starts = jnp.concatenate([jnp.asarray(grid.points, rows.dtype)[index], starts], axis=1)
    return climb(model, rows, starts, num_steps=num_steps)


def climb(
    model: AbstractModel, rows: Float[Array, "n size"], starts: Float[Array, "n k 2"], *, num_steps: int
) -> tuple[Float[Array, "n 2"], Float[Array, " n"]]:
    """The best maximum that Newton's method climbs to from `starts` alone, and its height in nats."""
    return _polish(model, rows, starts, num_steps)


@eqx.filter_jit
def _polish(model: AbstractModel, rows: Array, starts: Array, num_steps: int) -> tuple[Array, Array]:
    objective = FreeEnergy(model)

    def best(pair: tuple[Array, Array]) -> tuple[Array, Scalar]:
        observation, places = pair
        evidence = Evidence(observation)

        def energy(z: Float[Array, "2"]) -> Scalar:
            return objective.pointwise(z, evidence, key=jr.key(0))

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
