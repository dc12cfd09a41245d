"""Learning from streams that do not end: one piece an update, beliefs kept between updates."""

from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ..core import AbstractBelief, AbstractLearner
from ..results import BadInputError
from ..typing import Key, PyTree
from ._sequence_batch import StreamBatch, time_major
from ._sequence_learning import FilteringDescent, FilteringMetrics, FilteringState


class StreamState(NamedTuple):
    """What training on streams carries on.

    Attributes:
        filtering: of the descent.
        beliefs: predictions for the next observation of every stream.
    """

    filtering: FilteringState
    beliefs: AbstractBelief


@final
class StreamingDescent(AbstractLearner[StreamState, FilteringMetrics]):
    """`FilteringDescent` on pieces of long sequences: each update goes on from the beliefs where the one before ended.

    Gradients do not cross pieces; memory and time of an update depend on the piece alone.

    Attributes:
        descent: what to learn and how; its `prepare` is applied to each piece.
        num_streams: sequences that are followed side by side.
    """

    descent: FilteringDescent
    num_streams: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        if self.num_streams < 1:
            raise BadInputError(f"Expected at least one stream, got num_streams={self.num_streams}.")

    def init(self, *, key: Key) -> StreamState:
        descent_key, begin_key = jr.split(key)
        state = self.descent.init(key=descent_key)
        beliefs = self.descent.begin(state.learned, self.num_streams, key=begin_key)
        return StreamState(state, jax.tree.map(lambda leaf: jnp.asarray(leaf, leaf.dtype), beliefs))

    def update(
        self, state: StreamState, batch: StreamBatch | PyTree, *, key: Key
    ) -> tuple[StreamState, FilteringMetrics]:
        prepare_key, key = jr.split(key)
        batch = batch if self.descent.prepare is None else self.descent.prepare(batch, key=prepare_key)
        batch = batch if isinstance(batch, StreamBatch) else StreamBatch(batch)
        pieces = time_major(batch)
        num, time = jax.tree.leaves(batch.observations)[0].shape[:2]
        if num != self.num_streams:
            raise BadInputError(f"Expected the next piece of {self.num_streams} streams, got {num}.")
        if self.descent.truncation is not None and time % self.descent.truncation:
            raise BadInputError(
                f"Expected pieces of a multiple of {self.descent.truncation} steps, the truncation, got {time}."
            )
        fresh = jnp.zeros(num, bool) if batch.fresh is None else batch.fresh
        filtering, metrics, beliefs = self.descent.descend(state.filtering, pieces, state.beliefs, fresh, key=key)
        # Remembered observations may have come in another type than the model draws them in.
        beliefs = jax.tree.map(lambda new, old: new.astype(old.dtype), beliefs, state.beliefs)
        return StreamState(filtering, beliefs), metrics
