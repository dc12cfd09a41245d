"""Output densities: what a decoder's features say about one observation.

    p(x | f),   f a flat vector of `num_features` numbers, x an array of `shape`

A likelihood turns features into a distribution over one observation whose event shape is `shape`, so `log_prob` is a scalar.
The Gaussian ones come with a constant scale, which is learned, or with a scale of their own in the features.
"""

import abc
import math
from typing import ClassVar, final

import equinox as eqx
import jax.numpy as jnp
import numpyro.distributions as dist

from ...distributions import DiscretizedNormal
from ...results import BadInputError
from ...typing import Array, Distribution, Float, Nonlinearity
from ._observations import BernoulliLikelihood, WordCounts
from ._sparse_template import identity

MINIMUM_SCALE = math.sqrt(1e-5)
"""Floor of a standard deviation: the code of Marino, Yue and Mandt (2018) adds 1e-5 to every variance."""

LOG_VARIANCE_BOUNDS = (-7.0, 15.0)
"""Where a conditional log variance is clipped, as in the code of Marino, Yue and Mandt (2018)."""

_LARGEST_LOG_RATE = 30.0
"""Where the log rate of counts is clipped; its square must not overflow in 32 bits."""


def _strong(value: Array | float) -> Float[Array, "..."]:
    """An array whose type an update cannot change: Python numbers would stay weakly typed, and compile twice."""
    return jnp.asarray(value, None if eqx.is_array(value) else jnp.result_type(float))


class AbstractLikelihood(eqx.Module):
    """p(x | features) of one observation. Learnable numbers (a constant log scale) are leaves.

    Attributes:
        shape: shape of one observation.
        support_description: values that an observation may hold, as a phrase for messages.
    """

    shape: eqx.AbstractVar[tuple[int, ...]]
    support_description: eqx.AbstractVar[str]

    def __check_init__(self):
        if any(length < 1 for length in self.shape):
            raise BadInputError(
                f"Expected an observation with at least one entry along every axis, got shape {self.shape}."
            )

    @property
    def num_features(self) -> int:
        """Length of the flat vector that a decoder must supply: one number for every entry, unless a member says otherwise."""
        return self.size

    @abc.abstractmethod
    def __call__(self, features: Float[Array, " num_features"]) -> Distribution:
        """The distribution of x, with event shape `shape`.

        Raises:
            BadInputError: a vector of another length.
        """

    @property
    def size(self) -> int:
        """Number of entries of one observation."""
        return math.prod(self.shape)

    def _shaped(self, features: Float[Array, " n"], shape: tuple[int, ...]) -> Float[Array, "..."]:
        """The features as an array of `shape`, if there are as many as there should be."""
        if features.shape != (self.num_features,):
            raise BadInputError(
                f"Expected {self.num_features} features for a {type(self).__name__} of shape {self.shape}, got an array of "
                f"shape {features.shape}: let the decoder's last layer give `num_features` outputs."
            )
        return features.reshape(shape)


@final
class Bernoulli(AbstractLikelihood):
    """x ~ Bernoulli(sigmoid(f)), with log p(x) = sum_i x_i f_i - softplus(f_i).

    The same formula takes grey values in [0, 1] as fractional targets. It is then a cross-entropy, not a normalised density
    of grey images: compare it only with itself.
    """

    support_description: ClassVar[str] = "numbers in [0, 1]"

    shape: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, features: Float[Array, " num_features"]) -> Distribution:
        return BernoulliLikelihood(self._shaped(features, self.shape)).to_event(len(self.shape))


@final
class Gaussian(AbstractLikelihood):
    """x ~ N(link(f), sigma^2) with a constant sigma^2 = exp(2 log_scale) + minimum_scale^2.

    Attributes:
        log_scale: log standard deviation in the unit of x, one number or one for every entry; learned.
        link: from features to means: `identity`, or `jax.nn.sigmoid` for images in [0, 1].
    """

    support_description: ClassVar[str] = "finite numbers"

    shape: tuple[int, ...] = eqx.field(static=True)
    log_scale: Float[Array, "..."] = eqx.field(converter=_strong, default=0.0)
    link: Nonlinearity = eqx.field(static=True, default=identity)
    minimum_scale: float = eqx.field(static=True, default=MINIMUM_SCALE)

    def __check_init__(self):
        _check_log_scale(self.log_scale, self.shape)

    def __call__(self, features: Float[Array, " num_features"]) -> Distribution:
        loc = self.link(self._shaped(features, self.shape))
        scale = _floored(self.log_scale, self.minimum_scale, self.shape)
        return dist.Normal(loc, scale, validate_args=False).to_event(len(self.shape))


