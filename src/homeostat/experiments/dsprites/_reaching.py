"""Agents that bring a sprite to a goal from pixels: perception, dynamics learned by watching, and episodes."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist

from ...agents import BeliefAgent, rollout
from ...control import TargetState
from ...core import AbstractBelief, AbstractController, AbstractVectorBelief, Decision, PlanningContext
from ...distributions import FullGaussian, MeanPoint
from ...environments import DSprites, SpriteState
from ...inference.engines import NaturalGradient
from ...inference.filters import GaussianBelief, VariationalFilter
from ...models.sequential import BayesianLinearDynamics, LinearDynamics, StateSpace
from ...models.static import SpatialTransformer, SpriteCoordinates, model_at
from ...objectives import EFETerms
from ...typing import Array, Float, Int, Key
from ._exploration import Reversal
from ._perceive import SpritePerception
from ._sprites import CLASS_STEP, angle_period, class_errors, in_classes

LONGEST = 31
"""Steps between opposite ends of a position factor, the longest shortest path."""


class PerceivedTask(NamedTuple):
    """Episodes about to begin: their first state, and what perception makes of the first frame (and of the goal's image).

    Attributes:
        state: of the world.
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


def _mean(belief: AbstractBelief) -> Array:
    """Expected state, of a belief about a vector."""
    assert isinstance(belief, AbstractVectorBelief)
    return belief.mean


@final
class Explore(AbstractController[None]):
    """Random actions, turned around where the estimate is within half a class of the end of a factor.

    Clipped moves would be no linear dynamics; the ends of scale and position are taken as known.
    """

    def init(self) -> None:
        return None

    def act(self, context: PlanningContext, carry: None, *, key: Key) -> tuple[Decision, None]:
        place = in_classes(SpriteCoordinates(), _mean(context.belief))
        action = Reversal((0.5,) * 4, whole=True)(place, jnp.zeros_like(place), key=key)
        return Decision(action.astype(jnp.int32), ()), None


def perception_filter(num_steps: int) -> VariationalFilter:
    """Predict with the dynamics, correct by natural gradient on the image (Gauss-Newton at the mean)."""
    return VariationalFilter(NaturalGradient(rate=1.0, expectation=MeanPoint()), FullGaussian(4), num_steps=num_steps)


def sprite_world(dynamics: LinearDynamics, sprite: SpatialTransformer) -> StateSpace:
    """The agent's model: linear dynamics of the pose, and the image of a sprite of known shape."""
    return StateSpace(dist.Normal(jnp.zeros(4), jnp.ones(4)).to_event(1), dynamics, sprite)


def wide_belief(loc: Float[Array, "4"]) -> GaussianBelief:
    """A belief one class wide: the first frame is counted by the filter, perception only says where to start."""
    return GaussianBelief(loc, jnp.diag(jnp.asarray(CLASS_STEP, loc.dtype)))


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


@eqx.filter_jit
def explore(
    models: SpatialTransformer, seen: PerceivedTask, *, filter_steps: int, length: int, key: Key
) -> tuple[Float[Array, "sequences time 4"], Int[Array, "sequences time 4"]]:
    """Inferred poses and actions of sprites under random actions, without any idea of what actions do."""
    still = LinearDynamics(jnp.eye(4), jnp.zeros((4, 4)), jnp.diag(jnp.asarray(CLASS_STEP)))

    def one(seen, key):
        agent = BeliefAgent(
            sprite_world(still, model_at(models, seen.shape)), perception_filter(filter_steps), Explore()
        )
        return rollout(
            DSprites(), agent, key=key, num_steps=length, state=seen.state,
            agent_state=agent.init_at(wide_belief(seen.loc)),
            keep=lambda step: (_mean(step.decision.info.belief), step.decision.action),
        ).trajectory  # fmt: skip

    return jax.vmap(one)(seen, jr.split(key, seen.shape.shape[0]))


@jax.jit
def learn_dynamics(
    locs: Float[Array, "sequences time 4"], actions: Int[Array, "sequences time 4"]
) -> tuple[Float[Array, "4 4"], Float[Array, "4 4"], Float[Array, "4 4"]]:
    """Posterior means of A, B and L by conjugate regression on the inferred poses.

    Without dynamics the tracker starts a whole class away from each new frame, and in about one frame in a hundred it gets
    stuck there. Transitions whose residual exceeds six robust standard deviations of a first fit are left out of the second.
    """
    prior = BayesianLinearDynamics.prior(4, 4, coefficient_scale=1e3, noise_scale=0.01)
    before, after, actions = (leaf.reshape(-1, 4) for leaf in (locs[:, :-1], locs[:, 1:], actions[:, :-1]))
    regressors = jax.vmap(prior.regressors)(before, actions)
    rows = jnp.concatenate([regressors, after], axis=1)

    def fit(weights):
        belief = prior.belief.update_moments((jnp.sqrt(weights)[:, None] * rows).T, jnp.sum(weights))
        return BayesianLinearDynamics(belief, 4)

    residual = jnp.abs(after - regressors @ fit(jnp.ones(rows.shape[0], rows.dtype)).belief.mean.T)
    # The median of |r| is 0.6745 standard deviations of a Gaussian.
    scale = jnp.median(residual, axis=0) / 0.6745
    dynamics = fit(jnp.all(residual < 6.0 * scale[None, :], axis=1).astype(rows.dtype)).expected()
    return dynamics.matrix, dynamics.control, dynamics.scale_tril


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
    environment, filter = DSprites(), perception_filter(filter_steps)

    def keep(step):
        account, belief = step.decision.info.control.explanation, step.decision.info.belief
        terms = jax.tree.map(lambda values: values[0], account.terms)
        latents, left = step.state.latents, environment.steps_to_goal(step.state)
        return latents, left, terms, belief.loc, belief.scale_tril, account.beliefs.loc

    def one(seen, goal, key):
        controller = agent(target(goal, seen.shape, tolerance))
        actor = BeliefAgent(sprite_world(dynamics, model_at(models, seen.shape)), filter, controller)
        episode = rollout(
            environment, actor, key=key, num_steps=int(1.3 * LONGEST), state=seen.state,
            agent_state=actor.init_at(wide_belief(seen.loc)), keep=keep,
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
