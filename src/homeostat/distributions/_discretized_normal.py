"""A Gaussian seen through a ruler: the probability of the bin around each point of a grid, not a density.

    P(v) = Phi((v + w/2 - mu) / sigma) - Phi((v - w/2 - mu) / sigma),   v = low, low + w, ..., high

with the lowest and the highest bin extended to the tails, so that the masses sum to one. A pixel has one of 256 values; a
density over them has no upper bound and cannot be compared between models, the mass of a bin can.
"""

import math
from typing import ClassVar, NamedTuple, final

import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist
from jax.scipy.special import erf, erfc
from numpyro.distributions import constraints

from ..results import BadInputError
from ..typing import Array, Bool, Float, Key, Scalar

_LOG_ROOT_TWO_PI = 0.5 * math.log(2.0 * math.pi)
_ROOT_HALF = math.sqrt(0.5)
_NARROW = 0.05
"""Bins of a smaller half width h, in standard deviations, and with |z| h below `_FLAT` use a power series; for others the
difference of the two ends loses little more than a factor of ten in precision."""
_FLAT = 0.5
_FRACTION_FROM = 8.0
"""Where the Mills ratio changes to its continued fraction; the other branch is accurate to 32 rounding errors up to here."""


@jax.custom_jvp
def _mills(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """M(x) = (1 - Phi(x)) / phi(x) for x >= 0, which falls like 1 / x and neither under- nor overflows.

    References:
        The continued fraction 1 / (x + 1 / (x + 2 / (x + ...))) is Laplace's; Abramowitz and Stegun, Eq. 26.2.14.
    """
    near = jnp.minimum(x, _FRACTION_FROM)
    product = math.sqrt(0.5 * math.pi) * erfc(_ROOT_HALF * near) * jnp.exp(0.5 * near**2)
    far = jnp.maximum(x, _FRACTION_FROM)
    fraction = far
    # Depths at which the error at `_FRACTION_FROM` is 7e-8 and 2e-15.
    for level in range(4 if jnp.finfo(x.dtype).eps > 1e-10 else 12, 0, -1):
        fraction = far + level / fraction
    return jnp.where(x < _FRACTION_FROM, product, 1.0 / fraction)


@_mills.defjvp
def _mills_jvp(primals, tangents):
    (x,), (tangent,) = primals, tangents
    value = _mills(x)
    # M' = x M - 1. The difference is small where M is; its rounding error is that of 1, beside slopes of order x.
    return value, (x * value - 1.0) * tangent


class _Bin(NamedTuple):
    """P = mass * exp(log_density), with log_density = 0 where the bin holds the centre.

    Attributes:
        log_density: log phi at the end of the bin that is nearer to the centre, or at the middle of a narrow one.
        mass: what is left.
        ratio: phi at the nearer end, over P.
    """

    log_density: Float[Array, "..."]
    mass: Float[Array, "..."]
    ratio: Float[Array, "..."]


@jax.custom_jvp
def log_mass(
    centre: Float[Array, "..."], half: Float[Array, "..."], lowest: Bool[Array, "..."], highest: Bool[Array, "..."]
) -> Float[Array, "..."]:
    """log(Phi(z + h) - Phi(z - h)), elementwise, without cancellation for narrow bins and far from the centre.

    With M the Mills ratio and a = |z| - h >= 0, the mass is phi(a) (M(a) - e^{-2 |z| h} M(a + 2 h)), where the large
    exponent -a^2 / 2 stands alone; a bin that holds the centre is a sum of two positive error functions; a narrow one is
    2 h phi(z) times the average of cosh(z t) e^{-t^2 / 2} over |t| < h. Its derivatives, with P the mass and E = e^{-2 |z| h}, are

        d log P / dz = -sign(z) (1 - E) phi(a) / P,   d log P / dh = (1 + E) phi(a) / P

    Args:
        centre: z, standardised centre of the bin.
        half: h > 0, standardised half width, of the same shape.
        lowest: whether the bin reaches to minus infinity.
        highest: whether the bin reaches to plus infinity.
    """
    found = _bin(centre, half, lowest, highest)
    return _log(found)


@log_mass.defjvp
def _log_mass_jvp(primals, tangents):
    centre, half, lowest, highest = primals
    found, is_open = _bin(*primals), lowest | highest
    shrunk = jnp.exp(-2.0 * jnp.abs(centre) * half)
    difference = -jnp.expm1(-2.0 * jnp.abs(centre) * half)
    outwards = jnp.where(centre < 0.0, -1.0, 1.0).astype(centre.dtype)
    slope = jnp.where(is_open, jnp.where(lowest, 1.0, -1.0), -outwards * difference) * found.ratio
    widening = jnp.where(is_open, 1.0, 1.0 + shrunk) * found.ratio
    return _log(found), slope * tangents[0] + widening * tangents[1]


def _log(found: _Bin) -> Float[Array, "..."]:
    tiny = jnp.finfo(found.mass.dtype).tiny
    return found.log_density + jnp.log(jnp.where(found.mass > 0.0, found.mass, tiny))


def _bin(
    centre: Float[Array, "..."], half: Float[Array, "..."], lowest: Bool[Array, "..."], highest: Bool[Array, "..."]
) -> _Bin:
    """The parts of log P, with arguments as for `log_mass`."""
    is_open = lowest | highest
    # An open bin is the tail beyond its one end.
    end = jnp.where(lowest, -centre, centre) - half
    distance = jnp.abs(centre)
    flat = distance * half
    is_narrow = (half < _NARROW) & (flat < _FLAT) & ~is_open
    is_central = jnp.where(is_open, end <= 0.0, distance < half) & ~is_narrow
    is_tail = ~is_narrow & ~is_central

    # In each formula, entries that belong to another one are given numbers at which it and its derivatives are finite.
    width_squared, tilt_squared = jnp.where(is_narrow, half**2, 0.0), jnp.where(is_narrow, flat**2, 0.0)
    narrow = 2.0 * jnp.where(is_narrow, half, 1.0) * _average(width_squared, tilt_squared)

    left = jnp.where(is_central, jnp.where(is_open, -end, half - centre), 1.0)
    right = jnp.where(is_central & ~is_open, half + centre, 1.0)
    central = 0.5 * (erf(_ROOT_HALF * left) + jnp.where(is_open, 1.0, erf(_ROOT_HALF * right)))

    nearer = jnp.where(is_open, end, distance - half)
    start = jnp.where(is_tail, nearer, 1.0)
    other = start + 2.0 * half
    removed = jnp.exp(-2.0 * half * (start + half)) * _mills(other)
    tail = _mills(start) - jnp.where(is_open, 0.0, removed)

    mass = jnp.where(is_narrow, narrow, jnp.where(is_central, central, tail))
    exponent = jnp.where(is_narrow, jnp.where(is_narrow, centre, 0.0), start)
    log_density = jnp.where(is_central, 0.0, -0.5 * exponent**2 - _LOG_ROOT_TWO_PI)
    # phi(a) in units of e^{log_density}: of phi(z), of one, and of itself.
    inner = jnp.where(is_central, -0.5 * jnp.where(is_central, nearer, 0.0) ** 2 - _LOG_ROOT_TWO_PI, 0.0)
    inner = jnp.where(is_narrow, jnp.where(is_narrow, flat - 0.5 * half**2, 0.0), inner)
    positive = mass > 0.0
    ratio = jnp.where(positive, jnp.exp(inner) / jnp.where(positive, mass, 1.0), 0.0)
    return _Bin(log_density, mass, ratio)


def _average(width_squared: Float[Array, "..."], tilt_squared: Float[Array, "..."]) -> Float[Array, "..."]:
    """Average over |t| < h of cosh(z t) exp(-t^2 / 2), as a power series in h^2 and (z h)^2.

    The coefficient of h^{2j} (z h)^{2k} is (-1/2)^j / (j! (2k)! (2j + 2k + 1)); the first that is left out is below 1e-13 in
    the range of use.
    """
    total = jnp.zeros_like(width_squared)
    for j in reversed(range(4)):
        inner = jnp.zeros_like(tilt_squared)
        for k in reversed(range(6)):
            inner = inner * tilt_squared + 1.0 / (math.factorial(2 * k) * (2 * j + 2 * k + 1))
        total = total * width_squared + (-0.5) ** j / math.factorial(j) * inner
    return total


@final
class DiscretizedNormal(dist.Distribution):
    """Probability of the bin around a grid point under N(loc, scale^2); elementwise, as `numpyro.distributions.Normal`.

    Args:
        loc: mean of the Gaussian beneath, in the variable's unit.
        scale: its standard deviation.
        bin_width: w, distance between neighbouring grid points.
        low: the lowest grid point, whose bin reaches to minus infinity; None for a grid without a lower end.
        high: the highest grid point, whose bin reaches to plus infinity; None for a grid without an upper end.

    The grid passes through `low`, or through `high` where there is no `low`, or through zero. `log_prob` takes a value as
    the centre of its bin and does not move it to the grid; the outermost bins are those of values nearer to an end than to
    any other grid point. `mean` and `variance` are those of the Gaussian beneath. Samples carry no gradient.

    References:
        Salimans et al., "PixelCNN++", ICLR 2017, Sec. 2.1, for the logistic; Marino (thesis), Sec. 3.5, compares bits per
        dimension, which need a mass.
    """

    arg_constraints: ClassVar = {"loc": constraints.real, "scale": constraints.positive}
    pytree_data_fields = ("loc", "scale")
    pytree_aux_fields = ("bin_width", "low", "high")

    def __init__(
        self,
        loc: Float[Array, "..."] | float,
        scale: Float[Array, "..."] | float,
        bin_width: float,
        low: float | None = None,
        high: float | None = None,
        *,
        validate_args: bool | None = None,
    ):
        check_grid(bin_width, low, high)
        shape = jnp.broadcast_shapes(jnp.shape(loc), jnp.shape(scale))
        self.loc, self.scale = jnp.broadcast_to(loc, shape), jnp.broadcast_to(scale, shape)
        self.bin_width, self.low, self.high = bin_width, low, high
        super().__init__(batch_shape=shape, event_shape=(), validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> constraints.Constraint:
        low, high = (-math.inf if self.low is None else self.low), (math.inf if self.high is None else self.high)
        return constraints.interval(low, high)

    @property
    def origin(self) -> float:
        """A grid point."""
        if self.low is not None:
            return self.low
        return 0.0 if self.high is None else self.high

    def sample(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Float[Array, "..."]:
        shape = (*sample_shape, *self.batch_shape)
        noise = jr.normal(key, shape, jnp.result_type(self.loc, self.scale))
        raw = jnp.broadcast_to(self.loc, shape) + jnp.broadcast_to(self.scale, shape) * noise
        value = self.origin + self.bin_width * jnp.round((raw - self.origin) / self.bin_width)
        return value if self.low is None and self.high is None else jnp.clip(value, self.low, self.high)

    def log_prob(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        shape = jnp.broadcast_shapes(jnp.shape(value), self.batch_shape)
        value = jnp.broadcast_to(value, shape)
        scale = jnp.broadcast_to(self.scale, shape)
        centre = (value - jnp.broadcast_to(self.loc, shape)) / scale
        half = 0.5 * self.bin_width / scale
        never = jnp.zeros(shape, bool)
        lowest = never if self.low is None else value < self.low + 0.5 * self.bin_width
        highest = never if self.high is None else value > self.high - 0.5 * self.bin_width
        return log_mass(centre, half, lowest, highest)

    @property
    def mean(self) -> Float[Array, "..."]:
        return self.loc

    @property
    def variance(self) -> Float[Array, "..."]:
        return self.scale**2


def check_grid(bin_width: float | Scalar, low: float | None, high: float | None) -> None:
    """Refuse a grid whose ends are not a whole number of bins apart."""
    if not bin_width > 0.0:
        raise BadInputError(f"Expected a positive bin width, got bin_width={bin_width}.")
    if low is None or high is None:
        return
    bins = (high - low) / bin_width
    # 1e-3 of a bin leaves room for ends that went through single precision.
    if not (round(bins) >= 1 and abs(bins - round(bins)) < 1e-3):
        raise BadInputError(
            f"Expected low < high, a whole number of bins apart, got low={low}, high={high} and bin_width={bin_width}, "
            f"which is {bins:g} bins: for 8-bit images scaled to [0, 1] pass low=0, high=1 and bin_width=1/255."
        )
