"""What a learner does when a number is not finite: it keeps the last good numbers and remembers what went wrong first."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from ...typing import Array, Bool, Float, Int, PyTree, Scalar


class Failure(NamedTuple):
    """The first update that was refused because something was not finite; the numbers before it are kept.

    Attributes:
        step: number of the update, counted from 0; -1 if there was none.
        distortion: the distortion was not finite; for exact models, the likelihood.
        rate: a rate was not.
        gradient: a gradient or an updated number was not, though the terms were.
    """

    step: Int[Array, ""]
    distortion: Bool[Array, ""]
    rate: Bool[Array, ""]
    gradient: Bool[Array, ""]


def no_failure() -> Failure:
    """The record before the first failure."""
    fine = jnp.zeros((), bool)
    return Failure(jnp.full((), -1, jnp.int32), fine, fine, fine)


def first_failure(
    before: Failure, step: Int[Array, ""], distortion_nats: Scalar, rates_nats: Float[Array, "..."], numbers: PyTree
) -> Failure:
    """The record after an update: an earlier failure, or what is not finite now.

    Args:
        before: the record so far.
        step: number of this update.
        distortion_nats: of this update; or minus the log likelihood.
        rates_nats: of this update; zeros where there are none.
        numbers: gradients, or numbers that the update would set.
    """
    distortion, rate = ~jnp.isfinite(distortion_nats), ~jnp.all(jnp.isfinite(rates_nats))
    lost = ~all_finite(numbers)
    at = jnp.where(distortion | rate | lost, step, -1).astype(before.step.dtype)
    now = Failure(at, distortion, rate, lost & ~distortion & ~rate)
    return jax.tree.map(lambda old, new: jnp.where(before.step >= 0, old, new), before, now)


def unless_failed(failure: Failure, update: Callable[[PyTree], PyTree], before: PyTree) -> PyTree:
    """`update(before)`, or from a failure on `before`, arrays all of them. A branch costs less than a choice for every number."""
    return jax.lax.cond(failure.step < 0, update, lambda kept: kept, before)


def all_finite(tree: PyTree) -> Bool[Array, ""]:
    """Whether every number of a tree is finite."""
    leaves = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_array))]
    return jnp.all(jnp.stack(leaves)) if leaves else jnp.ones((), bool)
