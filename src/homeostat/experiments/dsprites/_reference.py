"""The best diagonal Gaussian that is known for each picture: long runs of Adam from many starts."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from ...distributions import Antithetic, Cubature, DiagonalGaussianParams
from ...environments import SYMMETRY_ORDER
from ...inference import infer
from ...inference.engines import Gradient
from ...models.static import SpatialTransformer
from ...objectives import Evidence, FreeEnergy
from ...typing import Array, Float, Key
from ._amortized import FAMILY
from ._engines import over_pictures
from ._perceive import SpritePerception
from ._sprites import NUM_SHAPES
from ._training import START_LOG_SCALE, feedforward_starts


@eqx.filter_jit
def random_starts(
    perception: SpritePerception, images: Float[Array, "shapes n size size"], num: int, *, key: Key
) -> DiagonalGaussianParams:
    """Half informed (feedforward scale and position, angles all around), half drawn from the prior; [shapes, n, num]."""
    informed = num // 2
    start = feedforward_starts(perception, images).loc
    periods = 2.0 * jnp.pi / perception.models.coordinates.gain[:, 1] / jnp.asarray(SYMMETRY_ORDER, start.dtype)
    turns = periods[:, None] * (jnp.arange(informed) / informed)[None, :]
    shift = jnp.zeros((NUM_SHAPES, 1, informed, 4), start.dtype).at[:, 0, :, 1].set(turns)
    drawn = jr.normal(key, (*start.shape[:2], num - informed, 4), start.dtype)
    locs = jnp.concatenate([start[:, :, None, :] + shift, drawn], axis=2)
    return DiagonalGaussianParams(locs, jnp.full_like(locs, START_LOG_SCALE))


@eqx.filter_jit
def best_of_adam(
    models: SpatialTransformer,
    images: Float[Array, "shapes n size size"],
    starts: DiagonalGaussianParams,
    keys: Key,
    *,
    num_steps: int,
    num_polish: int,
    rate: float = 0.1,
) -> DiagonalGaussianParams:
    """The parameters of least energy among long Adam runs from all starts.

    Every run from the starts, [shapes, n, runs], takes `num_steps` steps on two antithetic points with a rate that falls to
    zero; the two best ends take `num_polish` further steps on cubature points, from 0.3 of the rate on. Adam moves a coordinate
    by at most the sum of its rates, and the log standard deviations have 3 to go.
    """

    def one(model, image, starts, key):
        evidence, exact = Evidence(image), FreeEnergy(model, Cubature())

        def ends(starts, expectation, rate, steps, count):
            """The `count` best of the ends of Adam."""
            objective = FreeEnergy(model, expectation)
            engine = Gradient(optax.adam(optax.cosine_decay_schedule(rate, steps)))

            def run(start, key):
                return infer(objective, engine, FAMILY, evidence, key=key, params=start, num_steps=steps, throw=False)

            found = jax.vmap(lambda start, key: run(start, key).params)(starts, jr.split(key, starts.loc.shape[0]))
            energies = jax.vmap(lambda p: exact(FAMILY(p), evidence, key=key))(found)
            least = jax.lax.top_k(-jnp.where(jnp.isnan(energies), jnp.inf, energies), count)[1]
            return jax.tree.map(lambda leaf: leaf[least], found)

        best = ends(starts, Antithetic(1), rate, num_steps, 2)
        return jax.tree.map(lambda leaf: leaf[0], ends(best, Cubature(), 0.3 * rate, num_polish, 1))

    return over_pictures(one)(models, images, starts, keys)
