"""`rollout`: an agent in a world. Observe, update the belief, decide, act, predict."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr

from ..core import (
    AbstractBelief,
    AbstractController,
    AbstractEnvironment,
    AbstractFilter,
    AbstractMarkovModel,
    Decision,
    FilterInfo,
)
from ..results import BadInputError
from ..typing import Array, Bool, Key, Observation, PyTree, Scalar, State


class Transition(NamedTuple):
    """One step of an episode.

    Attributes:
        state: of the environment, before the action.
        observation: what the agent saw of it.
        belief: after the observation.
        filtering: what the update measured.
        decision: action, and why.
        reward: of the transition that followed.
        terminal: whether the task ended in the state that followed.
    """

    state: State
    observation: Observation
    belief: AbstractBelief
    filtering: FilterInfo
    decision: Decision
    reward: Scalar
    terminal: Bool[Array, ""]


class Rollout(NamedTuple):
    """An episode.

    Attributes:
        moments: what `keep` kept of every step, with a leading time axis; a `Transition` by default.
        state: of the environment, after the last action.
        belief: about it, before it was observed.
    """

    moments: PyTree
    state: State
    belief: AbstractBelief


def _everything(moment: Transition) -> Transition:
    return moment


def rollout(
    environment: AbstractEnvironment,
    model: AbstractMarkovModel,
    filter: AbstractFilter,
    controller: AbstractController,
    *,
    key: Key,
    num_steps: int,
    state: State | None = None,
    belief: AbstractBelief | None = None,
    keep: Callable[[Transition], PyTree] = _everything,
) -> Rollout:
    """Run an agent for a number of steps; the world goes on after a terminal state.

    Unbatched and traceable: for many episodes `eqx.filter_vmap` over keys (and models, controllers, states, beliefs), under
    `eqx.filter_jit`.

    Args:
        environment: the world.
        model: what the agent believes the world to be.
        filter: how it keeps its belief.
        controller: how it acts.
        key: split over time.
        num_steps: number of actions.
        state: where the world starts; drawn by the environment by default.
        belief: about that state, before the first observation; the filter's own start by default.
        keep: what to record of a step, to save memory.

    Returns:
        The episode.

    Raises:
        BadInputError: `num_steps` is not positive.
    """
    if num_steps < 1:
        raise BadInputError(f"Expected at least one step, got num_steps={num_steps}.")
    state_key, belief_key, scan_key = jr.split(key, 3)
    state = environment.initial(key=state_key) if state is None else state
    belief = filter.init(model, key=belief_key) if belief is None else belief
    carry = controller.init()

    def step(state, belief, carry, step_key):
        observe_key, update_key, act_key, move_key, predict_key = jr.split(step_key, 5)
        observation = environment.observation(state, key=observe_key)
        updated, filtering = filter.update(model, belief, observation, key=update_key)
        decision, carry = controller.act(model, updated, carry, key=act_key)
        after = environment.transition(state, decision.action, key=move_key)
        reward = environment.reward(state, decision.action, after)
        moment = Transition(state, observation, updated, filtering, decision, reward, environment.terminal(after))
        predicted = filter.predict(model, updated, decision.action, key=predict_key)
        return after, predicted, carry, keep(moment)

    # A scan carries one type: where the first step changes a precision, the start is cast to what the step returns.
    first_key, *_ = keys = jr.split(scan_key, num_steps)
    start = (state, belief, carry)
    like = jax.eval_shape(lambda *parts: step(*parts, first_key)[:3], *start)
    start = jax.tree.map(lambda leaf, form: jnp.asarray(leaf, form.dtype), start, like)

    def body(parts, step_key):
        *parts, kept = step(*parts, step_key)
        return tuple(parts), kept

    (state, belief, _), moments = jax.lax.scan(body, start, keys)
    return Rollout(moments, state, belief)
