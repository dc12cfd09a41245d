"""What a model predicts from the past and what it makes of it after the update, as in Fig. 4.3."""

from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np

from ...inference import Filtered, ModelWithFilter, filter
from ...inference.filters import MixtureBelief
from ...results import BadInputError
from ...typing import Array, Carry, Float, Key
from ._clips import Clips, Recordings


class Shown(NamedTuple):
    """Scored steps of one sequence.

    Attributes:
        seen: what came.
        predicted: mean of p(x_t | h_t, z_t) at the mean of p(z_t | h_t).
        updated: the same at the mean of q(z_t).
    """

    seen: Float[np.ndarray, "time ..."]
    predicted: Float[np.ndarray, "time ..."]
    updated: Float[np.ndarray, "time ..."]


def predictions_and_updates(
    learned: ModelWithFilter, data: Recordings, *, key: Key, sequence: int = 0, num_steps: int = 100
) -> Shown:
    """Outputs before and after the update along a test sequence.

    Args:
        learned: model and filter.
        data: whose test sequence of the first group is shown.
        key: random key.
        sequence: its number in the group.
        num_steps: scored steps at most.

    Raises:
        BadInputError: the filter does not sample the past.
    """
    group = data.test[0]
    time = min(int(group.lengths[sequence]), num_steps + 1)
    one = Clips(group.values[sequence : sequence + 1, :time], np.array([time], np.int32))
    batch = jax.tree.map(lambda leaf: leaf[0], data.sequences(one))
    before, after = _outputs(learned, batch.observations, batch.actions, batch.mask, key)
    return Shown(*(np.asarray(part)[1:] for part in (batch.observations, before, after)))


@eqx.filter_jit
def _outputs(learned: ModelWithFilter, values: Array, actions: object, mask: Array, key: Key) -> tuple[Array, Array]:
    found: Filtered = filter(learned.filter, learned.model, values, actions, key=key, mask=mask, throw=False)
    if not isinstance(found.predictions, MixtureBelief):
        raise BadInputError(
            f"Expected a filter that samples the past (PastSamples), got beliefs of type {type(found.predictions).__name__}."
        )
    carries = jax.tree.map(lambda leaf: leaf[:, 0], found.predictions.past.carry)

    def mean(carry: Carry, state: Array) -> Array:
        return learned.model.emission_given(carry, state).mean

    return jax.vmap(mean)(carries, found.predictions.mean), jax.vmap(mean)(carries, found.beliefs.mean)
