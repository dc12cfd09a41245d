"""Standard errors of proportions and of arbitrary statistics."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr

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
