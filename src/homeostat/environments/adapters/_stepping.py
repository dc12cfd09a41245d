"""The compiled programs behind the Gymnasium adapters, shared by all environments of the same kind."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ...typing import Array, Key, PyTree
from .._world import AbstractSpriteWorld


class Carry(NamedTuple):
    """What an environment remembers between calls.

    Attributes:
        state: the world's state.
        key: randomness of the steps to come.
        steps: number of steps since the episode began.
        over: whether the episode has ended.
    """

    state: PyTree
    key: Key
    steps: Array
    over: Array


class Outcome(NamedTuple):
    """What an environment returns.

    Attributes:
        observation: what is seen.
        reward: of the step just taken.
        terminated: the task ended.
        truncated: the time limit ran out.
        facts: contents of `info`.
    """

    observation: PyTree
    reward: Array
    terminated: Array
    truncated: Array
    facts: dict[str, Array]


def begin(world: AbstractSpriteWorld, key: Key, latents: Array | None, goal: Array | None) -> tuple[Carry, Outcome]:
    """First state and observation of one episode."""
    start_key, observation_key, key = jr.split(key, 3)
    if latents is None:
        state = world.initial(key=start_key)
        if goal is not None:
            state = world.initial_at(world.latents(state), goal, key=start_key)
    else:
        state = world.initial_at(latents, goal, key=start_key)
    carry = Carry(state, key, jnp.zeros((), jnp.int32), jnp.zeros((), bool))
    nothing = jnp.zeros((), bool)
    seen = world.observation(state, key=observation_key)
    return carry, Outcome(seen, jnp.zeros((), jnp.float32), nothing, nothing, facts(world, state))


def advance(world: AbstractSpriteWorld, carry: Carry, action: Array, limit: Array) -> tuple[Carry, Outcome]:
    """One step of one episode; `limit` is the number of steps after which it is truncated, 0 for none."""
    transition_key, observation_key, key = jr.split(carry.key, 3)
    state = world.transition(carry.state, action, key=transition_key)
    reward = world.reward(carry.state, action, state).astype(jnp.float32)
    steps = carry.steps + 1
    terminated = world.terminal(state)
    truncated = (limit > 0) & (steps >= limit)
    seen = world.observation(state, key=observation_key)
    outcome = Outcome(seen, reward, terminated, truncated, facts(world, state))
    return Carry(state, key, steps, terminated | truncated), outcome


def advance_or_restart(world: AbstractSpriteWorld, carry: Carry, action: Array, limit: Array) -> tuple[Carry, Outcome]:
    """`advance`, but after the end of an episode: ignore the action and begin the next episode."""
    restart_key, transition_key, observation_key, key = jr.split(carry.key, 4)
    moved = world.transition(carry.state, action, key=transition_key)
    fresh = world.initial(key=restart_key)
    state = jax.tree.map(lambda new, old: jnp.where(carry.over, new, old), fresh, moved)
    reward = jnp.where(carry.over, 0, world.reward(carry.state, action, moved)).astype(jnp.float32)
    steps = jnp.where(carry.over, 0, carry.steps + 1)
    terminated = world.terminal(state) & ~carry.over
    truncated = (limit > 0) & (steps >= limit)
    seen = world.observation(state, key=observation_key)
    return Carry(state, key, steps, terminated | truncated), Outcome(
        seen, reward, terminated, truncated, facts(world, state)
    )


def facts(world: AbstractSpriteWorld, state: PyTree) -> dict[str, Array]:
    """What `info` tells: latents, and for a target its latents and the number of steps to it."""
    known = {"latents": world.latents(state)}
    goal = world.goal_of(state)
    if isinstance(goal, jax.Array):
        known |= {"goal": goal, "steps_to_goal": world.steps_to_goal(state)}
    return known


begin_one = eqx.filter_jit(begin)
advance_one = eqx.filter_jit(advance)


@eqx.filter_jit
def begin_many(world: AbstractSpriteWorld, key: Key, count: int, latents: Array | None, goal: Array | None):
    """`begin` for `count` episodes; `latents` and `goal` have one row for each."""
    axes = [None if value is None else 0 for value in (latents, goal)]
    start = jax.vmap(lambda k, first, target: begin(world, k, first, target), in_axes=(0, *axes))
    return start(jr.split(key, count), latents, goal)


@eqx.filter_jit
def advance_many(world: AbstractSpriteWorld, carry: Carry, action: Array, limit: Array) -> tuple[Carry, Outcome]:
    """`advance_or_restart` for a batch."""
    return jax.vmap(lambda c, a: advance_or_restart(world, c, a, limit))(carry, action)


@eqx.filter_jit
def picture_of(world: AbstractSpriteWorld, state: PyTree) -> Array:
    """The scene of one episode."""
    return world.picture(state)


@eqx.filter_jit
def pictures_of(world: AbstractSpriteWorld, state: PyTree) -> Array:
    """The scenes of a batch."""
    return jax.vmap(world.picture)(state)
