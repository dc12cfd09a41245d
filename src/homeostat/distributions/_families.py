"""Families besides the Gaussian: points, choices, and bounded continuous actions."""

import math
from typing import ClassVar, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints, transforms

from ..core import AbstractFamily
from ..results import BadInputError
from ..typing import Any, Array, Distribution, Float, Int, PyTree
from ._gaussian import DiagonalGaussianParams


class DeltaParams(NamedTuple):
    """The point."""

    loc: Float[Array, " d"]


class CategoricalParams(NamedTuple):
    """Unnormalised log probabilities."""

    logits: Float[Array, "... classes"]


@final
class Delta(AbstractFamily[DeltaParams]):
    """A point mass: with it an engine seeks the maximum a posteriori. Its log density counts as zero.

    Attributes:
        dim: number of variables.
    """

    reparameterized: ClassVar[bool] = True
    dim: int = eqx.field(static=True)

    def init(self) -> DeltaParams:
        return DeltaParams(jnp.zeros(self.dim))

    def __call__(self, params: DeltaParams) -> Distribution:
        return dist.Delta(params.loc, event_dim=1, validate_args=False)

    def fit(self, samples: Float[Array, "samples d"], weights: Float[Array, " samples"]) -> DeltaParams:
        """The weighted mean."""
        return DeltaParams(weights @ samples)


@final
class Categorical(AbstractFamily[CategoricalParams]):
    """Independent choices: an integer array of `shape`, each entry one of `num_classes`.

    Attributes:
        num_classes: number of alternatives of each entry.
        shape: shape of the array of choices; () for one choice, (horizon,) for a plan.
        minimum_probability: floor of a probability in `fit`, so that no alternative is lost for good.
    """

    reparameterized: ClassVar[bool] = False
    num_classes: int = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True, default=())
    minimum_probability: float = eqx.field(static=True, default=1e-6)

    def __check_init__(self):
        if self.num_classes < 1:
            raise BadInputError(f"Expected at least one class, got num_classes={self.num_classes}.")

    def init(self) -> CategoricalParams:
        return CategoricalParams(jnp.zeros((*self.shape, self.num_classes)))

    def __call__(self, params: CategoricalParams) -> Distribution:
        # Not the function `Categorical`, which is declared to return None for other arguments.
        return dist.CategoricalLogits(params.logits, validate_args=False).to_event(len(self.shape))

    def fit(self, samples: Int[Array, "samples ..."], weights: Float[Array, " samples"]) -> CategoricalParams:
        """Weighted frequencies."""
        frequencies = jnp.tensordot(weights, jax.nn.one_hot(samples, self.num_classes), axes=1)
        return CategoricalParams(jnp.log(jnp.maximum(frequencies, self.minimum_probability)))

    @property
    def size(self) -> int:
        """Number of points in the support, num_classes ** (number of entries)."""
        return self.num_classes ** math.prod(self.shape)

    def support(self) -> Int[Array, "size ..."]:
        """Every point of the support, the last entry fastest."""
        digits = jnp.arange(self.size)[:, None] // self.num_classes ** jnp.arange(math.prod(self.shape))[::-1][None, :]
        return (digits % self.num_classes).reshape(self.size, *self.shape)


Bound = float | tuple[float, ...]
"""One bound for all variables, or one for each."""


def bound(values: Any) -> Bound:
    """From a number, or from a sequence or array of numbers."""
    values = np.asarray(values, np.float64)
    return float(values) if values.ndim == 0 else tuple(values.ravel().tolist())


def check_bounds(low: Bound, high: Bound, dim: int) -> None:
    """Raise unless the bounds are in order, and as many as there are variables where they are several.

    Raises:
        BadInputError: they are not.
    """
    if any(np.shape(one) not in ((), (dim,)) for one in (low, high)):
        raise BadInputError(f"Expected one bound, or one for each of {dim} variables, got low={low} and high={high}.")
    if not np.all(np.less(low, high)):
        raise BadInputError(f"Expected low < high, got low={low} and high={high}.")


@final
class SquashedGaussian(AbstractFamily[DiagonalGaussianParams]):
    """low + (high - low) (tanh(y) + 1) / 2 with y ~ N(loc, exp(log_scale)^2): bounded continuous actions.

    Attributes:
        dim: number of variables.
        low: lower bound, in the action's unit; one for all variables, or one for each.
        high: upper bound, likewise.
        minimum_scale: floor of the standard deviation of y in `fit`.
    """

    reparameterized: ClassVar[bool] = True
    dim: int = eqx.field(static=True)
    low: Bound = eqx.field(static=True, default=-1.0, converter=bound)
    high: Bound = eqx.field(static=True, default=1.0, converter=bound)
    minimum_scale: float = eqx.field(static=True, default=1e-3)

    def __check_init__(self):
        check_bounds(self.low, self.high, self.dim)

    def init(self) -> DiagonalGaussianParams:
        return DiagonalGaussianParams(jnp.zeros(self.dim), jnp.zeros(self.dim))

    def __call__(self, params: DiagonalGaussianParams) -> Distribution:
        base = dist.Normal(params.loc, jnp.exp(params.log_scale), validate_args=False)
        return dist.TransformedDistribution(base, Squash(self.low, self.high), validate_args=False).to_event(1)

    def fit(self, samples: Float[Array, "samples d"], weights: Float[Array, " samples"]) -> DiagonalGaussianParams:
        """Moments of the samples before squashing, which is the maximum-likelihood fit."""
        raw = jax.vmap(Squash(self.low, self.high).inv)(samples)
        loc = weights @ raw
        variance = jnp.maximum(weights @ (raw - loc[None, :]) ** 2, self.minimum_scale**2)
        return DiagonalGaussianParams(loc, 0.5 * jnp.log(variance))


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
