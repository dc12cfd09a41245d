"""Families besides the Gaussian: points, choices, and bounded continuous actions."""

import math
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from ..core import AbstractFamily
from ..results import BadInputError
from ..typing import Array, Distribution, Float, Int
from ._gaussian import DiagonalGaussianParams
from ._squash import Squash


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


@final
class SquashedGaussian(AbstractFamily[DiagonalGaussianParams]):
    """low + (high - low) (tanh(y) + 1) / 2 with y ~ N(loc, exp(log_scale)^2): bounded continuous actions.

    Attributes:
        dim: number of variables.
        low: lower bounds, in the action's unit.
        high: upper bounds.
        minimum_scale: floor of the standard deviation of y in `fit`.
    """

    dim: int = eqx.field(static=True)
    low: float = eqx.field(static=True, default=-1.0)
    high: float = eqx.field(static=True, default=1.0)
    minimum_scale: float = eqx.field(static=True, default=1e-3)

    def __check_init__(self):
        if not self.low < self.high:
            raise BadInputError(f"Expected low < high, got low={self.low} and high={self.high}.")

    def init(self) -> DiagonalGaussianParams:
        return DiagonalGaussianParams(jnp.zeros(self.dim), jnp.zeros(self.dim))

    def __call__(self, params: DiagonalGaussianParams) -> Distribution:
        base = dist.Normal(params.loc, jnp.exp(params.log_scale), validate_args=False)
        return dist.TransformedDistribution(base, Squash(self.low, self.high), validate_args=False).to_event(1)

    def fit(self, samples: Float[Array, "samples d"], weights: Float[Array, " samples"]) -> DiagonalGaussianParams:
        """Moments of the samples before squashing, which is the maximum-likelihood fit."""
        raw = Squash(self.low, self.high).inv(samples)
        loc = weights @ raw
        variance = jnp.maximum(weights @ (raw - loc[None, :]) ** 2, self.minimum_scale**2)
        return DiagonalGaussianParams(loc, 0.5 * jnp.log(variance))
