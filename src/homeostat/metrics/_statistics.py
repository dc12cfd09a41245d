"""Standard errors of proportions, ratios and arbitrary statistics; the tail of importance weights."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ..results import BadInputError
from ..typing import Array, Bool, Float, Key, PyTree, Scalar


class Estimated(NamedTuple):
    """A statistic and its standard error."""

    value: Scalar
    stderr: Scalar


def proportion(successes: Bool[Array, " n"]) -> Estimated:
    """Share of successes with its binomial standard error.

        stderr = sqrt(p (1 - p) / n),   p = (k + 1/2) / (n + 1)

    The half successes (Jeffreys) keep the error above zero when all trials agree.
    """
    num = successes.shape[0]
    if num < 1:
        raise BadInputError("Expected at least one trial, got none.")
    count = jnp.sum(successes)
    smoothed = (count + 0.5) / (num + 1.0)
    return Estimated(count / num, jnp.sqrt(smoothed * (1.0 - smoothed) / num))


def ratio_with_error(totals: Array | np.ndarray, sizes: Array | np.ndarray) -> Estimated:
    """A ratio of sums over paired rows with its standard error; no error (NaN) for a single row.

        m = sum_n F_n / sum_n T_n,   se^2 = N / (N - 1) sum_n (F_n - m T_n)^2 / (sum_n T_n)^2

    Args:
        totals: F_n, such as the free energy of a sequence.
        sizes: T_n, such as its steps.

    References:
        Cochran, Sampling Techniques (3rd ed., 1977), Sec. 2.11.
    """
    totals, sizes = np.asarray(totals, float), np.asarray(sizes, float)
    mean, num = totals.sum() / sizes.sum(), len(totals)
    variance = ((totals - mean * sizes) ** 2).sum() * num / (num - 1) if num > 1 else np.nan
    return Estimated(jnp.asarray(mean), jnp.asarray(np.sqrt(variance) / sizes.sum()))


_BLOCKS = 16


def ratio_over_blocks(totals: Sequence[np.ndarray], counted: Sequence[np.ndarray]) -> Estimated:
    """`ratio_with_error` over blocks of consecutive steps, for few sequences, whose neighbouring steps resemble one another.

    The steps of all sequences make about 16 blocks of one length (the last of a sequence may be shorter), in the hope that this
    is longer than what a step remembers. Blocks whose ends resemble one another make the error too small.

    Args:
        totals: of the steps of each sequence.
        counted: booleans, which steps the denominator counts.
    """
    length = -(-sum(map(len, totals)) // _BLOCKS)
    sums, sizes = [], []
    for total, count in zip(totals, counted, strict=True):
        starts = np.arange(0, len(total), length)
        sums.append(np.add.reduceat(np.asarray(total, float), starts))
        sizes.append(np.add.reduceat(np.asarray(count, float), starts))
    return ratio_with_error(np.concatenate(sums), np.concatenate(sizes))


def bootstrap(
    statistic: Callable[[PyTree], Scalar], data: PyTree, *, key: Key, num_resamples: int = 1_000
) -> Estimated:
    """A statistic of paired rows, with its standard error by resampling rows with replacement.

    Args:
        statistic: maps the data to a number.
        data: a tree of arrays with one common leading axis; a row is resampled in all of them at once.
        key: for the resamples.
        num_resamples: how many.

    References:
        Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7 (1979).
    """
    rows = {leaf.shape[0] for leaf in jax.tree.leaves(data)}
    if len(rows) != 1 or 0 in rows:
        raise BadInputError(f"Expected arrays with one common, positive number of rows, got {sorted(rows)}.")
    (num,) = rows

    def resampled(key: Key) -> Scalar:
        chosen = jr.randint(key, (num,), 0, num)
        return statistic(jax.tree.map(lambda leaf: leaf[chosen], data))

    values = jax.lax.map(resampled, jr.split(key, num_resamples), batch_size=64)
    return Estimated(statistic(data), jnp.std(values, ddof=1))


FEWEST_DRAWS = 25
"""Fewer draws leave fewer than five in the tail, too few for a fit."""


def pareto_shape(log_weights: Float[Array, " draws"]) -> Scalar:
    """k of a generalised Pareto distribution fitted to the largest importance weights.

    Below 0.5 the weights have a finite variance; from 0.7 on, averages over them are unreliable, and the distribution that
    was drawn from is a poor stand-in for the one that was weighed towards.

    Args:
        log_weights: log p(x, z) - log q(z) of draws from q, up to a constant.

    References:
        Vehtari et al., "Pareto smoothed importance sampling", JMLR 25 (2024); the estimator of Zhang and Stephens, "A new and
        efficient estimation method for the generalized Pareto distribution", Technometrics 51 (2009), with the weak prior of
        the former (ten draws at 1/2).
    """
    num = log_weights.shape[0]
    if num < FEWEST_DRAWS:
        raise BadInputError(f"Expected at least {FEWEST_DRAWS} draws to fit a tail, got {num}.")
    # min(S / 5, 3 sqrt(S)) of S weights make the tail, rounded up; the one before it is where the tail begins.
    tail = int(np.ceil(min(0.2 * num, 3.0 * np.sqrt(num))))
    largest = jnp.sort(log_weights)[-tail - 1 :]
    weights = jnp.exp(largest - largest[-1])
    excess = weights[1:] - weights[0]
    # Weights that are equal but for rounding have no tail. Without a floor at what rounding can tell apart, the fit would be
    # one of the rounding, or a division by zero.
    kind = jnp.finfo(excess.dtype)
    resolution = 10.0 * kind.eps * jnp.maximum(jnp.abs(largest[-1]), 1.0) * weights[0]
    excess = jnp.maximum(excess, jnp.maximum(resolution, kind.tiny * 1e8))
    num_grid = 30 + int(np.sqrt(tail))
    grid = 1.0 - jnp.sqrt(num_grid / (jnp.arange(1, num_grid + 1) - 0.5))
    quartile = excess[int(np.floor(tail / 4 + 0.5)) - 1]
    inverse_scale = grid / (3.0 * quartile) + 1.0 / excess[-1]
    shapes = jnp.mean(jnp.log1p(-inverse_scale[:, None] * excess[None, :]), axis=1)
    profile = tail * (jnp.log(-inverse_scale / shapes) - shapes - 1.0)
    best = jax.nn.softmax(profile) @ inverse_scale
    shape = jnp.mean(jnp.log1p(-best * excess))
    return (tail * shape + 10.0 * 0.5) / (tail + 10.0)
