"""The slides' generative model of a sprite: a template moved by a similarity transform.

    z_d ~ N(0, 1),   d = 1..4
    (s, r, t_x, t_y) = gamma(z)
    O = STN(gamma(z), I)          the template I, transformed on a grid, with bilinear interpolation
    x_ij ~ N(O_ij, sigma^2)

The transform of a template point u (pixels, y down) is p = s R(r) u + t with the rotation

    R(r) = [[cos r, sin r], [-sin r, cos r]]

counter-clockwise as displayed. The slides print `s cos r, s sin r` as the second row of their matrix, which is not a
rotation; this is the similarity transform that they mean. Sampling runs backwards, u = R(r)^T (p - t) / s.
"""

from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from ...core import AbstractModel
from ...results import BadInputError
from ...typing import Action, Array, Distribution, Float, Scalar, State


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


def sample_template(
    template: Float[Array, "n n"], similarity: Similarity, *, size: int, extent: float, minimum_scale: float = 0.05
) -> Float[Array, "size size"]:
    """O = STN(gamma, I): the canvas on which the template is moved, bilinearly interpolated, zero outside.

    Args:
        template: I, a square image whose grid covers [-extent, extent]^2 in canvas pixels at scale 1.
        similarity: scale, angle and position.
        size: side of the canvas, pixels.
        extent: half side of the template, in canvas pixels.
        minimum_scale: scales below it are treated as it, because the inverse transform divides by them.
    """
    num = template.shape[0]
    scale = jnp.maximum(similarity.scale, minimum_scale)
    centres = jnp.arange(size) + 0.5
    dx, dy = (centres - similarity.x) / scale, (centres - similarity.y) / scale
    cos, sin = jnp.cos(similarity.angle), jnp.sin(similarity.angle)
    per_cell = num / (2.0 * extent)
    # u = R^T (p - t) / s, in units of template cells counted from the first cell's centre (one cell of padding in front).
    column = (cos * dx[None, :] - sin * dy[:, None] + extent) * per_cell + 0.5
    row = (sin * dx[None, :] + cos * dy[:, None] + extent) * per_cell + 0.5
    column, row = jnp.clip(column, 0.0, num + 1.0), jnp.clip(row, 0.0, num + 1.0)
    whole_column, whole_row = jnp.floor(column), jnp.floor(row)
    index = (whole_row * (num + 2) + whole_column).astype(jnp.int32)
    # One gather of the four polynomial coefficients of each cell is cheaper on a CPU than four gathers of its corners.
    cell = _cell_polynomials(template)[index]
    across, down = column - whole_column, row - whole_row
    return cell[..., 0] + cell[..., 1] * across + (cell[..., 2] + cell[..., 3] * across) * down


def _cell_polynomials(template: Float[Array, "n n"]) -> Float[Array, "cells 4"]:
    """Coefficients a + b u + (c + d u) v of the bilinear surface on every cell of the template padded with zeros."""
    padded = jnp.pad(template, ((1, 2), (1, 2)))
    corner, right = padded[:-1, :-1], padded[:-1, 1:]
    below, diagonal = padded[1:, :-1], padded[1:, 1:]
    polynomials = jnp.stack([corner, right - corner, below - corner, diagonal - right - below + corner], axis=-1)
    return polynomials.reshape(-1, 4)


@final
class SpatialTransformer(AbstractModel):
    """x ~ N(STN(gamma(z), I), sigma^2) with z ~ N(0, 1)^4: one sprite with a given or learned template.

    Attributes:
        template: I, values in [0, 1]; its grid covers [-extent, extent]^2 canvas pixels at scale 1.
        log_sigma: logarithm of the standard deviation of a pixel.
        coordinates: gamma.
        size: side of the canvas, pixels.
        extent: half side of the template, canvas pixels.

    References:
        The slides, "Generative model"; Jaderberg et al., "Spatial transformer networks", NeurIPS 2015.
    """

    template: Float[Array, "n n"]
    log_sigma: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=-2.0)
    coordinates: SpriteCoordinates = eqx.field(default_factory=SpriteCoordinates)
    size: int = eqx.field(static=True, default=64)
    extent: float = eqx.field(static=True, default=16.0)

    def initial(self) -> Distribution:
        return dist.Normal(jnp.zeros(4), jnp.ones(4)).to_event(1)

    def transition(self, state: State, action: Action) -> Distribution:
        raise BadInputError(
            "A SpatialTransformer is a static model without dynamics: compose it with dynamics in a `StateSpace`."
        )

    def emission(self, state: Float[Array, "4"]) -> Distribution:
        return dist.Normal(self.image(state), jnp.exp(self.log_sigma)).to_event(2)

    def image(self, state: Float[Array, "4"]) -> Float[Array, "size size"]:
        """O, the noise-free image of z."""
        return sample_template(self.template, self.coordinates(state), size=self.size, extent=self.extent)
