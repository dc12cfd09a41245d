"""Sequences for learners: ragged and with missing entries, brought into one form with time first."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ...core import AbstractSequentialModel
from ...models.sequential import Given, pad_actions
from ...results import BadInputError
from ...typing import Array, Bool, Float, Int, Key, PyTree
from .._filter import length_mask, masked


class SequenceBatch(NamedTuple):
    """Sequences, padded to one length; every array has leading axes [batch, time].

    Attributes:
        observations: x; NaN where missing.
        actions: a, [batch, time - 1, ...]; None for a model without actions.
        lengths: of each sequence, [batch]; None if all have the full length.
        mask: True where observed, [batch, time] or of the shape of the observations; None if all are.
        models: a model for each sequence, arrays with a leading axis [batch], in place of the learned one: then a filter is taught
            what a whole family of models has in common, and no model learns. None otherwise.
    """

    observations: PyTree
    actions: PyTree | None = None
    lengths: Int[Array, " batch"] | None = None
    mask: PyTree | None = None
    models: AbstractSequentialModel | None = None

    @property
    def seen(self) -> PyTree:
        """Observations with NaN, or as `Masked` where their type has no NaN, for what is missing or beyond the end."""
        seen = self.observations if self.mask is None else jax.vmap(masked)(self.observations, self.mask)
        if self.lengths is None:
            return seen
        time = jax.tree.leaves(self.observations)[0].shape[1]
        return jax.vmap(masked)(seen, length_mask(self.lengths, time))


class StreamBatch(NamedTuple):
    """The next piece of several streams; every array has leading axes [streams, time].

    Attributes:
        observations: x; NaN where missing.
        actions: a, [streams, time, ...]: the last of them leads to the next piece; None for a model without actions.
        fresh: True where a stream begins anew with this piece, [streams]; None if none does.
        mask: True where observed, as for `SequenceBatch`.
    """

    observations: PyTree
    actions: PyTree | None = None
    fresh: Bool[Array, " streams"] | None = None
    mask: PyTree | None = None


def condition_on_first(values: Float[Array, "batch time *shape"], lengths: Int[Array, " batch"]) -> SequenceBatch:
    """Sequences for a `ConditionedOnFirst` model: the first step is hidden from inference and handed on as an action.

    Args:
        values: padded sequences.
        lengths: steps of each, at least 2.
    """
    num, time = values.shape[:2]
    mask = jnp.broadcast_to(jnp.arange(time)[None, :] > 0, (num, time))
    given = jnp.broadcast_to(jnp.arange(time - 1)[None, :] == 0, (num, time - 1))
    return SequenceBatch(
        values, Given(values[:, :-1], given), lengths, jnp.broadcast_to(_like(mask, values), values.shape)
    )


def random_crops(
    values: Array, lengths: Int[Array, " batch"], length: int, *, key: Key
) -> tuple[Array, Int[Array, " batch"]]:
    """A piece from a random place of each sequence, whole where it is shorter; values and lengths.

    Args:
        values: padded sequences, [batch, time, ...], with time at least `length`.
        lengths: steps of each.
        length: steps of a piece.
        key: random key.
    """
    lengths = jnp.asarray(lengths)
    used = jnp.minimum(lengths, length)
    places = jr.uniform(key, lengths.shape) * (lengths - used + 1)
    starts = jnp.minimum(places.astype(lengths.dtype), lengths - used)
    return jax.vmap(lambda row, start: jax.lax.dynamic_slice_in_dim(row, start, length))(values, starts), used


class TimeMajor(NamedTuple):
    """What a loop over time reads; leading axes [time, batch].

    Attributes:
        observations: NaN, or `Masked`, where missing.
        actions: one for each observation; the last of a sequence does not count.
    """

    observations: PyTree
    actions: PyTree | None


def time_major(batch: SequenceBatch | StreamBatch, multiple: int | None = None) -> TimeMajor:
    """The batch with time first, masked, and padded to a multiple of so many steps by steps at which nothing is observed."""
    leading = {leaf.shape[:2] for leaf in jax.tree.leaves(batch.observations)}
    if len(leading) != 1 or len(next(iter(leading))) < 2 or 0 in next(iter(leading)):
        raise BadInputError(
            f"Expected observations with leading axes (batch, time), at least one of each and the same for all arrays, got "
            f"shapes {[leaf.shape for leaf in jax.tree.leaves(batch.observations)]}."
        )
    (num, time) = next(iter(leading))
    actions = batch.actions
    if isinstance(batch, SequenceBatch):
        _check_leading("actions", actions, (num, time - 1))
        actions = jax.tree.map(lambda leaf: _pad(leaf, 1), actions)
    else:
        _check_leading("actions", actions, (num, time))
    _check_leading("a mask", batch.mask, (num, time))
    mask = batch.mask
    if isinstance(batch, SequenceBatch) and batch.lengths is not None:
        _check_leading("lengths", batch.lengths, (num,))
        within = length_mask(batch.lengths, time)
        mask = within if mask is None else jax.tree.map(lambda leaf: leaf & _like(within, leaf), mask)
    observations = batch.observations
    extra = 0 if multiple is None or time <= multiple else -time % multiple
    if extra:
        whole = jnp.ones((num, time), bool) if mask is None else mask
        mask = jax.tree.map(lambda leaf: _pad(leaf, extra), whole)
        observations, actions = jax.tree.map(lambda leaf: _pad(leaf, extra), (observations, actions))
    actions = pad_actions(actions, _taken(batch, num, time, extra))
    if isinstance(batch, SequenceBatch):
        _check_leading("models", eqx.filter(batch.models, eqx.is_array), (num,))
    if mask is not None:
        observations = jax.vmap(masked)(observations, mask)
    return TimeMajor(*jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), (observations, actions)))


def _taken(batch: SequenceBatch | StreamBatch, num: int, time: int, extra: int) -> Bool[Array, "batch time"]:
    """Which of the padded actions lead from one step that exists to another, or to the next piece of a stream."""
    last = jnp.full(num, time)
    if isinstance(batch, SequenceBatch):
        last = (last if batch.lengths is None else batch.lengths) - 1
    return jnp.arange(time + extra)[None, :] < last[:, None]


def _pad(leaf: Array, extra: int) -> Array:
    return jnp.concatenate([leaf, jnp.zeros((leaf.shape[0], extra, *leaf.shape[2:]), leaf.dtype)], axis=1)


def _like(within: Bool[Array, "batch time"], leaf: Array) -> Array:
    return within.reshape(within.shape + (1,) * (leaf.ndim - 2))


def _check_leading(name: str, tree: PyTree, expected: tuple[int, ...]) -> None:
    got = {leaf.shape[: len(expected)] for leaf in jax.tree.leaves(tree)}
    if got and got != {expected}:
        raise BadInputError(f"Expected {name} with leading axes {expected}, got {sorted(got)}.")
