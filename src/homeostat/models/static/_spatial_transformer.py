"""The slides' generative model of a sprite: a template moved by a similarity transform.

z_d ~ N(0, 1),   d = 1..4
(s, r, t_x, t_y) = gamma(z)
O = STN(gamma(z), I)          the template I, transformed on a grid, with bilinear interpolation
x_ij ~ N(O_ij, sigma^2)
"""

from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpyro.distributions as dist

from ...core import AbstractModel
from ...typing import Array, Distribution, Float
from ._coordinates import SpriteCoordinates
from ._sampling import sample_template


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

    def emission(self, state: Float[Array, "4"]) -> Distribution:
        return dist.Normal(self.image(state), jnp.exp(self.log_sigma)).to_event(2)

    def image(self, state: Float[Array, "4"]) -> Float[Array, "size size"]:
        """O, the noise-free image of z."""
        return sample_template(self.template, self.coordinates(state), size=self.size, extent=self.extent)
