"""The map from the real line to an interval, with an inverse that stays finite at the ends."""

import math
from typing import final

import jax
import jax.numpy as jnp
from numpyro.distributions import constraints, transforms

from ..typing import Array, Float, PyTree


@final
class Squash(transforms.Transform):
    """x = low + (high - low) (tanh(y) + 1) / 2, with one interval for all entries or one for each.

    Rounding sends large y to the ends themselves, whose inverse is infinite. The inverse here is clipped ten rounding
    errors inside, so that a saturated sample has a finite density and a finite gradient.
    """

    def __init__(self, low: float | tuple[float, ...], high: float | tuple[float, ...]):
        self.low = low if isinstance(low, float) else jnp.asarray(low)
        self.high = high if isinstance(high, float) else jnp.asarray(high)

    @property
    def sign(self) -> int:
        """The map increases."""
        return 1

    @property
    def domain(self) -> constraints.Constraint:
        """The real line."""
        return constraints.real

    @property
    def codomain(self) -> constraints.Constraint:
        """[low, high]."""
        return constraints.interval(self.low, self.high)

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        low, width = self._interval(x)
        return low + 0.5 * width * (jnp.tanh(x) + 1.0)

    def _interval(self, value: Float[Array, "..."]) -> tuple[Array, Array]:
        """Lower end and width, of the precision of a value."""
        dtype = jnp.result_type(value)
        low = jnp.asarray(self.low, dtype)
        return low, jnp.asarray(self.high, dtype) - low

    def _inverse(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        edge = 1.0 - 10.0 * float(jnp.finfo(jnp.result_type(y)).eps)
        low, width = self._interval(y)
        unit = 2.0 * (y - low) / width - 1.0
        return jnp.arctanh(jnp.clip(unit, -edge, edge))

    def log_abs_det_jacobian(self, x: Float[Array, "..."], y: Array, intermediates: None = None) -> Float[Array, "..."]:
        """log dx/dy, from 1 - tanh(y)^2 = 4 e^{-2y} / (1 + e^{-2y})^2, which does not cancel for large |y|."""
        return jnp.log(0.5 * self._interval(x)[1]) + 2.0 * (math.log(2.0) - x - jax.nn.softplus(-2.0 * x))

    def tree_flatten(self) -> tuple[PyTree, PyTree]:
        """The two ends are what a JAX transformation sees of it."""
        return (self.low, self.high), (("low", "high"), {})
