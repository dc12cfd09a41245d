"""Agents that bring a sprite to a goal from pixels: perception, dynamics learned by watching, and episodes."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist

from ...control import ActionSequences, Factored, ModelPredictive, TargetState, active_inference, rollout
from ...core import AbstractBelief, AbstractController, AbstractMarkovModel, Decision
from ...distributions import FullGaussian
from ...environments import DSprites, SpriteState
from ...inference.engines import CrossEntropy, NaturalGradient
from ...inference.filters import GaussianBelief, VariationalFilter
from ...models.sequential import BayesianLinearDynamics, LinearDynamics, StateSpace
from ...models.static import SpatialTransformer, SpriteCoordinates
from ...objectives import EFETerms
from ...typing import Array, Float, Int, Key
from ._sprites import Centre, SpritePerception, angle_period, similarity_of, sprite_model

CLASS_STEP = (0.1 / 0.171, 2.0 / 40.0, 32.0 / 31.0 / 9.24, 32.0 / 31.0 / 9.24)
"""One class of scale, orientation and position in the units of z (see `SpriteCoordinates`)."""

LONGEST = 31
"""Steps between opposite ends of a position factor, the longest shortest path."""


@dataclass(frozen=True)
class Config:
    """Options of this experiment."""

    num_episodes: int = 200
    """Episodes, each with a random shape, start and goal (count)."""
    num_sequences: int = 40
    """Sequences of random interaction to learn the dynamics from (count)."""
    sequence_length: int = 12
    """Frames in each of them (count)."""
    exploring_steps: int = 12
    """Natural-gradient steps for each observation while the dynamics are unknown (count)."""
    filter_steps: int = 3
    """Natural-gradient steps for each observation once they are known (count)."""
    tolerance: float = 0.5
    """Standard deviation of the preference about the target, in classes."""
    population: int = 96
    """Plans in a generation of the cross-entropy search (count)."""
    generations: int = 3
    """Generations for each decision (count)."""
    horizon: int = 3
    """Steps that the cross-entropy search looks ahead (count)."""

    @classmethod
    def for_scale(cls, scale: str) -> "Config":
        """The values used at one scale."""
        if scale == "smoke":
            return cls(num_episodes=10, num_sequences=10, population=32, generations=2)
        return cls(num_episodes=1_000, num_sequences=80) if scale == "paper" else cls()


class Seen(NamedTuple):
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


class Interactions(NamedTuple):
    """Inferred latents of sequences under random actions."""

    locs: Float[Array, "sequences time 4"]
    actions: Int[Array, "sequences time 4"]


class Learned(NamedTuple):
    """Posterior means of the dynamics."""

    matrix: Float[Array, "4 4"]
    control: Float[Array, "4 4"]
    scale_tril: Float[Array, "4 4"]


class Episodes(NamedTuple):
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


@final
class Explore(AbstractController[None]):
    """Random actions, turned around where the estimate is within half a class of the end of a factor.

    Clipped moves would be no linear dynamics; the ends of scale and position are taken as known.
    """

    def init(self) -> None:
        return None

    def act(
        self, model: AbstractMarkovModel, belief: AbstractBelief, carry: None, *, key: Key
    ) -> tuple[Decision, None]:
        scale, _, x, y = SpriteCoordinates()(belief.mean)
        place = jnp.stack([(scale - 0.5) / 0.1, 2.0, (x - 16.0) * 31.0 / 32.0, (y - 16.0) * 31.0 / 32.0])
        last = jnp.asarray([5.0, 4.0, 31.0, 31.0], place.dtype)
        action = jr.randint(key, (4,), -1, 2)
        action = jnp.where(place < 0.5, jnp.abs(action), jnp.where(place > last - 0.5, -jnp.abs(action), action))
        return Decision(action.astype(jnp.int32), ()), None


def perception_filter(num_steps: int) -> VariationalFilter:
    """Predict with the dynamics, correct by natural gradient on the image (Gauss-Newton at the mean)."""
    return VariationalFilter(NaturalGradient(rate=1.0, expectation=Centre()), FullGaussian(4), num_steps=num_steps)


def sprite_world(dynamics: LinearDynamics, sprite: SpatialTransformer) -> StateSpace:
    """The agent's model: linear dynamics of the pose, and the image of a sprite of known shape."""
    return StateSpace(dist.Normal(jnp.zeros(4), jnp.ones(4)).to_event(1), dynamics, sprite)


