"""`sample_sequence` and `forecast`: what a sequential model says will be seen, from its start or from a belief."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ..core import AbstractBelief, AbstractMarkovModel, AbstractSequentialModel, Snapshot
from ..models.sequential import first_snapshot, imagine, observed
from ..results import BadInputError
from ..typing import Action, Array, Float, Int, Key, Observation, State
from ._filter import Filtered


class SampledSequence(NamedTuple):
    """A sequence drawn from a model; every array has a leading time axis.

    Attributes:
        states: z_1, ..., z_T.
        observations: x_1, ..., x_T.
    """

    states: State
    observations: Observation


class Forecast(NamedTuple):
    """What may come next.

    Attributes:
        states: drawn futures of the state, [samples, horizon, ...].
        observations: drawn futures of the observation, [samples, horizon, ...].
        probabilities: at which quantiles are given, [quantiles].
        quantiles: of every entry of the observation at every step by itself, [quantiles, horizon, ...].
    """

    states: State
    observations: Observation
    probabilities: Float[Array, " quantiles"]
    quantiles: Observation

    @property
    def mean(self) -> Observation:
        """Mean of the drawn observations, [horizon, ...]."""
        return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), self.observations)


@eqx.filter_jit
def sample_sequence(
    model: AbstractSequentialModel, num_steps: int, actions: Action | None = None, *, key: Key
) -> SampledSequence:
    """Ancestral sampling: z_t ~ p(z_t | h_t), x_t ~ p(x_t | h_t, z_t), h_{t+1} = next_carry(h_t, z_t, x_t, a_t).

    Unbatched; for many sequences `jax.vmap` over keys.

    Args:
        model: any sequential model.
        num_steps: T.
        actions: a_1, ..., a_{T-1} on a leading time axis; None for a model without actions.
        key: split over time.

    Raises:
        BadInputError: fewer than one step, or another number of actions than steps between observations.
    """
    _check_actions(actions, num_steps - 1, num_steps)
    start_key, observe_key, rest_key = jr.split(key, 3)
    start = observed(model, first_snapshot(model, key=start_key), key=observe_key)
    first = jax.tree.map(lambda leaf: leaf[None], SampledSequence(start.state, start.observation))
    if num_steps == 1:
        return first
    return jax.tree.map(
        lambda *parts: jnp.concatenate(parts), first, _continue(model, start, actions, num_steps - 1, rest_key)
    )


@eqx.filter_jit
def forecast(
    model: AbstractSequentialModel,
    belief: AbstractBelief | Filtered,
    actions: Action | None = None,
    *,
    horizon: int,
    key: Key,
    num_samples: int = 1_000,
    probabilities: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95),
    at: int | Int[Array, ""] = -1,
) -> Forecast:
    """x_{t+1}, ..., x_{t+k} given x_1, ..., x_t and a_t, ..., a_{t+k-1}: futures drawn from a belief about z_t.

    Args:
        model: the model that goes on.
        belief: about the present, after its observation; or the result of `filter`.
        actions: a_t, ..., a_{t+k-1} on a leading axis; None for a model without actions.
        horizon: k.
        key: split over futures.
        num_samples: futures.
        probabilities: of the quantiles, in [0, 1].
        at: t - 1, the step of the result of `filter` to start from; the last by default. For a padded sequence its length
            minus one.

    Raises:
        BadInputError: a number is out of range, or there is another number of actions than steps.
    """
    if horizon < 1 or num_samples < 1:
        raise BadInputError(
            f"Expected a horizon and a number of samples of at least one, got horizon={horizon} and "
            f"num_samples={num_samples}."
        )
    if not all(0.0 <= p <= 1.0 for p in probabilities):
        raise BadInputError(f"Expected probabilities of quantiles in [0, 1], got {tuple(probabilities)}.")
    _check_actions(actions, horizon, horizon + 1)
    present = jax.tree.map(lambda leaf: leaf[at], belief.beliefs) if isinstance(belief, Filtered) else belief

    def future(one_key: Key) -> SampledSequence:
        now_key, rest_key = jr.split(one_key)
        now = present.snapshot(key=now_key)
        if now.carry is None and not isinstance(model, AbstractMarkovModel):
            raise BadInputError(
                f"Expected a belief that keeps the past, as {type(model).__name__} needs to go on, got "
                f"{type(present).__name__}: filter with propagation=SampledHistories(n) or with `Particle`."
            )
        return _continue(model, now, actions, horizon, rest_key)

    futures = jax.vmap(future)(jr.split(key, num_samples))
    levels = jnp.asarray(probabilities, float)

    def quantiles(leaf: Array) -> Array:
        return jnp.quantile(
            leaf.astype(jnp.result_type(leaf, float)), levels.astype(jnp.result_type(leaf, float)), axis=0
        )

    return Forecast(futures.states, futures.observations, levels, jax.tree.map(quantiles, futures.observations))


def _continue(
    model: AbstractSequentialModel, snapshot: Snapshot, actions: Action | None, num_steps: int, key: Key
) -> SampledSequence:
    walk_key, observe_key = jr.split(key)
    future = imagine(model, snapshot, actions, key=walk_key, num_steps=num_steps)
    future = jax.vmap(lambda one, k: observed(model, one, key=k))(future, jr.split(observe_key, num_steps))
    return SampledSequence(future.state, future.observation)


def _check_actions(actions: Action | None, expected: int, num_steps: int) -> None:
    if num_steps < 1:
        raise BadInputError(f"Expected at least one step, got {num_steps}.")
    got = {leaf.shape[0] if jnp.ndim(leaf) else 0 for leaf in jax.tree.leaves(actions)}
    if got and got != {expected}:
        raise BadInputError(f"Expected {expected} actions, one for each step onwards, got {sorted(got)}.")
