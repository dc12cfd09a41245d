"""Networks of amortized and of iterative amortized inference of a sprite's pose given its shape.

Throughout, q(z | x, shape) is a Gaussian with diagonal covariance; arrays over shapes come first, then batches, so that
each shape's template is looked up in one place.
"""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp

from ...distributions import DiagonalGaussian, DiagonalGaussianParams
from ...environments import SYMMETRY_ORDER
from ...inference.engines import AbstractEncoding, AbstractUpdateRule, Estimate, Feedback, Iterative
from ...models.static import SpriteCoordinates
from ...nn import ConvolutionalEncoder, HighwayMLP, angle_of
from ...typing import Array, Float, Int, Key
from ._sprites import NUM_SHAPES, Images, mass_and_centre

FAMILY = DiagonalGaussian(4)
WINDOW = 32
"""Side of the encoder's window, pixels; the largest sprite is 27 pixels wide."""

_WIDEST, _NARROWEST = 0.0, -8.0
"""Bounds of the encoder's log standard deviations; the posterior's lie near -6."""


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

    def given(self, shape: int | Int[Array, ""], image: Float[Array, "size size"]) -> DiagonalGaussianParams:
        """Parameters under one shape."""
        return jax.tree.map(lambda leaf: leaf[shape], self(image))


@eqx.filter_jit
def encoded(encoder: SpriteEncoder, images: Images) -> DiagonalGaussianParams:
    """What the encoder says about each picture under its own shape, [shapes, n]."""

    def row(pictures, shape):
        return jax.vmap(lambda image: encoder.given(shape, image))(pictures)

    return jax.vmap(row)(images, jnp.arange(NUM_SHAPES))


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
