"""Control from pixels: bring a sprite from a random pose to a random goal, by expected free energy on learned dynamics.

The dynamics are learned from tracked sprites of known shape, as in the dynamics experiment; in the episodes perception finds
the shape too.
"""

import itertools
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ...control import ActionSequences, Factored, ModelPredictive, TargetState, active_inference
from ...environments import DSprites
from ...inference.engines import CrossEntropy
from ...models.static import SpatialTransformer, SpriteCoordinates, model_at
from ...runs import AtLeast, AtMost, Claim, Minutes, RunContext
from ...typing import Float, Key
from ...viz import animate_control, plot_success, plot_terms
from ._interaction import LATTICE_EXPLORATION, explore
from ._learning import regress_online
from ._perceive import SpritePerception
from ._reaching import PerceivedTask, ReachingEpisodes, arrival, look, play, pose_error
from ._sprites import CLASS_STEP, render, similarity_of
from ._tracking import LATTICE_SIGMA, tracking_models

SOURCE = "slides 'Inference and learning in an interactive dSprite environment', action selection"
MINUTES = Minutes(smoke=0.7, small=2.0, paper=12.0)
_REACHED = "episodes that reach the target configuration within 1.3 x the shortest path"
_STEPS = "largest error of a learned step (entry of B), in classes"
CLAIMS = (
    Claim("control/reached", SOURCE, _REACHED, "fraction", AtLeast(0.98)),
    Claim("control/reached", SOURCE, _REACHED, "fraction", AtLeast(0.8), scales=("smoke",)),
    Claim("control/reached-image", SOURCE, "the same, the goal given as an image", "fraction", AtLeast(0.95)),
    Claim("control/steps-error", SOURCE, _STEPS, "classes", AtMost(0.05)),
)
EXHAUSTIVE = "target configuration, all 81 actions"
BY_IMAGE = "goal image, all 81 actions"
SEARCHING = "target configuration, cross-entropy"
MEASURED = {EXHAUSTIVE: "control/reached", BY_IMAGE: "control/reached-image"}


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


def exhaustive_agent(config: Config, preference: TargetState) -> ModelPredictive:
    """All 81 actions, one step ahead: factors move apart from one another, so that greedy is optimal."""
    actions = jnp.asarray(list(itertools.product((-1, 0, 1), repeat=4)), jnp.int32)
    return active_inference(preference, ActionSequences(actions))


