"""A sprite that is hidden but for what a moving fovea shows: the world, the agent's model of it, agents and episodes."""

from collections.abc import Callable
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist

from ...agents import BeliefAgent, rollout
from ...control import ModelPredictive
from ...core import AbstractController, AbstractEnvironment, AbstractMarkovModel, Bounded, Decision, PlanningContext
from ...environments import DSprites, Fovea, FoveaState, PixelNoise
from ...inference.filters import Particle, ParticleBelief
from ...objectives import EFETerms
from ...typing import Action, Array, Bool, Distribution, Float, Int, Key, PyTree, Scalar
from ._sprites import render

WINDOW, STRIDE, FIELD = 16, 4, 4
"""Side of the fovea, its step, and the side of one receptive field of the retina, in pixels."""

VIEW = WINDOW // FIELD
GAZES = (64 - WINDOW) // STRIDE + 1
PLACES = 32


@final
class Retina(AbstractEnvironment[FoveaState]):
    """The fovea's window, averaged over receptive fields."""

    environment: Fovea

    @property
    def action_spec(self) -> Bounded:
        return self.environment.action_spec

    @property
    def observation_spec(self) -> Bounded:
        return Bounded((VIEW, VIEW))

    def initial(self, *, key: Key) -> FoveaState:
        return self.environment.initial(key=key)

    def transition(self, state: FoveaState, action: Action, *, key: Key) -> FoveaState:
        return self.environment.transition(state, action, key=key)

    def observation(self, state: FoveaState, *, key: Key) -> Float[Array, "view view"]:
        window = self.environment.observation(state, key=key).window
        return window.reshape(VIEW, FIELD, VIEW, FIELD).mean((1, 3))

    def reward(self, state: FoveaState, action: Action, next_state: FoveaState) -> Scalar:
        return self.environment.reward(state, action, next_state)

    def terminal(self, state: FoveaState) -> Bool[Array, ""]:
        return self.environment.terminal(state)


@final
class GazeModel(AbstractMarkovModel):
    """State (x, y, gaze column, gaze row), all known to move exactly; what is seen is a table look-up with noise.

    Attributes:
        fields: mean brightness of every receptive field of the canvas for every position of the sprite, [x, y, row, column].
        sigma: standard deviation of a field's noise.
    """

    fields: Float[Array, "32 32 16 16"]
    sigma: Scalar

    def initial(self) -> Distribution:
        top = jnp.asarray([PLACES, PLACES, GAZES, GAZES], self.fields.dtype)
        return dist.Uniform(jnp.full(4, -0.5, self.fields.dtype), top - 0.5).to_event(1)

    def transition(self, state: Float[Array, "4"], action: Array) -> Distribution:
        last = jnp.asarray([PLACES, PLACES, GAZES, GAZES], state.dtype) - 1.0
        return dist.Delta(jnp.clip(state + action[2:].astype(state.dtype), 0.0, last), event_dim=1)

    def emission(self, state: Float[Array, "4"]) -> Distribution:
        x, y, column, row = jnp.unstack(jnp.rint(state).astype(jnp.int32))
        view = jax.lax.dynamic_slice(self.fields, (x, y, row, column), (1, 1, VIEW, VIEW))[0, 0]
        return dist.Normal(view, self.sigma).to_event(2)


def sprite_at(x: Array, y: Array) -> Int[Array, "5"]:
    """Latents of the small heart of this task; only its position varies."""
    return jnp.stack([jnp.full_like(x, 2), jnp.zeros_like(x), jnp.zeros_like(x), x, y]).astype(jnp.int32)


@jax.jit
def receptive_fields() -> Float[Array, "32 32 16 16"]:
    """The table of `GazeModel`."""
    places = jnp.arange(PLACES)
    pictures = jax.vmap(lambda x: render(jax.vmap(lambda y: sprite_at(x, y))(places)))(places)
    return pictures.reshape(PLACES, PLACES, 16, FIELD, 16, FIELD).mean((3, 5)).astype(jnp.float32)


def keep_particles(key: Key, log_weights: Array, particles: PyTree, number: int):
    """No resampling: the particles are all positions there are, so that the filter is exact."""
    return jnp.arange(number), log_weights, particles


EXACT = Particle(PLACES**2, keep_particles)


@final
class Scripted(AbstractController):
    """Moves the sprite as another controller would, and the gaze by a script [time, 2]."""

    controller: ModelPredictive
    script: Int[Array, "time 2"]

    def init(self):
        return self.controller.init(), jnp.zeros((), jnp.int32)

    def act(self, context: PlanningContext, carry, *, key: Key):
        inner, time = carry
        decision, inner = self.controller.act(context, inner, key=key)
        action = jnp.concatenate([decision.action[:4], self.script[time]])
        return Decision(action, decision.info), (inner, time + 1)


