"""How the encoder and the iterative engine are trained: on dreams, on pictures, and over iterations.

Each is a loss of a module; pictures and dreams are drawn inside the loss, so that none is seen twice.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from ...distributions import Antithetic, DiagonalGaussianParams
from ...environments import SYMMETRY_ORDER
from ...inference import loss_descent, nearest_offset, unroll
from ...inference.engines import Iterative
from ...models.static import SpatialTransformer, model_at
from ...nn import direction_of
from ...objectives import Evidence, FreeEnergy
from ...train import FitResult, FullBatch
from ...typing import Array, Int, Key, PyTree, Scalar
from ._amortized import FAMILY, SpriteEncoder, encoded
from ._engines import over_pictures
from ._perceive import SpritePerception
from ._sprites import NUM_SHAPES, Images, latents_at, render

START_LOG_SCALE = -3.0
"""Log standard deviation (in z) of every start that is not the encoder's: half a pixel."""


class Pictures(NamedTuple):
    """What training on pictures reads.

    Attributes:
        perception: its models explain the pictures; its feedforward stage gives starts.
        train: flat indices of the training configurations, one row for each shape.
        encoder: gives the other starts of iterative inference; None while it is trained itself.
    """

    perception: SpritePerception
    train: Int[Array, "shapes n"]
    encoder: SpriteEncoder | None = None

    def draw(self, batch: int, *, key: Key) -> Images:
        """Random pictures of every shape."""
        chosen = jr.randint(key, (NUM_SHAPES, batch), 0, self.train.shape[1])
        return jax.vmap(lambda index: render(latents_at(index)))(jnp.take_along_axis(self.train, chosen, axis=1))


def new_encoder(perception: SpritePerception, *, key: Key) -> SpriteEncoder:
    """An untrained encoder."""
    return SpriteEncoder(model_at(perception.models, 0).coordinates, key=key)


class Recipe(NamedTuple):
    """Of Adam: its highest rate, which falls to zero along a cosine, and the norm to which a gradient is clipped."""

    rate: float
    clip: float


SLEEP, WAKE, ITERATIVE = Recipe(2e-3, 1.0), Recipe(3e-4, 100.0), Recipe(2e-3, 100.0)


