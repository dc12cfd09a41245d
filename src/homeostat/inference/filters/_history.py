"""What filters that keep samples of the past remember with each sample of a model that is not Markov."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ...core import AbstractSequentialModel
from ...distributions import complete
from ...results import BadInputError
from ...typing import Action, Array, Carry, Key, Observation, PyTree


class History(NamedTuple):
    """The pasts of n samples; every array has a leading axis n.

    Attributes:
        carry: h_t of each sample.
        observation: x_t as the model will remember it, with what was missing drawn from the likelihood of each sample; zeros before
            x_t came.
    """

    carry: Carry
    observation: Observation


def first_past(model: AbstractSequentialModel, num_samples: int) -> History:
    """n times init_carry(), and observations to be filled in."""
    try:
        observation = example_of(model)[1]
    except NotImplementedError as error:
        raise BadInputError(
            f"Expected a likelihood of {type(model).__name__} that can be sampled, got one that cannot: its samples say what an "
            f"observation looks like, and stand in for missing ones."
        ) from error
    empty = jax.tree.map(lambda leaf: jnp.zeros((num_samples, *leaf.shape), leaf.dtype), observation)
    return History(repeat(model.init_carry(), num_samples), empty)


def example_of(model: AbstractSequentialModel) -> tuple[PyTree, PyTree]:
    """Shapes and types of a state and of an observation."""

    def draw() -> tuple[Array, Observation]:
        carry = model.init_carry()
        state = model.prior(carry).sample(jr.key(0))
        return state, model.emission_given(carry, state).sample(jr.key(0))

    return eqx.filter_eval_shape(draw)


def remember(
    model: AbstractSequentialModel,
    past: History,
    states: Array,
    value: Observation,
    observed: PyTree | None,
    *,
    key: Key,
) -> History:
    """The pasts with x_t, completed for each sample by its own state."""

    def one(carry: Carry, state: Array, one_key: Key) -> Observation:
        return complete(model.emission_given(carry, state), value, observed, key=one_key)

    if observed is None:
        return History(past.carry, repeat(value, states.shape[0]))
    return History(past.carry, jax.vmap(one)(past.carry, states, jr.split(key, states.shape[0])))


def next_carries(model: AbstractSequentialModel, past: History, states: Array, action: Action) -> History:
    """Every carry one step further."""
    carry = jax.vmap(lambda h, z, x: model.next_carry(h, z, x, action))(past.carry, states, past.observation)
    return History(carry, past.observation)


def repeat(tree: PyTree, num: int) -> PyTree:
    """The same n times, on a new leading axis."""
    return jax.tree.map(lambda leaf: jnp.broadcast_to(jnp.asarray(leaf), (num, *jnp.shape(leaf))), tree)