def searching_agent(config: Config, preference: TargetState) -> ModelPredictive:
    """Cross-entropy search over several steps, each factor a choice of its own, warm-started."""
    plan = Factored(jnp.asarray((-1, 0, 1), jnp.int32), 4, config.horizon)
    engine = CrossEntropy(config.population, max(config.population // 12, 2))
    return active_inference(preference, plan, engine=engine, num_steps=config.generations)


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Run the experiment."""
    perception, episodes, num = SpritePerception(), config.num_episodes, config.num_sequences
    models, tracking = perception.models, tracking_models(LATTICE_SIGMA)
    interact = partial(
        explore, DSprites(), LATTICE_EXPLORATION, tracking, num_sequences=num, length=config.sequence_length,
        num_steps=config.exploring_steps,
    )  # fmt: skip
    data = jax.tree.map(jnp.asarray, context.stage("interact", interact, key=key))
    dynamics = regress_online(data).expected()
    seen = jax.tree.map(jnp.asarray, context.stage("look", partial(look, perception, episodes), key=key))
    steps_error = np.max(np.abs(np.asarray(dynamics.control) / np.asarray(CLASS_STEP)[:, None] - np.eye(4)))
    context.measure("control/steps-error", steps_error)

    given = jax.vmap(lambda goal: SpriteCoordinates().inverse(similarity_of(goal)))(seen.state.goal)
    agents = {
        EXHAUSTIVE: ("act-target", exhaustive_agent, given),
        BY_IMAGE: ("act-image", exhaustive_agent, seen.goal_loc),
        SEARCHING: ("act-search", searching_agent, given),
    }
    results, rows, ratios = {}, [], {}
    for name, (stage, agent, goals) in agents.items():
        act = partial(
            play, partial(agent, config), models, dynamics, seen, goals, filter_steps=config.filter_steps,
            tolerance=config.tolerance,
        )  # fmt: skip
        results[name] = episodes = context.stage(stage, act, key=key)
        shortest, arrived = np.asarray(episodes.distance)[:, 0], arrival(episodes.distance)
        share, count = float(np.mean(arrived <= 1.3 * shortest + 1e-9)), len(arrived)
        error = float(np.sqrt(share * (1.0 - share) / count))
        ratios[name] = np.where(shortest > 0, arrived / np.maximum(shortest, 1), np.where(arrived == 0, 1.0, np.inf))
        rows.append((name, share, error, float(np.mean(arrived == shortest)), float(np.max(pose_error(episodes)))))
        if name in MEASURED:
            context.measure(MEASURED[name], share, stderr=error)
    context.table(
        "control",
        ("agent", "reached within 1.3 x", "standard error", "on a shortest path",
         "largest error of the believed pose (classes)"),
        rows,
        caption=f"{config.num_episodes} episodes from a random start to a random goal in all four factors.",
    )  # fmt: skip
    right = float(np.mean(np.asarray(seen.shape) == np.asarray(seen.state.latents)[:, 0]))
    context.note("perception", f"The shape in the first frame was recognised in {100 * right:.1f} % of the episodes.")
    _draw(context, models, seen, results, ratios)


def _draw(
    context: RunContext,
    models: SpatialTransformer,
    seen: PerceivedTask,
    results: dict[str, ReachingEpisodes],
    ratios: dict[str, Float[np.ndarray, " n"]],
) -> None:
    context.figure(
        "success",
        plot_success(ratios, start=0.9, horizon=1.6, xlabel="steps / shortest path", limit=1.3),
        caption="Share of episodes at the goal against the number of steps, in units of the shortest path.",
    )
    episodes = results[EXHAUSTIVE]
    longest = int(np.argmax(np.asarray(episodes.distance)[:, 0]))
    ending = int(np.asarray(episodes.distance)[longest, 0])
    names = ("risk", "ambiguity", "pragmatic value", "epistemic value")
    terms = {name: np.asarray(values)[longest] for name, values in zip(names, episodes.terms, strict=False)}
    context.figure(
        "terms",
        plot_terms(terms, ending=ending, title="Expected free energy of the chosen action"),
        caption="Terms of the expected free energy over the longest episode, in nats; the dotted line is the arrival. The "
        "noise of a pixel does not depend on the pose, so ambiguity is constant here.",
    )
    episode = jax.tree.map(lambda leaf: jnp.asarray(leaf)[longest], results[SEARCHING])
    sprite, stop = model_at(models, seen.shape[longest]), ending + 3

    def expect(loc, scale_tril):
        draws = loc[None, :] + jr.normal(jr.key(0), (32, 4), loc.dtype) @ scale_tril.T
        images = jax.vmap(sprite.image)(draws)
        return jnp.mean(images, axis=0), jnp.std(images, axis=0)

    expected, deviation = jax.jit(jax.vmap(expect))(episode.locs[:stop], episode.scale_trils[:stop])
    poses = jnp.concatenate([episode.locs[:stop, None], episode.plans[:stop]], axis=1)[..., 2:]
    coordinates = SpriteCoordinates()
    pictures = np.asarray(
        render(jnp.concatenate([episode.latents[:stop], jnp.asarray(seen.state.goal)[longest][None]]))
    )
    frames = animate_control(
        pictures[:-1],
        np.asarray(expected),
        np.asarray(deviation),
        pictures[-1],
        np.asarray(coordinates.offset[None, None, 2:] + coordinates.gain[None, None, 2:] * poses),
        np.asarray(episode.distance[:stop]),
    )
    context.animation(
        "episode",
        frames,
        frames_per_second=4.0,
        caption="An episode of the agent that searches: what it sees, what it believes (the deviation is largest along "
        "edges), the goal with the believed outline (blue) and the chosen plan (orange).",
    )
