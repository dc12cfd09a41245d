"""A model that goes on by itself: `imagine`, for any model with a carry.

    z_{t+1} ~ p(z_{t+1} | h_{t+1}),   x_{t+1} ~ p(x_{t+1} | h_{t+1}, z_{t+1}),   h_{t+1} = next_carry(h_t, z_t, x_t, a_t)

Markov models need no carry, and observations are drawn only where the next carry reads them.
"""

import jax
import jax.numpy as jnp
import jax.random as jr

from ..._scan import scan
from ...core import AbstractMarkovModel, AbstractSequentialModel, Snapshot
from ...typing import Action, Carry, Key


def first_snapshot(model: AbstractSequentialModel, *, key: Key) -> Snapshot:
    """A state drawn from p(z_1 | h_1)."""
    return _snapshot(model, model.init_carry(), not isinstance(model, AbstractMarkovModel), key=key)


def next_snapshot(model: AbstractSequentialModel, snapshot: Snapshot, action: Action, *, key: Key) -> Snapshot:
    """A state drawn from p(z_{t+1} | h_{t+1}), after z_t and an action.

    Args:
        snapshot: z_t, with its carry unless the model is a Markov model, and x_t if the carry reads it.
        action: a_t; None for a model without actions.
    """
    carry = model.next_carry(snapshot.carry, snapshot.state, snapshot.observation, action)
    return _snapshot(model, carry, snapshot.carry is not None, key=key)


def observed(model: AbstractSequentialModel, snapshot: Snapshot, *, key: Key) -> Snapshot:
    """The snapshot with an observation: its own, or one drawn from p(x_t | h_t, z_t)."""
    if snapshot.observation is not None:
        return snapshot
    return snapshot._replace(observation=model.emission_given(snapshot.carry, snapshot.state).sample(key))


def imagine(
    model: AbstractSequentialModel,
    snapshot: Snapshot,
    actions: Action | None,
    *,
    key: Key,
    num_steps: int | None = None,
) -> Snapshot:
    """One future of a model, z_{t+1}, ..., z_{t+n}, with carries and observations where there are any.

    Unbatched; for many futures `jax.vmap` over keys, snapshots or actions. Samples are pathwise where the model's are.

    Args:
        snapshot: the present, for instance `belief.snapshot(key=key)`.
        actions: a_t, ..., a_{t+n-1} on a leading axis; None for a model without actions.
        key: split over time.
        num_steps: n; needed only without actions.

    Returns:
        Snapshots with a leading axis [n]; `observation` is None unless the model's carry reads it (see `observed`).
    """
    horizon = jax.tree.leaves(actions)[0].shape[0] if num_steps is None else num_steps
    keys = jr.split(key, horizon)
    head, tail = (jax.tree.map(cut, actions) for cut in (lambda leaf: leaf[0], lambda leaf: leaf[1:]))
    # The first step is outside the loop: its carry may be of another kind than those that follow.
    first = next_snapshot(model, snapshot, head, key=keys[0])

    def step(current: Snapshot, inputs: tuple[Action, Key]) -> tuple[Snapshot, Snapshot]:
        moved = next_snapshot(model, current, *inputs[:1], key=inputs[1])
        return moved, moved

    _, rest = scan(step, first, (tail, keys[1:]), unroll=min(max(horizon - 1, 1), 4), name="what a model imagines")
    return jax.tree.map(lambda a, b: jnp.concatenate([jnp.asarray(a, b.dtype)[None], b]), first, rest)


def _snapshot(model: AbstractSequentialModel, carry: Carry, remembers: bool, *, key: Key) -> Snapshot:
    state_key, observation_key = jr.split(key)
    snapshot = Snapshot(model.prior(carry).sample(state_key), carry if remembers else None)
    return observed(model, snapshot, key=observation_key) if model.reads_observation else snapshot
