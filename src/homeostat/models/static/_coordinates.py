"""Poses of a sprite, and gamma: the map from latent variables to poses."""

from typing import NamedTuple, final

import equinox as eqx
import jax.numpy as jnp

from ...results import BadInputError
from ...typing import Array, Float, Scalar


class Similarity(NamedTuple):
    """A similarity transform of the image plane.

    Attributes:
        scale: s, 1 for the template's own size.
        angle: r, radians, counter-clockwise as displayed; any real number.
        x: t_x, pixels from the left edge of the canvas.
        y: t_y, pixels from the top edge.
    """

    scale: Scalar
    angle: Scalar
    x: Scalar
    y: Scalar


@final
class SpriteCoordinates(eqx.Module):
    """gamma: the affine map from z to (scale, angle, x, y), so that equal steps of a sprite are equal steps of z.

    The defaults give scale and position the mean and the standard deviation of dSprites' uniform factors (six scales in
    [0.5, 1], positions in [16, 48] pixels). The angle is pi z: under z ~ N(0, 1) its distribution on the circle is
    uniform to 1.5 % (a wrapped Gaussian with standard deviation pi), and z has the period 2.

    Attributes:
        offset: gamma(0), in the units of `Similarity`.
        gain: derivative of gamma, per unit of z.
    """

    offset: Float[Array, "4"] = eqx.field(converter=jnp.asarray, default=(0.75, 0.0, 32.0, 32.0))
    gain: Float[Array, "4"] = eqx.field(converter=jnp.asarray, default=(0.171, jnp.pi, 9.24, 9.24))

    def __check_init__(self):
        if self.offset.shape != (4,) or self.gain.shape != (4,):
            raise BadInputError(
                f"Expected four offsets and four gains (scale, angle, x, y), got shapes {self.offset.shape} and "
                f"{self.gain.shape}."
            )

    def __call__(self, z: Float[Array, "4"]) -> Similarity:
        """(s, r, t_x, t_y) = gamma(z)."""
        return Similarity(*jnp.unstack(self.offset + self.gain * z))

    def inverse(self, similarity: Similarity) -> Float[Array, "4"]:
        """The z on the branch of the given angle."""
        return (jnp.stack([jnp.asarray(part) for part in similarity]) - self.offset) / self.gain

    @property
    def periods(self) -> Float[Array, "4"]:
        """Period of each coordinate of z; infinity where there is none."""
        unbounded = jnp.full(4, jnp.inf)
        return unbounded.at[1].set(2.0 * jnp.pi / jnp.abs(self.gain[1]))
