"""The lattice of dSprites configurations, and what its coordinates mean.

A configuration is five numbers, `latents = [shape, scale, orientation, x, y]`, in *class units*: integers on the
lattice, real numbers between its points for continuous worlds. In pixels of the 64 x 64 canvas, with y pointing down
and the centre of pixel i at i + 1/2:

    scale  = 0.5 + 0.1 k                  k in 0..5
    angle  = 2 pi k / orientations        k in 0..orientations-1, counter-clockwise as displayed, wraps
    x, y   = 16 + 32 k / 31               k in 0..31, from the left edge and from the top edge

Shapes are 0 square, 1 ellipse, 2 heart. The original data set lists 40 orientations of which the last equals the first
(angles `linspace(0, 2 pi, 40)`); its ring therefore has 39 steps: `SpriteGrid(orientations=39)`.

References:
    Matthey et al. (2017), dSprites: Disentanglement testing sprites dataset.
"""

from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ..results import BadInputError
from ..typing import Any, Array, Float, Int

NUM_SHAPES = 3
NUM_SCALES = 6
NUM_POSITIONS = 32
CANVAS = 64
"""Side of the canvas in pixels; all lengths are given in these pixels whatever the resolution of an image."""

ORIGINAL_ORIENTATIONS = 40
"""Orientation classes of the original data set, of which the last has the same angle as the first."""

FACTORS = ("shape", "scale", "orientation", "x", "y")
SYMMETRY_ORDER = (4, 2, 1)
"""Number of rotations that map each shape (square, ellipse, heart) onto itself."""


@final
class SpriteGrid(eqx.Module):
    """The lattice of configurations.

    Attributes:
        orientations: number of distinct angles on the ring (40; the original data set has 39).
    """

    orientations: int = eqx.field(static=True, default=40)

    def __check_init__(self):
        if isinstance(self.orientations, bool) or not isinstance(self.orientations, int) or self.orientations < 1:
            raise BadInputError(f"Expected a positive whole number of orientations, got {self.orientations!r}.")

    @property
    def num_classes(self) -> tuple[int, ...]:
        """Number of classes of each factor, in the order of `FACTORS`."""
        return (NUM_SHAPES, NUM_SCALES, self.orientations, NUM_POSITIONS, NUM_POSITIONS)

    def scale(self, latents: Array) -> Array:
        """Size relative to the largest class, from 0.5 to 1."""
        return 0.5 + 0.1 * latents[..., 1]

    def angle(self, latents: Array) -> Array:
        """Angle in radians, counter-clockwise as displayed."""
        return (2 * np.pi / self.orientations) * latents[..., 2]

    def centre(self, latents: Array) -> Array:
        """Centre (x, y) in canvas pixels."""
        return 16.0 + (32.0 / 31.0) * latents[..., 3:5]

    def contain(self, latents: Array) -> Array:
        """Bring a configuration back onto the lattice's range: orientation wraps, scale and position clip.

        Args:
            latents: [shape, scale, orientation, x, y] in class units.
        """
        top = jnp.asarray([NUM_SHAPES, NUM_SCALES, self.orientations, NUM_POSITIONS, NUM_POSITIONS], latents.dtype) - 1
        inside = jnp.clip(latents, jnp.zeros_like(top), top)
        return inside.at[..., 2].set(jnp.mod(latents[..., 2], self.orientations))

    def orientation_period(self, shape: Int[Array, ""]) -> Array:
        """Class units after which the picture of a shape repeats on the lattice.

        On the lattice only whole steps count: a square on the 39-step ring never repeats before 39.
        """
        periods = [self.orientations // np.gcd(self.orientations, order) for order in SYMMETRY_ORDER]
        return jnp.asarray(periods)[shape]

    def angle_period(self, shape: Int[Array, ""]) -> Float[Array, ""]:
        """Class units after which the outline of a shape repeats, as a real number."""
        return self.orientations / jnp.asarray(SYMMETRY_ORDER, float)[shape]

    def differences(self, latents: Array, goal: Array) -> Array:
        """Distance in class units of each factor (scale, orientation, x, y), orientation up to the shape's symmetry.

            d_orientation = min_m |o - o' - m P|,  P the period of the shape

        Args:
            latents: configuration, shape (5,).
            goal: configuration, shape (5,); its shape factor is not compared.
        """
        shape = latents[0].astype(int)
        on_lattice = jnp.issubdtype(latents.dtype, jnp.integer) and jnp.issubdtype(goal.dtype, jnp.integer)
        period = self.orientation_period(shape) if on_lattice else self.angle_period(shape)
        turn = jnp.mod(latents[2] - goal[2], period)
        gap = jnp.abs(latents[1:] - goal[1:])
        return gap.at[1].set(jnp.minimum(turn, period - turn).astype(gap.dtype))

    def checked(self, latents: Any) -> Array:
        """Return `latents` as an array, or say what is wrong with it.

        Values are compared only when they are known (not while tracing).

        Raises:
            BadInputError: wrong length, not numbers, not finite, or outside the lattice.
        """
        try:
            array = jnp.asarray(latents)
        except (TypeError, ValueError) as error:
            raise BadInputError(
                f"Expected latents as five numbers [shape, scale, orientation, x, y], got {latents!r}."
            ) from error
        is_number = jnp.issubdtype(array.dtype, jnp.integer) or jnp.issubdtype(array.dtype, jnp.floating)
        if array.shape[-1:] != (5,) or not is_number:
            raise BadInputError(
                "Expected latents as five numbers [shape, scale, orientation, x, y], "
                f"got an array of shape {array.shape} and type {array.dtype}."
            )
        if not isinstance(array, Tracer):
            self._check_range(np.asarray(array))
        return array

    def _check_range(self, latents: np.ndarray) -> None:
        last = np.asarray(self.num_classes) - 1
        # The original names the angle 0 twice, as class 0 and as class 39.
        last[2] = max(last[2], ORIGINAL_ORIENTATIONS - 1)
        # Between the lattice's points the ring extends to where it closes.
        closed = np.issubdtype(latents.dtype, np.floating)
        for factor, name in enumerate(FACTORS):
            values = latents[..., factor]
            top = max(last[2], self.orientations) if name == "orientation" and closed else last[factor]
            fits = (values >= 0) & (values <= top)
            if name == "shape":
                fits &= values == np.round(values)
            if not np.all(fits):
                raise BadInputError(
                    f"Expected the latent '{name}' between 0 and {top}, got {np.asarray(values)[~fits].flat[0]}. "
                    "Latents are class indices [shape, scale, orientation, x, y]."
                )
