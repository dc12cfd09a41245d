"""Agents that bring a sprite to a goal from pixels: perception, and episodes."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist

from ...agents import BeliefAgent, rollout
from ...control import TargetState
from ...core import AbstractController
from ...distributions import FullGaussian, MeanPoint
from ...environments import DSprites, SpriteState
from ...inference.engines import NaturalGradient
from ...inference.filters import GaussianBelief, VariationalFilter
from ...models.sequential import LinearDynamics, StateSpace
from ...models.static import SpatialTransformer, SpriteCoordinates, model_at
from ...objectives import EFETerms
from ...typing import Array, Float, Int, Key
from ._perceive import SpritePerception
from ._sprites import CLASS_STEP, angle_period, class_errors, in_classes

LONGEST = 31
"""Steps between opposite ends of a position factor, the longest shortest path."""


class PerceivedTask(NamedTuple):
    """Episodes about to begin: their first state, and what perception makes of the first frame (and of the goal's image).

    Attributes:
        shape: the shape that was recognised.
        loc: pose at the start, z.
        goal_loc: pose in the goal's image.
    """

    state: SpriteState
    shape: Int[Array, " n"]
    loc: Float[Array, "n 4"]
    goal_loc: Float[Array, "n 4"]


class ReachingEpisodes(NamedTuple):
    """What is kept of each step; arrays are [episodes, time, ...].

    Attributes:
        latents: of the world, before each action and (only here) after the last.
        distance: steps to the goal, likewise.
        terms: expected free energy of the first step of the chosen plan.
        locs: mean of the belief.
        scale_trils: its Cholesky factor.
        plans: predicted means under the chosen plan.
    """

    latents: Int[Array, "n time_plus_one 5"]
    distance: Int[Array, "n time_plus_one"]
    terms: EFETerms
    locs: Float[Array, "n time 4"]
    scale_trils: Float[Array, "n time 4 4"]
    plans: Float[Array, "n time horizon 4"]


@eqx.filter_jit
def look(perception: SpritePerception, num: int, *, key: Key) -> PerceivedTask:
    """Draw episodes, and perceive the first frame and the goal's image of each."""
    environment = DSprites()
    start_key, see_key = jr.split(key)
    state = jax.vmap(lambda key: environment.initial(key=key))(jr.split(start_key, num))
    images = jax.vmap(environment.render)(jnp.concatenate([state.latents, state.goal]))
    seen = jax.vmap(lambda image, key: perception(image, key=key))(images, jr.split(see_key, 2 * num))
    shapes = jax.vmap(lambda posterior: posterior.best_hypothesis)(seen)
    locs = jax.vmap(lambda posterior: posterior.best_params.loc)(seen)
    return PerceivedTask(state, shapes[:num], locs[:num], locs[num:])


def target(loc: Float[Array, "4"], shape: Int[Array, ""], tolerance: float) -> TargetState:
    """Prefer to be about `tolerance` classes from a pose, up to the shape's symmetry."""
    period = (angle_period(shape) / jnp.pi).astype(loc.dtype)
    periods = jnp.full(4, jnp.inf, loc.dtype).at[1].set(period)
    return TargetState(loc, tolerance * jnp.asarray(CLASS_STEP, loc.dtype), periods)


@eqx.filter_jit
def play(
    agent: Callable[[TargetState], AbstractController],
    models: SpatialTransformer,
    dynamics: LinearDynamics,
    seen: PerceivedTask,
    goals: Float[Array, "n 4"],
    *,
    filter_steps: int,
    tolerance: float,
    key: Key,
) -> ReachingEpisodes:
    """All episodes at once, in one compiled scan; `agent` builds the controller of an episode from its preference."""
    environment, prior = DSprites(), dist.Normal(jnp.zeros(4), jnp.ones(4)).to_event(1)
    # Predicts with the dynamics, corrects by natural gradient on the image (Gauss-Newton at the mean).
    engine = NaturalGradient(rate=1.0, expectation=MeanPoint())
    filter = VariationalFilter(engine, FullGaussian(4), num_steps=filter_steps)

    def keep(step):
        account, belief = step.decision.info.control.explanation, step.decision.info.belief
        terms = jax.tree.map(lambda values: values[0], account.terms)
        latents, left = step.state.latents, environment.steps_to_goal(step.state)
        return latents, left, terms, belief.loc, belief.scale_tril, account.beliefs.loc

    def one(seen, goal, key):
        controller = agent(target(goal, seen.shape, tolerance))
        actor = BeliefAgent(StateSpace(prior, dynamics, model_at(models, seen.shape)), filter, controller)
        # One class wide: the first frame is counted by the filter, perception only says where to start.
        belief = GaussianBelief(seen.loc, jnp.diag(jnp.asarray(CLASS_STEP, seen.loc.dtype)))
        episode = rollout(
            environment, actor, key=key, num_steps=int(1.3 * LONGEST), state=seen.state,
            agent_state=actor.init_at(belief), keep=keep,
        )  # fmt: skip
        latents, distance, *rest = episode.trajectory
        latents = jnp.concatenate([latents, episode.state.latents[None]])
        return ReachingEpisodes(latents, jnp.append(distance, environment.steps_to_goal(episode.state)), *rest)

    return jax.vmap(one)(seen, goals, jr.split(key, goals.shape[0]))


def pose_error(episodes: ReachingEpisodes) -> Float[np.ndarray, "n time"]:
    """Largest error over the factors of the believed pose, in classes, up to the shape's symmetry."""

    classes = jax.vmap(jax.vmap(partial(in_classes, SpriteCoordinates())))(jnp.asarray(episodes.locs))
    errors = jax.vmap(class_errors)(classes, jnp.asarray(episodes.latents)[:, :-1])
    return np.max(np.abs(errors), axis=-1)


def arrival(distance: Int[np.ndarray, "episodes time"]) -> Float[np.ndarray, " episodes"]:
    """Steps until the goal was reached for the first time, infinite if it never was."""
    there = np.asarray(distance) == 0
    return np.where(there.any(axis=1), there.argmax(axis=1), np.inf)
