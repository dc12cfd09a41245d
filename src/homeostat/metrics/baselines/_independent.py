"""What models without latents and without memory score: every entry of an observation a draw of its own.

Frequencies and moments are those of the training rows. What is missing (NaN) is left out. Frequencies have pseudo-counts, so
that none is zero: one of each for the two values of a binary entry and for words; for the K levels of an entry 1/K each.
"""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import gammaln, ndtr

from ...models.static import ConditionalDiscretizedGaussian
from ...typing import Array, Float


def independent_bernoulli_nats(
    train: Float[np.ndarray, "n size"] | np.ndarray, test: Float[np.ndarray, "m size"] | np.ndarray
) -> float:
    """Mean -log p of binary test rows under independent Bernoulli variables (`bernoulli_frequencies`)."""
    return -float(np.mean(bernoulli_log_densities(test, bernoulli_frequencies(train))))


def bernoulli_frequencies(train: Float[np.ndarray, "n size"] | np.ndarray) -> Float[np.ndarray, " size"]:
    """(k + 1) / (n + 2), with k ones among the n values of each entry."""
    return (np.nansum(train, axis=0) + 1.0) / ((~np.isnan(train)).sum(axis=0) + 2.0)


def bernoulli_log_densities(
    values: Float[np.ndarray, "n size"] | np.ndarray, frequencies: Float[np.ndarray, "*n size"]
) -> Float[np.ndarray, " n"]:
    """sum x log f + (1 - x) log(1 - f) of each row: for a fraction x the expectation over draws of 0 and 1."""
    return np.nansum(values * np.log(frequencies) + (1.0 - values) * np.log1p(-frequencies), axis=1)


def independent_gaussian_nats(train: Float[np.ndarray, "n size"], test: Float[np.ndarray, "m size"]) -> float:
    """Mean -log density of test rows under independent Gaussians with the training rows' moments."""
    # A pixel that never changes would have no density.
    mean, variance = train.mean(axis=0), train.var(axis=0) + 1e-5
    density = (test - mean) ** 2 / variance + np.log(2.0 * np.pi * variance)
    return 0.5 * float(np.mean(density.sum(axis=1)))


def independent_discretized_nats(
    likelihood: ConditionalDiscretizedGaussian, train: np.ndarray | Array, test: np.ndarray | Array
) -> float:
    """Mean -log p of test rows under a discretised Gaussian with constant features.

    The mean of each entry is that of the training rows; the variance around these means is the same for all, because its own
    would be too small for any surprise where an entry hardly changes.

    Args:
        likelihood: of the models to compare with.
        train: rows in the model's units, [n, ...].
        test: rows in the model's units, [m, ...].
    """
    known = np.asarray(train, np.float64)
    mean = known.mean(axis=0).ravel()
    variance = np.full_like(mean, known.var(axis=0).mean())
    # A sigmoid of a mean of exactly zero would need features without bound.
    fraction = np.clip(mean, 1e-4, 1.0 - 1e-4)
    loc = mean if likelihood.link is not jax.nn.sigmoid else np.log(fraction) - np.log1p(-fraction)
    fixed = likelihood(jnp.asarray(np.concatenate([loc, np.log(variance)]), jnp.result_type(float)))
    return -float(jnp.mean(jax.lax.map(fixed.log_prob, jnp.asarray(test, jnp.result_type(float)))))


def count_rates(train: np.ndarray) -> Float[np.ndarray, " size"]:
    """(sum of the counts + 1/2) / (n + 1) of each entry, so that none is zero."""
    return (np.nansum(train, axis=0) + 0.5) / ((~np.isnan(train)).sum(axis=0) + 1.0)


def poisson_log_densities(values: np.ndarray, rates: Float[np.ndarray, " size"]) -> Float[np.ndarray, " n"]:
    """Sum of x log m - m - log x! over the entries of each row."""
    return np.nansum(values * np.log(rates) - rates - gammaln(values + 1.0), axis=1)


def dispersions(train: np.ndarray, rates: Float[np.ndarray, " size"]) -> Float[np.ndarray, " size"]:
    """r of a negative binomial of variance m + m^2 / r, by moments; a million where the counts scatter no more than Poisson's."""
    variance = np.nanmean((train - rates) ** 2, axis=0)
    return np.clip(rates**2 / np.maximum(variance - rates, 1e-12), 1e-3, 1e6)


def negative_binomial_log_densities(
    values: np.ndarray, rates: Float[np.ndarray, " size"], sizes: Float[np.ndarray, " size"]
) -> Float[np.ndarray, " n"]:
    """Sum of log p over the entries of each row, with means m and variances m + m^2 / r."""
    counts = gammaln(values + sizes) - gammaln(sizes) - gammaln(values + 1.0)
    nats = counts + sizes * np.log(sizes / (sizes + rates)) + values * np.log(rates / (sizes + rates))
    return np.nansum(nats, axis=1)


def word_frequencies(train: Float[np.ndarray, "n words"]) -> Float[np.ndarray, " words"]:
    """Frequency of every word in the training rows; each is counted once more than it occurs, so that none is zero."""
    counts = train.sum(axis=0) + 1.0
    return counts / counts.sum()


def level_frequencies(train: np.ndarray, num_levels: int) -> Float[np.ndarray, "size levels"]:
    """(k_v + 1/K) / (n + 1) for the levels v = 0, ..., K - 1 of each entry: the pseudo-counts weigh as much as one row."""
    known, size = ~np.isnan(train), train.shape[1]
    places = np.broadcast_to(np.arange(size) * num_levels, train.shape)[known] + train[known].astype(np.int64)
    counts = np.bincount(places, minlength=size * num_levels).reshape(size, num_levels)
    return (counts + 1.0 / num_levels) / (known.sum(axis=0)[:, None] + 1.0)


def gaussian_level_frequencies(train: np.ndarray, num_levels: int) -> Float[np.ndarray, "size levels"]:
    """Masses of a Gaussian with the entry's moments between the levels' borders; pseudo-counts as for `level_frequencies`."""
    count = (~np.isnan(train)).sum(axis=0)[:, None]
    some = np.maximum(count, 1)
    mean = np.nansum(train, axis=0)[:, None] / some
    # Numbers were rounded to levels: 1/12 is the variance of the rounding.
    scale = np.sqrt(np.nansum((train - mean.T) ** 2, axis=0)[:, None] / some + 1.0 / 12.0)
    below = ndtr((np.arange(1, num_levels)[None, :] - 0.5 - mean) / scale)
    ends = np.zeros((len(mean), 1))
    masses = np.diff(np.concatenate([ends, below, ends + 1.0], axis=1), axis=1)
    return (count * masses + 1.0 / num_levels) / (count + 1.0)


def level_log_densities(values: np.ndarray, frequencies: Float[np.ndarray, "size levels"]) -> Float[np.ndarray, " n"]:
    """Sum of log f over the entries of each row, whole numbers from 0 on."""
    known = ~np.isnan(values)
    levels = np.where(known, values, 0).astype(np.int64)
    nats = np.log(frequencies)[np.arange(values.shape[1])[None, :], levels]
    return np.where(known, nats, 0.0).sum(axis=1)
