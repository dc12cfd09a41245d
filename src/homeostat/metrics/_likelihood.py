"""How likely data are under a model: importance-weighted estimates with their errors, and the units they are told in.

    log p(x) ~ log (1/S) sum_s w_s,   w_s = p(x, z_s) / q(z_s),   z_s ~ q

The logarithm makes the estimate low on average (Jensen): its mean rises with S towards log p(x), and the bias is about
half the variance of the mean weight over its square, that is half the square of the standard error reported here, once the
weights have a variance (Pareto k below 0.5). With heavy tails both the estimate and its standard error are too small.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr

from ..core import AbstractModel
from ..objectives import FreeEnergy, evidence_of
from ..results import BadInputError
from ..typing import Array, Distribution, Float, Int, Key, Observation, Scalar
from ._statistics import FEWEST_DRAWS, Estimated, pareto_shape


class LikelihoodEstimate(NamedTuple):
    """log p(x) from importance-weighted samples; every field of one row, or with a leading axis of rows.

    Attributes:
        log_likelihood_nats: the estimate, low on average.
        stderr_nats: its standard error by the delta method, std(w) / (mean(w) sqrt(S)).
        pareto_k: shape of the tail of the weights; below 0.5 the standard error can be trusted, from 0.7 on neither number.
            NaN with fewer than 25 samples.
        effective_samples: (sum w)^2 / sum w^2, between 1 and S.
        elbo_nats: mean of log w, the bound on log p(x) from the same samples.
        elbo_stderr_nats: its standard error, std(log w) / sqrt(S).
    """

    log_likelihood_nats: Float[Array, "*rows"]
    stderr_nats: Float[Array, "*rows"]
    pareto_k: Float[Array, "*rows"]
    effective_samples: Float[Array, "*rows"]
    elbo_nats: Float[Array, "*rows"]
    elbo_stderr_nats: Float[Array, "*rows"]


def log_likelihood(
    model: AbstractModel,
    distribution: Distribution,
    observation: Observation,
    *,
    key: Key,
    num_samples: int = 5_000,
    chunk: int = 250,
    prior: Distribution | None = None,
) -> LikelihoodEstimate:
    """Importance-weighted estimate of log p(x) for one observation.

    Samples are drawn and weighed `chunk` at a time, and only their weights are kept. Sample s has the key
    `fold_in(key, s)`, so the result does not depend on `chunk`, apart from rounding.

    Args:
        model: gives p(z) and p(x | z).
        distribution: q(z), for instance `posterior.distribution`; must have a density, so not a point.
        observation: x; `Masked` for log p of its known entries.
        key: random key.
        num_samples: S.
        chunk: samples worked on at once.
        prior: in place of the model's own.

    Raises:
        BadInputError: fewer than two samples, or an empty chunk.

    References:
        Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders", ICLR 2016, Sec. 3; Marino (thesis), Sec. 3.5,
        with S = 5,000.
    """
    objective, evidence = FreeEnergy(model), evidence_of(observation, prior)

    def log_weight(sample_key: Key) -> Scalar:
        # The energy takes a key by its protocol; that of a static model has no use for it.
        z = distribution.sample(sample_key)
        return -objective.pointwise(z, evidence, key=sample_key) - distribution.log_prob(z)

    return summarize_weights(log_weight, key=key, num_samples=num_samples, chunk=chunk)


def summarize_weights(
    log_weight: Callable[[Key], Scalar], *, key: Key, num_samples: int, chunk: int
) -> LikelihoodEstimate:
    """Draw `num_samples` log weights, `chunk` at a time, and summarise them as an estimate of log E[w].

    Args:
        log_weight: `log_weight(key)` draws one; all keys come from `key` by `fold_in` with the sample's number.
        key: random key.
        num_samples: S, at least two.
        chunk: draws worked on at once.
    """
    if num_samples < 2 or chunk < 1:
        raise BadInputError(
            f"Expected at least two samples and chunks of at least one, got num_samples={num_samples} and chunk={chunk}."
        )
    num_chunks = -(-num_samples // chunk)
    # Equal chunks: a shorter last one would be compiled anew.
    size = -(-num_samples // num_chunks)
    numbers = jnp.arange(num_chunks * size)
    drawn = jax.lax.map(lambda number: log_weight(jr.fold_in(key, number)), numbers, batch_size=size)
    log_weights = drawn[:num_samples]
    largest = jnp.max(log_weights)
    # Relative to the largest one, so that none overflows.
    shift = jnp.where(jnp.isfinite(largest), largest, 0.0)
    weights = jnp.exp(log_weights - shift)
    mean, root = jnp.mean(weights), jnp.sqrt(float(num_samples))
    return LikelihoodEstimate(
        jnp.log(mean) + shift,
        jnp.std(weights, ddof=1) / mean / root,
        pareto_shape(log_weights) if num_samples >= FEWEST_DRAWS else jnp.full((), jnp.nan, mean.dtype),
        jnp.sum(weights) ** 2 / jnp.sum(weights**2),
        jnp.mean(log_weights),
        jnp.std(log_weights, ddof=1) / root,
    )


def bits_per_dimension(
    nll_nats: Float[Array, "*rows"] | float, num_dimensions: float, *, log_bin_nats: float = 0.0
) -> Float[Array, "*rows"]:
    """(-log p(x) + D b) / (D log 2): code length of one dimension of x, in bits.

    Args:
        nll_nats: -log p(x) of whole examples.
        num_dimensions: D; of rows with missing entries the mean number of known ones.
        log_bin_nats: b, the logarithm of the number of bins in a unit of x. Zero for probabilities of discrete data. A
            *density* on [0, 1] of dequantised values 0..255 becomes one on [0, 256] with b = log 256, since
            -log p(256 x) = -log p(x) + D log 256; it then bounds the code length of the integers.

    References:
        Theis, van den Oord and Bethge, "A note on the evaluation of generative models", ICLR 2016, Sec. 3.1; Marino (thesis),
        Table 3.2.
    """
    if num_dimensions <= 0:
        raise BadInputError(f"Expected a positive number of dimensions, got num_dimensions={num_dimensions}.")
    return (jnp.asarray(nll_nats) / num_dimensions + log_bin_nats) / jnp.log(2.0)


def perplexity(
    log_likelihood_nats: Float[Array, " documents"], num_words: Float[Array, " lengths"] | Int[Array, " lengths"]
) -> Estimated:
    """exp(-(1/N) sum_i log p(x_i) / n_i), with its standard error over documents by the delta method.

    With a lower bound on log p(x_i) it is an upper bound on the perplexity.

    Args:
        log_likelihood_nats: log p of each document's words. A multinomial's log probability counts every order of the words;
            take its coefficient off first if the perplexity of the words in their order is meant.
        num_words: n_i, the number of words in each document.

    Raises:
        BadInputError: the shapes differ, there is no document, or one without words.

    References:
        Marino (thesis), below Table 3.3.
    """
    log_likelihood_nats, num_words = jnp.asarray(log_likelihood_nats), jnp.asarray(num_words)
    if log_likelihood_nats.shape != num_words.shape or log_likelihood_nats.size == 0:
        raise BadInputError(
            f"Expected one log-likelihood and one number of words for every document, got shapes "
            f"{log_likelihood_nats.shape} and {num_words.shape}."
        )
    if bool(jnp.any(num_words <= 0)):
        raise BadInputError(
            "Expected documents with at least one word each, got an empty one: leave empty documents out."
        )
    rates = -log_likelihood_nats / num_words
    value = jnp.exp(jnp.mean(rates))
    return Estimated(value, value * mean_with_error(rates).stderr)


def mean_with_error(values: Float[Array, " n"]) -> Estimated:
    """Mean over rows with its standard error std / sqrt(n); NaN for a single row."""
    num = values.shape[0]
    return Estimated(
        jnp.mean(values), jnp.std(values, ddof=1) / jnp.sqrt(float(num)) if num > 1 else jnp.asarray(jnp.nan)
    )