@final
class ConditionalGaussian(AbstractLikelihood):
    """x ~ N(link(f_1), exp(clip(f_2))), the first half of the features for the means, the second for the log variances.

    Attributes:
        link: from the first half to means.
        log_variance_bounds: where a log variance is clipped; outside, it has no gradient.
    """

    support_description: ClassVar[str] = "finite numbers"

    shape: tuple[int, ...] = eqx.field(static=True)
    link: Nonlinearity = eqx.field(static=True, default=identity)
    log_variance_bounds: tuple[float, float] = eqx.field(static=True, default=LOG_VARIANCE_BOUNDS)

    @property
    def num_features(self) -> int:
        return 2 * self.size

    def __call__(self, features: Float[Array, " num_features"]) -> Distribution:
        loc, scale = _halves(self, features, self.link, self.log_variance_bounds)
        return dist.Normal(loc, scale, validate_args=False).to_event(len(self.shape))


@final
class DiscretizedGaussian(AbstractLikelihood):
    """Probability of a value's bin under N(link(f), sigma^2) with a constant sigma (see `DiscretizedNormal`).

    The defaults are those of 8-bit images scaled to [0, 1]: 256 values k / 255, the outermost bins taking the tails.

    Attributes:
        log_scale: log standard deviation in the unit of x, one number or one for every entry; learned.
        bin_width: distance of neighbouring values.
        low: the lowest value, or None.
        high: the highest value, or None.
        link: from features to means: `identity`, or `jax.nn.sigmoid`.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    log_scale: Float[Array, "..."] = eqx.field(converter=_strong, default=-2.0)
    bin_width: float = eqx.field(static=True, default=1.0 / 255.0)
    low: float | None = eqx.field(static=True, default=0.0)
    high: float | None = eqx.field(static=True, default=1.0)
    link: Nonlinearity = eqx.field(static=True, default=identity)
    minimum_scale: float = eqx.field(static=True, default=MINIMUM_SCALE)

    def __check_init__(self):
        _check_log_scale(self.log_scale, self.shape)
        _grid(0.0, 1.0, self)

    @property
    def support_description(self) -> str:
        return _grid_description(self.bin_width, self.low, self.high)

    def __call__(self, features: Float[Array, " num_features"]) -> Distribution:
        loc = self.link(self._shaped(features, self.shape))
        scale = _floored(self.log_scale, self.minimum_scale, self.shape)
        return _grid(loc, scale, self).to_event(len(self.shape))


@final
class ConditionalDiscretizedGaussian(AbstractLikelihood):
    """As `DiscretizedGaussian`, with a log variance for every entry in the second half of the features.

    Attributes:
        bin_width: distance of neighbouring values.
        low: the lowest value, or None.
        high: the highest value, or None.
        link: from the first half to means.
        log_variance_bounds: where a log variance is clipped; outside, it has no gradient.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    bin_width: float = eqx.field(static=True, default=1.0 / 255.0)
    low: float | None = eqx.field(static=True, default=0.0)
    high: float | None = eqx.field(static=True, default=1.0)
    link: Nonlinearity = eqx.field(static=True, default=identity)
    log_variance_bounds: tuple[float, float] = eqx.field(static=True, default=LOG_VARIANCE_BOUNDS)

    def __check_init__(self):
        _grid(0.0, 1.0, self)

    @property
    def num_features(self) -> int:
        return 2 * self.size

    @property
    def support_description(self) -> str:
        return _grid_description(self.bin_width, self.low, self.high)

    def __call__(self, features: Float[Array, " num_features"]) -> Distribution:
        loc, scale = _halves(self, features, self.link, self.log_variance_bounds)
        return _grid(loc, scale, self).to_event(len(self.shape))


