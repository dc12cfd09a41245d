"""Point estimates on a surface of two latents: the optimum, an engine's path and gradient ascent; and gaps of Gaussians."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from ...core import AbstractModel
from ...distributions import Delta, DeltaParams, DiagonalGaussian, DiagonalGaussianParams, MonteCarlo
from ...inference import ModelWithEngine
from ...inference.engines import Gradient
from ...metrics import ReferenceOptimum, estimates
from ...objectives import Evidence, FreeEnergy
from ...typing import Array, Float, Key
from ._optimum import Grid, best_points, climb


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


def measure(
    learned: ModelWithEngine,
    rows: Float[Array, "n size"],
    *,
    num_steps: int,
    num_trained: int,
    ascent_rates: Sequence[float],
    ascent_steps: int,
    grid: Grid,
    newton_steps: int,
    key: Key,
) -> PointBounds:
    """The optimum, the engine's path and gradient ascent, for every row on one model.

    Args:
        learned: a model of two latents with its engine.
        rows: observations.
        num_steps: engine steps.
        num_trained: engine steps in training, after which the nearest maximum is looked for.
        ascent_rates: step sizes of gradient ascent.
        ascent_steps: its steps.
        grid: where maxima are looked for.
        newton_steps: from each start.
        key: random key.
    """

    @eqx.filter_jit
    def paths(learned: ModelWithEngine, rows: Array, keys: Array):
        def one(observation, key):
            evidence = Evidence(observation)
            run = partial(estimates, learned.model, family=Delta(2), evidence=evidence, key=key)
            path = run(engine=learned.engine, num_steps=num_steps).loc
            ascent = jax.vmap(lambda rate: run(engine=Gradient(optax.sgd(rate)), num_steps=ascent_steps).loc)(
                jnp.asarray(ascent_rates)
            )
            heights = jax.vmap(lambda z: point_bounds(learned.model, z, evidence))(ascent)
            return path, ascent, point_bounds(learned.model, path, evidence), heights

        return jax.lax.map(lambda pair: one(*pair), (rows, keys), batch_size=32)

    path, ascent, path_nats, ascent_nats = paths(learned, rows, jr.split(key, len(rows)))
    starts = jnp.concatenate([path[:, -1:], ascent[:, :, -1]], axis=1)
    optimum, optimum_nats = best_points(learned.model, rows, starts, grid, num_steps=newton_steps)
    _, local_nats = climb(learned.model, rows, path[:, num_trained : num_trained + 1], num_steps=newton_steps)
    return PointBounds(optimum, optimum_nats, local_nats, path, path_nats, ascent, ascent_nats)


def point_bounds(
    model: AbstractModel, points: Float[Array, "moments 2"], evidence: Evidence
) -> Float[Array, " moments"]:
    """log p(x, z) of points."""
    objective, family = FreeEnergy(model), Delta(2)
    return -jax.vmap(lambda z: objective(family(DeltaParams(z)), evidence, key=jr.key(0)))(points)


@eqx.filter_jit
def gaussian_gaps(
    learned: ModelWithEngine, rows: Float[Array, "n size"], *, num_steps: int, num_samples: int, key: Key
) -> Float[Array, " n"]:
    """Bound of the best Gaussian that long optimisation finds minus bound of the engine's, in nats.

    Args:
        learned: a model of two latents with its engine.
        rows: observations.
        num_steps: engine steps.
        num_samples: that the engine sees.
        key: random key.
    """
    family = DiagonalGaussian(2)
    search = ReferenceOptimum(2, 300, 0.05, MonteCarlo(8), 10, MonteCarlo(128))
    measured = FreeEnergy(learned.model, MonteCarlo(512))

    def gap(pair: tuple[Array, Key]) -> Array:
        evidence = Evidence(pair[0])
        infer_key, search_key, measure_key = jr.split(pair[1], 3)
        path = estimates(
            learned.model, learned.engine, family, evidence, num_steps=num_steps, key=infer_key,
            expectation=MonteCarlo(num_samples),
        )  # fmt: skip
        end = jax.tree.map(lambda leaf: leaf[-1], path)
        optimum = search(learned.model, family, evidence, first=end, key=search_key).flat
        best = measured(family(DiagonalGaussianParams(*jnp.split(optimum, 2))), evidence, key=measure_key)
        return measured(family(end), evidence, key=measure_key) - best

    return jax.lax.map(gap, (rows, jr.split(key, len(rows))), batch_size=8)
