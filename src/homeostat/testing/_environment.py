"""Laws of environments."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ..core import AbstractEnvironment, Bounded, map_spec
from ..typing import Key, PyTree
from ._assertions import assert_finite, assert_same_structure, check_transforms
from ._tolerances import Tolerances


def check_environment(
    environment: AbstractEnvironment, *, key: Key, num_steps: int = 8, tolerances: Tolerances = Tolerances()
) -> None:
    """Run every law of `AbstractEnvironment` on `environment`.

    Laws: a transition preserves the structure of the state; observations are what their spec says; the reward is a scalar,
    the terminal and the truncated flag booleans; initial, transition and observation obey the transform laws and are deterministic under
    one key; an episode runs inside one compiled scan, with finite observations and rewards.

    Args:
        environment: what to check.
        num_steps: length of the compiled episode.
    """
    name = type(environment).__name__
    first, second, episode_key = jr.split(key, 3)

    def action(k: Key) -> PyTree:
        leaves, structure = jax.tree.flatten(environment.action_spec, is_leaf=lambda node: isinstance(node, Bounded))
        return jax.tree.unflatten(
            structure, [leaf.sample(key=one) for leaf, one in zip(leaves, jr.split(k, len(leaves)), strict=True)]
        )

    def visit(k: Key) -> tuple[PyTree, PyTree, PyTree, Any, Any]:
        start_key, action_key, move_key, look_key = jr.split(k, 4)
        state = environment.initial(key=start_key)
        chosen = action(action_key)
        after = environment.transition(state, chosen, key=move_key)
        seen = environment.observation(after, key=look_key)
        return state, after, seen, environment.reward(state, chosen, after), environment.terminal(after)

    compiled = check_transforms(visit, (first,), (second,), tolerances, f"{name}: one step")
    state, after, seen, reward, terminal = compiled(first)
    assert_same_structure(after, state, f"{name}.transition: preserves the state's structure")
    start_seen = eqx.filter_eval_shape(lambda s: environment.observation(s, key=first), state)
    assert_same_structure(start_seen, seen, f"{name}.observation: has one structure")
    try:
        map_spec(lambda spec, part: spec.checked(part, "an observation"), environment.observation_spec, seen)
    except ValueError as error:
        raise AssertionError(f"{name}.observation: agrees with its spec; {error}") from error
    if jnp.shape(reward) != () or not jnp.issubdtype(jnp.result_type(reward), jnp.inexact):
        raise AssertionError(
            f"{name}.reward: expected a real scalar, got {jnp.result_type(reward)}{jnp.shape(reward)}."
        )
    for flag, value in (("terminal", terminal), ("truncated", environment.truncated(state))):
        if jnp.shape(value) != () or jnp.result_type(value) != jnp.bool_:
            raise AssertionError(
                f"{name}.{flag}: expected a boolean scalar, got {jnp.result_type(value)}{jnp.shape(value)}."
            )

    arrays, static = eqx.partition(state, eqx.is_array)

    def body(carry: PyTree, k: Key) -> tuple[PyTree, tuple[PyTree, Any]]:
        action_key, move_key, look_key = jr.split(k, 3)
        current = eqx.combine(carry, static)
        chosen = action(action_key)
        moved = environment.transition(current, chosen, key=move_key)
        outcome = environment.observation(moved, key=look_key), environment.reward(current, chosen, moved)
        return eqx.filter(moved, eqx.is_array), outcome

    episode = eqx.filter_jit(lambda start, k: jax.lax.scan(body, start, jr.split(k, num_steps)))
    _, outcomes = episode(arrays, episode_key)
    assert_finite(outcomes, f"{name}: observations and rewards of an episode")