def wide_belief(loc: Float[Array, "4"]) -> GaussianBelief:
    """A belief one class wide: the first frame is counted by the filter, perception only says where to start."""
    return GaussianBelief(loc, jnp.diag(jnp.asarray(CLASS_STEP, loc.dtype)))


@eqx.filter_jit
def look(perception: SpritePerception, num: int, *, key: Key) -> Seen:
    """Draw episodes, and perceive the first frame and the goal's image of each."""
    environment = DSprites()
    start_key, see_key = jr.split(key)
    state = jax.vmap(lambda key: environment.initial(key=key))(jr.split(start_key, num))
    images = jax.vmap(environment.render)(jnp.concatenate([state.latents, state.goal]))
    seen = jax.vmap(lambda image, key: perception(image, key=key))(images, jr.split(see_key, 2 * num))
    shapes = jax.vmap(lambda posterior: posterior.best_hypothesis)(seen)
    locs = jax.vmap(lambda posterior: posterior.best_params.loc)(seen)
    return Seen(state, shapes[:num], locs[:num], locs[num:])


@eqx.filter_jit
def explore(config: Config, models: SpatialTransformer, seen: Seen, *, key: Key) -> Interactions:
    """Watch sprites under random actions, without any idea of what actions do."""
    filter = perception_filter(config.exploring_steps)
    still = LinearDynamics(jnp.eye(4), jnp.zeros((4, 4)), jnp.diag(jnp.asarray(CLASS_STEP)))

    def one(seen, key):
        return rollout(
            DSprites(),
            sprite_world(still, sprite_model(models, seen.shape)),
            filter,
            Explore(),
            key=key,
            num_steps=config.sequence_length,
            state=seen.state,
            belief=wide_belief(seen.loc),
            keep=lambda moment: (moment.belief.mean, moment.decision.action),
        ).moments

    return Interactions(*jax.vmap(one)(seen, jr.split(key, seen.shape.shape[0])))


def learn(interactions: Interactions) -> Learned:
    """A, B and L by conjugate regression on the inferred latents.

    Without dynamics the tracker starts a whole class away from each new frame, and in about one frame in a hundred it gets
    stuck there. Transitions whose residual exceeds six robust standard deviations of a first fit are left out of the second.
    """
    prior = BayesianLinearDynamics.prior(4, 4, coefficient_scale=1e3, noise_scale=0.01)
    before, after = interactions.locs[:, :-1].reshape(-1, 4), interactions.locs[:, 1:].reshape(-1, 4)
    actions = interactions.actions[:, :-1].reshape(-1, 4)
    regressors = jax.vmap(prior.regressors)(before, actions)
    rows = jnp.concatenate([regressors, after], axis=1)

    def fit(weights):
        belief = prior.belief.update_moments((jnp.sqrt(weights)[:, None] * rows).T, jnp.sum(weights))
        return BayesianLinearDynamics(belief, 4)

    residual = jnp.abs(after - regressors @ fit(jnp.ones(rows.shape[0], rows.dtype)).belief.mean.T)
    # The median of |r| is 0.6745 standard deviations of a Gaussian.
    deviation = jnp.median(residual, axis=0) / 0.6745
    inliers = jnp.all(residual < 6.0 * deviation[None, :], axis=1)
    dynamics = fit(inliers.astype(rows.dtype)).expected()
    return Learned(dynamics.matrix, dynamics.control, dynamics.scale_tril)