class SearchTask(NamedTuple):
    """Episodes about to begin, the same for every agent."""

    start: Int[Array, "n 5"]
    goal: Int[Array, "n 5"]
    corner: Float[Array, "n 2"]
    script: Int[Array, "n time 2"]
    key: Key


class SearchEpisodes(NamedTuple):
    """What is kept of each episode.

    Attributes:
        at_goal: whether the sprite is at the goal before each action and after the last.
        latents: of the sprite before each action.
        gaze: upper left corner of the view before each action, pixels.
        view: what is seen of it.
        belief: probability of each position [x, y] after that.
        terms: of the expected free energy of the chosen plan, first step.
    """

    at_goal: Bool[Array, "n time_plus_one"]
    latents: Int[Array, "n time 5"]
    gaze: Float[Array, "n time 2"]
    view: Float[Array, "n time view view"]
    belief: Float[Array, "n time 32 32"]
    terms: EFETerms


def draw_tasks(num_episodes: int, budget: int, *, key: Key) -> SearchTask:
    """Random start, goal and corner of the canvas to look at first, and a random script for the gaze."""
    place_key, corner_key, script_key, live_key = jr.split(key, 4)
    places = jr.randint(place_key, (2, 2, num_episodes), 0, PLACES)
    start, goal = (jax.vmap(sprite_at)(*pair) for pair in places)
    corner = (64.0 - WINDOW) * jr.bernoulli(corner_key, 0.5, (num_episodes, 2)).astype(jnp.float32)
    script = jr.randint(script_key, (num_episodes, budget, 2), -1, 2)
    return SearchTask(start, goal, corner, script.astype(jnp.int32), jr.split(live_key, num_episodes))


@eqx.filter_jit
def play(
    agent: Callable[[Int[Array, "5"]], ModelPredictive],
    fields: Float[Array, "32 32 16 16"],
    tasks: SearchTask,
    told: Bool[Array, ""],
    *,
    scripted: bool,
    noise: float,
    chunk: int,
) -> SearchEpisodes:
    """All episodes of one agent.

    Args:
        agent: builds the controller of an episode from its goal.
        fields: the model's table.
        tasks: the episodes.
        told: whether the agent is told where the sprite is.
        scripted: whether the gaze follows the tasks' script.
        noise: standard deviation of a pixel (brightness).
        chunk: episodes computed at a time.
    """
    num, budget = tasks.script.shape[:2]
    world = Retina(Fovea(PixelNoise(DSprites(), noise), window=WINDOW, stride=STRIDE))
    model = GazeModel(fields, jnp.asarray(noise / FIELD, fields.dtype))
    places = jnp.stack(jnp.meshgrid(jnp.arange(PLACES), jnp.arange(PLACES), indexing="ij"), -1).reshape(-1, 2)

    def keep(step):
        state, info = step.state, step.decision.info
        index = jnp.rint(info.belief.particles[:, :2]).astype(jnp.int32)
        belief = jnp.zeros((PLACES, PLACES)).at[index[:, 0], index[:, 1]].add(jnp.exp(info.belief.log_weights))
        terms = jax.tree.map(lambda values: values[0], info.control.explanation.terms)
        return world.terminal(state), state.world.latents, state.corner, step.observation, belief, terms

    def one(task):
        begin_key, live_key = jr.split(task.key)
        state = FoveaState(world.environment.initial_at(task.start, task.goal, key=begin_key).world, task.corner)
        gaze = jnp.broadcast_to((task.corner / STRIDE)[None, :], (PLACES**2, 2))
        particles = jnp.concatenate([places.astype(jnp.float32), gaze], axis=1)
        log_weights = jnp.where(told & ~jnp.all(places == task.start[None, 3:], axis=1), -jnp.inf, 0.0)
        belief = ParticleBelief(particles, jax.nn.log_softmax(log_weights))
        controller = Scripted(agent(task.goal), task.script) if scripted else agent(task.goal)
        actor = BeliefAgent(model, EXACT, controller)
        episode = rollout(
            world, actor, key=live_key, num_steps=budget, state=state, agent_state=actor.init_at(belief), keep=keep
        )
        at_goal, *rest = episode.trajectory
        return SearchEpisodes(jnp.append(at_goal, world.terminal(episode.state)), *rest)

    return jax.lax.map(one, tasks, batch_size=min(chunk, num))


def settled(at_goal: Bool[np.ndarray, "n time_plus_one"]) -> Float[np.ndarray, " n"]:
    """Actions after which the sprite was at the goal for good, infinite if it was not at the end."""
    away = ~np.asarray(at_goal)
    last_away = away.shape[1] - 1 - np.argmax(away[:, ::-1], axis=1)
    return np.where(away[:, -1], np.inf, np.where(away.any(axis=1), last_away + 1, 0))
