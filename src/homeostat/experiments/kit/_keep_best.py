"""Choice by validation inside a learner."""

from collections.abc import Callable
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ...core import AbstractLearner
from ...typing import Array, Key, PyTree, Scalar


class KeepBestState(NamedTuple):
    """State of training with `KeepBest`.

    Attributes:
        inner: of the learner itself.
        learned: the best so far.
        validation_nats: its value.
    """

    inner: Any
    learned: PyTree
    validation_nats: Scalar

    @property
    def failure(self) -> Any:
        """Why updates stopped, if they did."""
        return self.inner.failure


@final
class KeepBest(AbstractLearner[KeepBestState, Any]):
    """A learner that keeps the numbers with the lowest validation.

    Attributes:
        learner: the learner.
        validate: `validate(learned, key=...)`, in nats.
        every: updates between validations; the first is after so many.
    """

    learner: AbstractLearner
    validate: Callable[..., Array]
    every: int = eqx.field(static=True)

    def init(self, *, key: Key) -> KeepBestState:
        inner = self.learner.init(key=key)
        return KeepBestState(inner, inner.learned, jnp.full((), jnp.inf, jnp.result_type(float)))

    def update(self, state: KeepBestState, batch: PyTree, *, key: Key) -> tuple[KeepBestState, Any]:
        update_key, validation_key = jr.split(key)
        inner, metrics = self.learner.update(state.inner, batch, key=update_key)
        now, rest = eqx.partition(inner.learned, eqx.is_array)
        best = eqx.filter(state.learned, eqx.is_array)

        def validate() -> tuple[PyTree, Scalar]:
            nats = self.validate(inner.learned, key=validation_key).astype(state.validation_nats.dtype)
            better = nats < state.validation_nats
            kept = jax.tree.map(lambda new, old: jnp.where(better, new, old), now, best)
            return kept, jnp.where(better, nats, state.validation_nats)

        best, nats = jax.lax.cond(inner.step % self.every == 0, validate, lambda: (best, state.validation_nats))
        return KeepBestState(inner, eqx.combine(best, rest), nats), metrics
