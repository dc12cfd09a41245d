"""`filter`: run any filter over a sequence."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ..core import AbstractBelief, AbstractFilter, AbstractModel, FilterInfo
from ..results import RESULTS, BadInputError
from ..typing import Action, Array, Float, Key, Observation, PyTree, Scalar


class Filtered(NamedTuple):
    """What a filter found; every array has a leading time axis.

    Attributes:
        beliefs: beliefs about z_t after x_t.
        predictions: beliefs about z_t before x_t.
        info: what each update measured.
    """

    beliefs: AbstractBelief
    predictions: AbstractBelief
    info: FilterInfo

    @property
    def free_energy_nats(self) -> Scalar:
        """Sum over time: -log p(x_1, ..., x_T) for exact filters, an upper bound for variational ones."""
        return jnp.sum(self.info.free_energy_nats)


@eqx.filter_jit
def filter(
    method: AbstractFilter,
    model: AbstractModel,
    observations: Observation,
    actions: Action | None = None,
    *,
    key: Key,
    throw: bool = True,
) -> Filtered:
    """Beliefs along a sequence x_1, a_1, x_2, ..., a_{T-1}, x_T: update with x_t, then predict with a_t.

    Unbatched; for many sequences `jax.vmap` over observations, actions and keys. Compiled on first use.

    Args:
        method: any filter.
        model: the model it believes in.
        observations: x_1, ..., x_T on a leading time axis; NaN where missing, for filters that know missing data.
        actions: a_1, ..., a_{T-1} on a leading time axis; None for a model without actions.
        key: split over time.
        throw: raise if a free energy is not finite; with False, look at `info`.

    Returns:
        Beliefs, predictions and free energies in nats.

    Raises:
        BadInputError: lengths of observations and actions do not fit.
    """
    length = sequence_length(observations, actions)
    first_key, *_ = keys = jr.split(key, 2 * length + 1)
    keys = keys[1:].reshape(length, 2)
    # The last prediction of the scan is thrown away, so its action does not matter; it only completes the array.
    padded = jax.tree.map(lambda leaf: jnp.concatenate([leaf, jnp.zeros((1, *leaf.shape[1:]), leaf.dtype)]), actions)

    def body(prediction, inputs):
        observation, action, step_keys = inputs
        belief, info = method.update(model, prediction, observation, key=step_keys[0])
        return method.predict(model, belief, action, key=step_keys[1]), (belief, prediction, info)

    start = _match(method, model, method.init(model, key=first_key), observations, padded, keys)
    _, (beliefs, predictions, info) = jax.lax.scan(body, start, (observations, padded, keys))
    if throw:
        finite = jnp.all(jnp.isfinite(info.free_energy_nats))
        result = RESULTS.where(finite, RESULTS.successful, RESULTS.nonfinite_energy)
        beliefs, info = result.error_if((beliefs, info), result != RESULTS.successful)
    return Filtered(beliefs, predictions, info)


@eqx.filter_jit
def predictive_log_likelihood(
    method: AbstractFilter,
    model: AbstractModel,
    filtered: Filtered,
    observations: Observation,
    actions: Action | None = None,
    *,
    horizon: int = 1,
    key: Key,
) -> Float[Array, " predictions"]:
    """log p(x_{t+k} | x_1, ..., x_t, a_t, ..., a_{t+k-1}) for every t at which it can be asked, k the horizon.

    Exact for exact filters; for others, minus the free energy of the observation under the open-loop prediction.

    Args:
        method: the filter behind `filtered`.
        model: the model that predicts.
        filtered: what `filter` found with them.
        observations: x_1, ..., x_T, as for `filter`.
        actions: a_1, ..., a_{T-1}, or None.
        horizon: k, at least 1 and below T.
        key: split over predictions and steps.

    Returns:
        T - k numbers in nats.

    Raises:
        BadInputError: the sequence is too short for the horizon.
    """
    length = sequence_length(observations, actions)
    if not 1 <= horizon < length:
        raise BadInputError(f"Expected a horizon from 1 to {length - 1} for {length} observations, got {horizon}.")
    starts = jnp.arange(length - horizon)
    beliefs = jax.tree.map(lambda leaf: leaf[: length - horizon], filtered.beliefs)
    targets = jax.tree.map(lambda leaf: leaf[horizon:], observations)
    plans = jax.tree.map(lambda leaf: leaf[starts[:, None] + jnp.arange(horizon)[None, :]], actions)

    def one(belief, observation, plan, one_key):
        *keys, last_key = jr.split(one_key, horizon + 1)

        def step(belief, inputs):
            action, step_key = inputs
            return method.predict(model, belief, action, key=step_key), None

        belief, _ = jax.lax.scan(step, belief, (plan, jnp.stack(keys)))
        return -method.update(model, belief, observation, key=last_key)[1].free_energy_nats

    in_axes = (0, 0, None if actions is None else 0, 0)
    return jax.vmap(one, in_axes=in_axes)(beliefs, targets, plans, jr.split(key, length - horizon))


def sequence_length(observations: Observation, actions: Action | None) -> int:
    """T, from leading axes that must agree."""
    lengths = {leaf.shape[0] for leaf in jax.tree.leaves(observations)}
    if len(lengths) != 1 or 0 in lengths:
        raise BadInputError(
            f"Expected observations with one common leading time axis of length at least 1, got lengths {sorted(lengths)}."
        )
    (length,) = lengths
    steps = {leaf.shape[0] for leaf in jax.tree.leaves(actions)}
    if steps and steps != {length - 1}:
        raise BadInputError(
            f"Expected one action between every two observations, {length - 1} for {length} observations, got "
            f"{sorted(steps)}: leave out the action after the last observation."
        )
    return length


def _match(
    method: AbstractFilter,
    model: AbstractModel,
    start: AbstractBelief,
    observations: Observation,
    actions: Action,
    keys: PyTree,
) -> AbstractBelief:
    """Cast the first belief to the type that the filter's own steps have, so that a scan can carry it."""

    def step(belief, observation, action, step_keys):
        updated, _ = method.update(model, belief, observation, key=step_keys[0])
        return method.predict(model, updated, action, key=step_keys[1])

    first = jax.tree.map(lambda leaf: leaf[0], (observations, actions, keys))
    after = jax.eval_shape(step, start, *first)
    return jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), start, after)
