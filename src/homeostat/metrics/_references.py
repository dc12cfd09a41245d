"""What models without latents and without memory score: every entry of an observation a draw of its own.

Frequencies and moments are those of the training rows; scores are means over test rows.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ..models.static import ConditionalDiscretizedGaussian
from ..typing import Array, Float


def independent_bernoulli_nats(
    train: Float[np.ndarray, "n size"] | np.ndarray, test: Float[np.ndarray, "m size"] | np.ndarray
) -> float:
    """Mean -log p of binary test rows under independent Bernoulli variables.

    Frequencies are (k + 1) / (n + 2), with k ones among n training rows, so that none is zero.
    """
    frequency = (train.sum(axis=0) + 1.0) / (len(train) + 2.0)
    return -float(np.mean(test @ np.log(frequency) + (1.0 - test) @ np.log1p(-frequency)))


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


def word_frequencies(train: Float[np.ndarray, "n words"]) -> Float[np.ndarray, " words"]:
    """Frequency of every word in the training rows; each is counted once more than it occurs, so that none is zero."""
    counts = train.sum(axis=0) + 1.0
    return counts / counts.sum()