def teach(
    fit: Callable[..., FitResult],
    build: Callable[..., PyTree],
    loss: Callable[..., Scalar],
    data: PyTree,
    num_steps: int,
    recipe: Recipe,
    *,
    key: Key,
) -> PyTree:
    """What `build` gives after so many steps down a loss; `fit` is `train.fit`, or that of a run under a name."""
    start_key, loop_key = jr.split(key)
    schedule = optax.warmup_cosine_decay_schedule(0.0, recipe.rate, min(100, num_steps // 10 + 1), num_steps)
    optimizer = optax.chain(optax.clip_by_global_norm(recipe.clip), optax.adam(schedule))
    learner = loss_descent(loss, build(key=start_key), optimizer)
    return fit(learner, FullBatch(data), num_steps=num_steps, key=loop_key, every=50).state.learned


def sleep_loss(encoder: SpriteEncoder, models: SpatialTransformer, *, key: Key, batch: int = 32) -> Scalar:
    """E_{p(z, x | shape)}[-log q(z | x, shape)], the forward divergence, on dreams of the stacked models.

    Every dream knows its own z, so the loss has no local optima in rotation; among the names of the same picture, the one
    nearest to the estimate counts. Added to it is the squared error of the circular head's pair (cos n r, sin n r): while
    the estimated angle is still wide, the likelihood alone hardly moves it.
    """
    pose_key, noise_key = jr.split(key)
    z = jr.normal(pose_key, (NUM_SHAPES, batch, 4), models.template.dtype)
    images = over_pictures(lambda model, z: model.image(z))(models, z)
    sigma = jnp.exp(models.log_sigma)[:, None, None, None]
    # Half of the dreams without pixel noise, because the pictures to be perceived have none.
    noisy = (jnp.arange(batch) % 2).astype(images.dtype)[None, :, None, None]
    images = images + sigma * noisy * jr.normal(noise_key, images.shape, images.dtype)
    orders = jnp.asarray(SYMMETRY_ORDER)
    periods = eqx.filter_vmap(lambda model: model.coordinates.periods)(models) / orders.astype(z.dtype)[:, None]
    angles = over_pictures(lambda model, z: model.coordinates(z).angle)(models, z)
    outputs, centres = jax.vmap(jax.vmap(encoder.outputs))(images)
    own, items = jnp.arange(NUM_SHAPES)[:, None], jnp.arange(batch)[None, :]
    loc, log_scale = (leaf[own, items, own] for leaf in jax.vmap(jax.vmap(encoder.read))(outputs, centres))
    direction = jax.vmap(jax.vmap(direction_of, (0, None)))(angles, orders)
    circular = jnp.sum((outputs[own, items, own, 3:5] - direction) ** 2, axis=-1)
    error = nearest_offset(z - loc, periods[:, None, :]) * jnp.exp(-log_scale)
    # The square grows without bound in early errors; beyond three standard deviations the loss is linear.
    penalty = optax.losses.huber_loss(error, delta=3.0)
    return jnp.mean(jnp.sum(penalty + log_scale, axis=-1) + 5.0 * circular)


def wake_loss(encoder: SpriteEncoder, pictures: Pictures, *, key: Key, batch: int = 16) -> Scalar:
    """E_x[F(q(z | x, shape))], the reverse divergence, on pictures."""
    picture_key, energy_key = jr.split(key)
    images = pictures.draw(batch, key=picture_key)

    def one(model, params, image, key):
        return FreeEnergy(model, Antithetic(1))(FAMILY(params), Evidence(image), key=key)

    keys = jr.split(energy_key, (NUM_SHAPES, batch))
    return jnp.mean(over_pictures(one)(pictures.perception.models, encoded(encoder, images), images, keys))


def iterative_loss(num_iterations: int, batch: int = 8) -> Callable[..., Scalar]:
    """E_x[sum_k F(lambda_k)] / K: the free energy summed over K iterations.

    Half of each batch starts from the encoder, half from the feedforward estimate. Whether gradients pass from one iteration
    to the one before is the engine's choice (`Iterative.detach`).
    """

    def loss(engine: Iterative, pictures: Pictures, *, key: Key) -> Scalar:
        assert pictures.encoder is not None
        picture_key, energy_key = jr.split(key)
        images, half = pictures.draw(batch, key=picture_key), batch // 2
        by_encoder = encoded(pictures.encoder, images[:, :half])
        others = feedforward_starts(pictures.perception, images[:, half:])
        both = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=1), by_encoder, others)
        starts = jax.lax.stop_gradient(both)

        def one(model, image, start, key):
            unroll_key, last_key = jr.split(key)
            objective, evidence = FreeEnergy(model, Antithetic(1)), Evidence(image)
            found = unroll(objective, engine, FAMILY, evidence, key=unroll_key, params=start, num_steps=num_iterations)
            last = objective(FAMILY(found.iterate(-1)), evidence, key=last_key)
            return (jnp.sum(found.energies_nats[1:]) + last) / num_iterations

        keys = jr.split(energy_key, (NUM_SHAPES, batch))
        return jnp.mean(over_pictures(one)(pictures.perception.models, images, starts, keys))

    return loss


@eqx.filter_jit
def feedforward_starts(perception: SpritePerception, images: Images) -> DiagonalGaussianParams:
    """Starts from mass, centroid and a ring of angles, for each picture's own shape."""
    locs = jnp.stack([jax.vmap(lambda image, k=k: perception.start(image, k))(images[k]) for k in range(NUM_SHAPES)])
    return DiagonalGaussianParams(locs, jnp.full_like(locs, START_LOG_SCALE))
