"""Standard errors of proportions, ratios and arbitrary statistics."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ..results import BadInputError
from ..typing import Array, Bool, Key, PyTree, Scalar


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
