"""Amortized and iterative amortized inference of a sprite's pose given its shape, and how both are trained.

Throughout, q(z | x, shape) is a Gaussian with diagonal covariance; arrays over shapes come first, then batches, so that
each shape's template is looked up in one place.
"""

from collections.abc import Callable
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from ...distributions import Antithetic, DiagonalGaussian, DiagonalGaussianParams
from ...environments import SYMMETRY_ORDER, PixelExact, SpriteGrid
from ...inference import nearest_offset
from ...inference.engines import AbstractEncoding, AbstractUpdateRule, Estimate, Feedback, Iterative
from ...models.static import SpatialTransformer, SpriteCoordinates
from ...nn import ConvolutionalEncoder, HighwayMLP, angle_of, direction_of
from ...objectives import Evidence, FreeEnergy
from ...typing import Array, Float, Int, Key, PyTree, Scalar
from ._sprites import latents_at, mass_and_centre

NUM_SHAPES = len(SYMMETRY_ORDER)
FAMILY = DiagonalGaussian(4)
WINDOW = 32
"""Side of the encoder's window, pixels; the largest sprite is 27 pixels wide."""

_WIDEST, _NARROWEST = 0.0, -8.0
"""Bounds of the encoder's log standard deviations; the posterior's lie near -6."""


# ------------------------------------------------------------------------------------------------------------- encoder


