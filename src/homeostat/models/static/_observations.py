"""Distributions of single observations that numpyro lacks, or has with a wrong derivative."""

from typing import ClassVar, final

import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist
from jax.scipy.special import gammaln
from numpyro.distributions import constraints

from ...typing import Array, Float, Int, Key, Scalar


@final
class BernoulliLikelihood(dist.BernoulliLogits):
    """A Bernoulli whose log probability, x l - softplus(l), also takes fractions x and is smooth in the logits l.

    The one of numpyro is written with max(l, 0) and |l|, whose derivatives at l = 0 add up to x instead of x - 1/2: a decoder
    that starts at zero logits would get a wrong first gradient.
    """

    support = constraints.unit_interval

    def log_prob(self, value: Float[Array, "..."] | Int[Array, "..."]) -> Float[Array, "..."]:
        """x l - softplus(l), entry by entry."""
        return value * self.logits - jax.nn.softplus(self.logits)


@final
class WordCounts(dist.Distribution):
    """The words of a document drawn independently, known by their counts x: log p = sum_w x_w log softmax(logits)_w.

    This is the probability of the words in the order in which they stand. The multinomial coefficient, the number of such
    orders, is left out: it depends on x alone, so neither inference nor learning sees it, and perplexity, a figure per word,
    is defined without it. `log_multinomial_coefficient` gives it for the probability of the counts themselves.

    Args:
        logits: [vocabulary].
        total_count: number of words of a sample, and the count that `mean` and `variance` speak of.
    """

    arg_constraints: ClassVar = {"logits": constraints.real_vector}
    pytree_data_fields = ("logits",)
    pytree_aux_fields = ("total_count",)

    def __init__(self, logits: Float[Array, " vocabulary"], total_count: int, *, validate_args: bool | None = None):
        self.logits, self.total_count = logits, total_count
        super().__init__(batch_shape=(), event_shape=jnp.shape(logits), validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.nonnegative, 1)

    @property
    def probs(self) -> Float[Array, " vocabulary"]:
        """Probability of every word."""
        return jax.nn.softmax(self.logits)

    def sample(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Float[Array, "*sample vocabulary"]:
        if sample_shape:
            draw = self.sample
            for _ in sample_shape:
                draw = jax.vmap(draw)
            return draw(jr.split(key, sample_shape))
        # By inversion: the usual Gumbel draw would fill a table of words times vocabulary.
        cumulative = jnp.cumsum(self.probs)
        uniforms = cumulative[-1] * jr.uniform(key, (self.total_count,), cumulative.dtype)
        words = jnp.searchsorted(cumulative, uniforms, side="right")
        words = jnp.minimum(words, self.logits.shape[0] - 1)
        return jnp.zeros_like(cumulative).at[words].add(1.0)

    def log_prob(self, value: Float[Array, " vocabulary"] | Int[Array, " vocabulary"]) -> Scalar:
        return jnp.sum(value * jax.nn.log_softmax(self.logits))

    @property
    def mean(self) -> Float[Array, " vocabulary"]:
        return self.total_count * self.probs

    @property
    def variance(self) -> Float[Array, " vocabulary"]:
        return self.total_count * self.probs * (1.0 - self.probs)


def log_multinomial_coefficient(counts: Float[Array, " vocabulary"] | Int[Array, " vocabulary"]) -> Scalar:
    """log n! / prod_w x_w!, in nats: what turns the probability of words in order into that of their counts."""
    return gammaln(jnp.sum(counts) + 1.0) - jnp.sum(gammaln(counts + 1.0))