@final
class CategoricalOutput(AbstractLikelihood):
    """Every entry of x is one of `num_classes` alternatives, with probabilities softmax(f).

    Attributes:
        shape: shape of one observation, an array of integers.
        num_classes: number of alternatives of every entry.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    num_classes: int = eqx.field(static=True)

    def __check_init__(self):
        if self.num_classes < 1:
            raise BadInputError(f"Expected at least one class, got num_classes={self.num_classes}.")

    @property
    def num_features(self) -> int:
        return self.size * self.num_classes

    @property
    def support_description(self) -> str:
        return f"integers from 0 to {self.num_classes - 1}"

    def __call__(self, features: Float[Array, " num_features"]) -> Distribution:
        logits = self._shaped(features, (*self.shape, self.num_classes))
        return dist.CategoricalLogits(logits, validate_args=False).to_event(len(self.shape))


@final
class PoissonCounts(AbstractLikelihood):
    """x ~ Poisson(exp(f + b)): independent counts.

    Attributes:
        log_level: b, log rate of features that are zero, one number or one for every entry; learned.
    """

    support_description: ClassVar[str] = "non-negative counts"

    shape: tuple[int, ...] = eqx.field(static=True)
    log_level: Float[Array, "..."] = eqx.field(converter=_strong, default=0.0)

    def __check_init__(self):
        _check_log_scale(self.log_level, self.shape)

    def __call__(self, features: Float[Array, " num_features"]) -> Distribution:
        rate = _rate(self._shaped(features, self.shape), self.log_level)
        return dist.Poisson(rate, validate_args=False).to_event(len(self.shape))


@final
class NegativeBinomialCounts(AbstractLikelihood):
    """x ~ NegativeBinomial with mean m = exp(f + b) and variance m + m^2 / r: counts that scatter more than Poisson's.

    Attributes:
        log_level: b, log mean of features that are zero, one number or one for every entry; learned.
        log_concentration: log r, one number or one for every entry; learned. For r to infinity it is Poisson.
    """

    support_description: ClassVar[str] = "non-negative counts"

    shape: tuple[int, ...] = eqx.field(static=True)
    log_level: Float[Array, "..."] = eqx.field(converter=_strong, default=0.0)
    log_concentration: Float[Array, "..."] = eqx.field(converter=_strong, default=1.0)

    def __check_init__(self):
        _check_log_scale(self.log_level, self.shape)
        _check_log_scale(self.log_concentration, self.shape)

    def __call__(self, features: Float[Array, " num_features"]) -> Distribution:
        mean = _rate(self._shaped(features, self.shape), self.log_level)
        concentration = jnp.broadcast_to(jnp.exp(self.log_concentration), self.shape)
        return dist.NegativeBinomial2(mean, concentration, validate_args=False).to_event(len(self.shape))


@final
class Multinomial(AbstractLikelihood):
    """Word counts of a document: log p(x) = sum_w x_w log softmax(f)_w (see `WordCounts`).

    Attributes:
        vocabulary: number of different words.
        total_count: number of words of a document that is drawn; what is observed may have any length.

    References:
        Marino (thesis), Table 3.3; Krishnan, Liang and Hoffman, "On the challenges of learning with inference networks on
        sparse, high-dimensional data", AISTATS 2018, whose perplexities leave the coefficient out.
    """

    support_description: ClassVar[str] = "non-negative counts"

    vocabulary: int = eqx.field(static=True)
    total_count: int = eqx.field(static=True, default=100)

    def __check_init__(self):
        if self.total_count < 0:
            raise BadInputError(f"Expected a number of words, got total_count={self.total_count}.")

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.vocabulary,)

    def __call__(self, features: Float[Array, " num_features"]) -> Distribution:
        return WordCounts(self._shaped(features, self.shape), self.total_count)


def _halves(
    likelihood: AbstractLikelihood, features: Float[Array, " n"], link: Nonlinearity, bounds: tuple[float, float]
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Means and standard deviations from the two halves of the features."""
    loc, log_variance = likelihood._shaped(features, (2, *likelihood.shape))
    return link(loc), jnp.exp(0.5 * jnp.clip(log_variance, *bounds))


def _rate(features: Float[Array, "..."], log_level: Float[Array, "..."]) -> Float[Array, "..."]:
    """exp(f + b), below what 32 bits hold even where a network is not trained yet."""
    return jnp.exp(jnp.clip(features + log_level, -_LARGEST_LOG_RATE, _LARGEST_LOG_RATE))


def _floored(log_scale: Float[Array, "..."], minimum: float, shape: tuple[int, ...]) -> Float[Array, "..."]:
    # In quadrature, not by `maximum`, under which a scale that fell below the floor would never be learned again.
    return jnp.broadcast_to(jnp.sqrt(jnp.exp(2.0 * log_scale) + minimum**2), shape)


def _grid(
    loc: Array | float, scale: Array | float, likelihood: DiscretizedGaussian | ConditionalDiscretizedGaussian
) -> DiscretizedNormal:
    return DiscretizedNormal(loc, scale, likelihood.bin_width, likelihood.low, likelihood.high, validate_args=False)


def _grid_description(bin_width: float, low: float | None, high: float | None) -> str:
    ends = f"{'-inf' if low is None else f'{low:g}'} to {'inf' if high is None else f'{high:g}'}"
    return f"numbers from {ends} in steps of {bin_width:g}"


def _check_log_scale(log_scale: Array, shape: tuple[int, ...]) -> None:
    if log_scale.shape not in ((), shape):
        raise BadInputError(
            f"Expected one log scale, or one for every entry of an observation of shape {shape}, got shape "
            f"{log_scale.shape}."
        )