@final
class SpriteEncoder(eqx.Module):
    """Image -> parameters of q(z | x, shape) for every shape, in one pass.

    It reads a window about the centre of what is bright, so that the network need not learn every shape and angle anew in
    every place; positions are told relative to that window. The angle comes from a circular head: the network puts out
    (cos n r, sin n r) for a shape of symmetry order n, a continuous function of the picture, and z's angle is read on the
    branch (-pi / n, pi / n].

    Attributes:
        network: window to nine numbers for each shape: z of scale; x and y in pixels from the window's centre; the pair
            of the angle; four log scales.
        coordinates: gamma of the sprite models.
    """

    network: ConvolutionalEncoder
    coordinates: SpriteCoordinates

    def __init__(self, coordinates: SpriteCoordinates, *, width: int = 256, key: Key):
        self.network = ConvolutionalEncoder(WINDOW, 9 * NUM_SHAPES, channels=(32, 64), width=width, depth=2, key=key)
        self.coordinates = coordinates

    def outputs(self, image: Float[Array, "size size"]) -> tuple[Float[Array, "shapes 9"], Float[Array, "2"]]:
        """What the network says about each shape, and the centre (x, y) of its window, pixels."""
        _, centre = mass_and_centre(jax.nn.relu(image - 0.4))
        first = jnp.clip(jnp.round(centre).astype(jnp.int32) - WINDOW // 2, 0, image.shape[0] - WINDOW)
        window = jax.lax.dynamic_slice(image, (first[1], first[0]), (WINDOW, WINDOW))
        return self.network(window).reshape(NUM_SHAPES, 9), (first + WINDOW // 2).astype(image.dtype)

    def read(self, outputs: Float[Array, "shapes 9"], centre: Float[Array, "2"]) -> DiagonalGaussianParams:
        """The parameters in the outputs."""
        orders = jnp.asarray(SYMMETRY_ORDER)
        # gamma is a constant here, not a thing to be trained with the network.
        offset, gain = jax.lax.stop_gradient((self.coordinates.offset, self.coordinates.gain))
        angle = (jax.vmap(angle_of)(outputs[:, 3:5], orders) - offset[1]) / gain[1]
        x, y = ((centre[i] + outputs[:, 1 + i] - offset[2 + i]) / gain[2 + i] for i in range(2))
        # A soft bound keeps the width finite and its gradient alive.
        middle, half = 0.5 * (_WIDEST + _NARROWEST), 0.5 * (_WIDEST - _NARROWEST)
        log_scale = middle + half * jnp.tanh(outputs[:, 5:] / half)
        return DiagonalGaussianParams(jnp.stack([outputs[:, 0], angle, x, y], axis=1), log_scale)

    def __call__(self, image: Float[Array, "size size"]) -> DiagonalGaussianParams:
        """Parameters with a leading axis of three, for square, ellipse and heart."""
        return self.read(*self.outputs(image))


@final
class GivenShape(eqx.Module):
    """The encoder for one shape, in the form that the engine `Direct` takes.

    Attributes:
        encoder: for all shapes.
        shape: the one to infer under.
    """

    encoder: SpriteEncoder
    shape: int | Int[Array, ""]

    def __call__(self, args: Evidence) -> DiagonalGaussianParams:
        return jax.tree.map(lambda leaf: leaf[self.shape], self.encoder(args.observation))


@eqx.filter_jit
def encoded(encoder: SpriteEncoder, images: Float[Array, "shapes n size size"]) -> DiagonalGaussianParams:
    """What the encoder says about each picture under its own shape, [shapes, n]."""

    def row(pictures, shape):
        return jax.vmap(lambda image: GivenShape(encoder, shape)(Evidence(image)))(pictures)

    return jax.vmap(row)(images, jnp.arange(NUM_SHAPES))


class TrainState(NamedTuple):
    """A network and its optimiser's state."""

    network: PyTree
    optimizer: optax.OptState


class TrainMetrics(NamedTuple):
    """What a training step measured.

    Attributes:
        loss_nats: mean over the batch of the objective.
    """

    loss_nats: Scalar


def begin_training(network: PyTree, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first step."""
    return TrainState(network, optimizer.init(eqx.filter(network, eqx.is_inexact_array)))


def optimizer_for(rate: float, num_steps: int, clip: float) -> optax.GradientTransformation:
    """Adam with a clipped gradient and a rate that falls to zero along a cosine."""
    return optax.chain(
        optax.clip_by_global_norm(clip),
        optax.adam(optax.warmup_cosine_decay_schedule(0.0, rate, min(100, num_steps // 10 + 1), num_steps)),
    )


def _improve(state: TrainState, optimizer, loss: Callable[[PyTree], Scalar]) -> tuple[TrainState, TrainMetrics]:
    value, gradient = eqx.filter_value_and_grad(loss)(state.network)
    # A single impossible image must not end the training: such a step is left out.
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(gradient)]))
    gradient = jax.tree.map(lambda leaf: jnp.where(finite, leaf, jnp.zeros_like(leaf)), gradient)
    updates, moments = optimizer.update(gradient, state.optimizer, eqx.filter(state.network, eqx.is_inexact_array))
    return TrainState(eqx.apply_updates(state.network, updates), moments), TrainMetrics(value)


def sleep_step(optimizer: optax.GradientTransformation, batch: int) -> Callable:
    """Learn from dreams: maximise E_{p(z, x | shape)}[log q(z | x, shape)], the forward divergence.

    Every dream knows its own z, so the loss has no local optima in rotation; among the names of the same picture, the one
    nearest to the estimate counts. Added to it is the squared error of the circular head's pair (cos n r, sin n r): while
    the estimated angle is still wide, the likelihood alone hardly moves it. `args` of the loop are the stacked models.
    """

    def body(state: TrainState, models: SpatialTransformer, *, key: Key) -> tuple[TrainState, TrainMetrics]:
        pose_key, noise_key = jr.split(key)
        z = jr.normal(pose_key, (NUM_SHAPES, batch, 4), models.template.dtype)
        images = eqx.filter_vmap(lambda model, zs: jax.vmap(model.image)(zs))(models, z)
        sigma = jnp.exp(models.log_sigma)[:, None, None, None]
        # Half of the dreams without pixel noise, because the pictures to be perceived have none.
        noisy = (jnp.arange(batch) % 2).astype(images.dtype)[None, :, None, None]
        images = images + sigma * noisy * jr.normal(noise_key, images.shape, images.dtype)
        periods, orders = z_periods(models), jnp.asarray(SYMMETRY_ORDER)
        angles = eqx.filter_vmap(lambda model, zs: jax.vmap(lambda one: model.coordinates(one).angle)(zs))(models, z)

        def loss(encoder: SpriteEncoder) -> Scalar:
            outputs, centres = jax.vmap(jax.vmap(encoder.outputs))(images)
            own, items = jnp.arange(NUM_SHAPES)[:, None], jnp.arange(batch)[None, :]
            loc, log_scale = (leaf[own, items, own] for leaf in jax.vmap(jax.vmap(encoder.read))(outputs, centres))
            direction = jax.vmap(jax.vmap(direction_of, (0, None)))(angles, orders)
            circular = jnp.sum((outputs[own, items, own, 3:5] - direction) ** 2, axis=-1)
            error = nearest_offset(z - loc, periods[:, None, :]) * jnp.exp(-log_scale)
            # The square grows without bound in early errors; beyond three standard deviations the loss is linear.
            penalty = optax.losses.huber_loss(error, delta=3.0)
            return jnp.mean(jnp.sum(penalty + log_scale, axis=-1) + 5.0 * circular)

        return _improve(state, optimizer, loss)

    return body


def z_periods(models: SpatialTransformer) -> Float[Array, "3 4"]:
    """Period of each coordinate of z under each shape's symmetry; infinity where there is none."""
    orders = jnp.asarray(SYMMETRY_ORDER, models.template.dtype)[:, None]
    return eqx.filter_vmap(lambda model: model.coordinates.periods)(models) / orders


class WakeArgs(NamedTuple):
    """What training on pictures reads.

    Attributes:
        models: stacked sprite models.
        train: flat indices of the training configurations, sorted by shape, [shapes, n].
        encoder: gives the starting point of iterative inference; None while it is trained itself.
    """

    models: SpatialTransformer
    train: Int[Array, "shapes n"]
    encoder: SpriteEncoder | None


def by_shape(index: Int[Array, " n"], grid: SpriteGrid = SpriteGrid()) -> Int[Array, "shapes m"]:
    """Flat indices in one row for each shape, cut to the length of the shortest."""
    shape = index // (int(jnp.prod(jnp.asarray(grid.num_classes[1:]))))
    rows = [index[shape == k] for k in range(NUM_SHAPES)]
    return jnp.stack([row[: min(len(r) for r in rows)] for row in rows])


def _draw_pictures(train: Int[Array, "shapes n"], batch: int, *, key: Key) -> Float[Array, "shapes batch size size"]:
    chosen = jr.randint(key, (NUM_SHAPES, batch), 0, train.shape[1])
    index = jnp.take_along_axis(train, chosen, axis=1)
    return jax.vmap(jax.vmap(lambda i: PixelExact().render(latents_at(i), SpriteGrid())))(index)


def wake_step(optimizer: optax.GradientTransformation, batch: int) -> Callable:
    """Learn from pictures: minimise the free energy E_x[F(q(z | x, shape))] of the sprite models, the reverse divergence."""

    def body(state: TrainState, args: WakeArgs, *, key: Key) -> tuple[TrainState, TrainMetrics]:
        picture_key, energy_key = jr.split(key)
        images = _draw_pictures(args.train, batch, key=picture_key)
        keys = jr.split(energy_key, (NUM_SHAPES, batch))

        def loss(encoder: SpriteEncoder) -> Scalar:
            def one(model, shape, image, key):
                params = GivenShape(encoder, shape)(Evidence(image))
                return FreeEnergy(model, Antithetic(1))(FAMILY(params), Evidence(image), key=key)

            energies = _over_shapes(one)(args.models, jnp.arange(NUM_SHAPES), images, keys)
            return jnp.mean(energies)

        return _improve(state, optimizer, loss)

    return body


def _over_shapes(function: Callable) -> Callable:
    """Map (model, shape, item, key) over shapes, and items and keys over the batch."""
    inner = eqx.filter_vmap(function, in_axes=(None, None, 0, 0))
    return eqx.filter_vmap(inner, in_axes=(eqx.if_array(0), 0, 0, 0))


# ----------------------------------------------------------------------------------------------------------- iterative


@final
class StandardisedGradient(AbstractEncoding):
    """asinh of the gradient in units of q: sigma grad_mu F, and grad_(log sigma) F as it is.

    The square root of q's own covariance makes gradients of all coordinates and of all images comparable (a posterior of a
    small sprite is wider); asinh keeps sign and order of magnitude.
    """

    def __call__(self, feedback: Feedback) -> Float[Array, " n"]:
        loc, log_scale = jnp.split(feedback.gradient, 2)
        scale = jnp.exp(jnp.split(feedback.estimate, 2)[1])
        return jnp.arcsinh(jnp.concatenate([scale * loc, log_scale]))


@final
class StandardisedStep(AbstractUpdateRule):
    """mu <- mu + sigma sinh(o_mu), log sigma <- log sigma + o_sigma: the update in the units of `StandardisedGradient`.

    Attributes:
        longest: bound of the outputs, by tanh; sinh(4) is 27 standard deviations in one step.
    """

    longest: float = 4.0

    def outputs(self, size: int) -> int:
        return size

    def __call__(self, feedback: Feedback, output: Float[Array, " m"]) -> Float[Array, " k"]:
        loc, log_scale = jnp.split(feedback.estimate, 2)
        step_loc, step_scale = jnp.split(self.longest * jnp.tanh(output / self.longest), 2)
        moved = loc + jnp.exp(log_scale) * jnp.sinh(step_loc)
        return jnp.concatenate([moved, jnp.clip(log_scale + step_scale, _NARROWEST - 2.0, _WIDEST)])


def iterative_engine(width: int = 128, *, key: Key) -> Iterative:
    """An untrained engine of iterative amortized inference; its updates start near zero."""
    network = HighwayMLP(16, 8, width, 2, key=key, output_gain=0.1)
    return Iterative(network, (Estimate(), StandardisedGradient()), StandardisedStep())


def iterative_step(
    optimizer: optax.GradientTransformation,
    batch: int,
    num_iterations: int,
    other_start: Callable[[Float[Array, "size size"], int], DiagonalGaussianParams],
) -> Callable:
    """Learn to infer: minimise the free energy summed over iterations, E_x[sum_k F(lambda_k)] / K.

    Half of each batch starts from the encoder, half from `other_start(image, shape)`. Whether gradients pass from
    one iteration to the one before is the engine's choice (`Iterative.detach`).
    """

    def body(state: TrainState, args: WakeArgs, *, key: Key) -> tuple[TrainState, TrainMetrics]:
        picture_key, energy_key = jr.split(key)
        images = _draw_pictures(args.train, batch, key=picture_key)
        keys = jr.split(energy_key, (NUM_SHAPES, batch))

        def begin(model, shape, image, key):
            return GivenShape(args.encoder, shape)(Evidence(image))

        half = batch // 2
        shapes = jnp.arange(NUM_SHAPES)
        encoded = _over_shapes(begin)(args.models, shapes, images[:, :half], keys[:, :half])
        elsewhere = jnp.stack(
            [
                jax.vmap(lambda image, k=k: jnp.concatenate(other_start(image, k)))(images[k, half:])
                for k in range(NUM_SHAPES)
            ]
        )
        starts = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), encoded, _split_flat(elsewhere))
        starts = jax.lax.stop_gradient(starts)

        def loss(engine: Iterative) -> Scalar:
            def one(model, shape, item, key):
                image, params = item
                objective, evidence = FreeEnergy(model, Antithetic(1)), Evidence(image)
                total = 0.0
                for step_key in jr.split(key, num_iterations):
                    step_key, energy_key = jr.split(step_key)
                    params, _, _ = engine.step(objective, FAMILY, params, evidence, None, key=step_key)
                    total = total + objective(FAMILY(params), evidence, key=energy_key)
                return total / num_iterations

            return jnp.mean(_over_shapes(one)(args.models, shapes, (images, starts), keys))

        return _improve(state, optimizer, loss)

    return body


def _split_flat(flat: Float[Array, "*n 8"]) -> DiagonalGaussianParams:
    return DiagonalGaussianParams(flat[..., :4], flat[..., 4:])