def target(config: Config, loc: Float[Array, "4"], shape: Int[Array, ""]) -> TargetState:
    """Prefer to be about half a class from a pose, up to the shape's symmetry."""
    period = (angle_period(shape) / jnp.pi).astype(loc.dtype)
    periods = jnp.full(4, jnp.inf, loc.dtype).at[1].set(period)
    return TargetState(loc, config.tolerance * jnp.asarray(CLASS_STEP, loc.dtype), periods)


Agent = Callable[[Config, TargetState], ModelPredictive]


def exhaustive_agent(config: Config, preference: TargetState) -> ModelPredictive:
    """All 81 actions, one step ahead: factors move apart from one another, so that greedy is optimal."""
    actions = jnp.asarray(list(itertools.product((-1, 0, 1), repeat=4)), jnp.int32)
    return active_inference(preference, ActionSequences(actions), perception_filter(config.filter_steps))


def searching_agent(config: Config, preference: TargetState) -> ModelPredictive:
    """Cross-entropy search over several steps, each factor a choice of its own, warm-started."""
    plan = Factored(jnp.asarray((-1, 0, 1), jnp.int32), 4, config.horizon)
    engine = CrossEntropy(config.population, max(config.population // 12, 2))
    filter = perception_filter(config.filter_steps)
    return active_inference(preference, plan, filter, engine=engine, num_steps=config.generations)


@eqx.filter_jit
def play(
    config: Config,
    models: SpatialTransformer,
    learned: Learned,
    agent: Agent,
    seen: Seen,
    goals: Float[Array, "n 4"],
    *,
    key: Key,
) -> Episodes:
    """All episodes at once, in one compiled scan; `agent` builds the controller of an episode from its preference."""
    environment, filter = DSprites(), perception_filter(config.filter_steps)
    dynamics = LinearDynamics(learned.matrix, learned.control, learned.scale_tril)

    def keep(moment):
        account = moment.decision.info.account
        terms = jax.tree.map(lambda values: values[0], account.terms)
        latents, belief = moment.state.latents, moment.belief
        left = environment.steps_to_goal(moment.state)
        return latents, left, terms, belief.loc, belief.scale_tril, account.predicted_mean

    def one(seen, goal, key):
        controller = agent(config, target(config, goal, seen.shape))
        episode = rollout(
            environment,
            sprite_world(dynamics, sprite_model(models, seen.shape)),
            filter,
            controller,
            key=key,
            num_steps=int(1.3 * LONGEST),
            state=seen.state,
            belief=wide_belief(seen.loc),
            keep=keep,
        )
        latents, distance, *rest = episode.moments
        latents = jnp.concatenate([latents, episode.state.latents[None]])
        return Episodes(latents, jnp.append(distance, environment.steps_to_goal(episode.state)), *rest)

    return jax.vmap(one)(seen, goals, jr.split(key, goals.shape[0]))


def pose_error(episodes: Episodes) -> Float[np.ndarray, "n time"]:
    """Largest error over the factors of the believed pose, in classes, up to the shape's symmetry."""

    def one(loc, latents):
        period = angle_period(latents[0]) / jnp.pi
        error = loc - SpriteCoordinates().inverse(similarity_of(latents))
        error = error.at[1].add(-period * jnp.round(error[1] / period))
        return jnp.max(jnp.abs(error) / jnp.asarray(CLASS_STEP, loc.dtype))

    return np.asarray(jax.jit(jax.vmap(jax.vmap(one)))(episodes.locs, jnp.asarray(episodes.latents)[:, :-1]))


def arrival(distance: Int[np.ndarray, "episodes time"]) -> Float[np.ndarray, " episodes"]:
    """Steps until the goal was reached for the first time, infinite if it never was."""
    there = np.asarray(distance) == 0
    return np.where(there.any(axis=1), there.argmax(axis=1), np.inf)
