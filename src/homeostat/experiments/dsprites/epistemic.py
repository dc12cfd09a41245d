"""Epistemic value earns its place: through a fovea, an agent that values information finds the sprite and brings it home."""

import itertools
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ...control import ConstantAction, ModelPredictive, Sampled, TargetState, active_inference
from ...environments import PixelExact, SpriteGrid
from ...inference.engines import Enumerate
from ...objectives import NestedMonteCarlo, PragmaticEpistemic
from ...runs import AtLeast, Claim, Minutes, RunContext
from ...typing import Array, Float, Int, Key
from ...viz import animate_gaze, plot_belief_maps, plot_success, plot_terms, wilson_interval
from ._searching import WINDOW, SearchEpisodes, SearchTask, draw_tasks, play, receptive_fields, settled

SOURCE = "Friston et al., 'Active inference and epistemic value', 2015; slides, action selection"
MINUTES = Minutes(smoke=0.7, small=2.0, paper=10.0)
_GAP = "lower 95 % bound of success with the epistemic term, less the upper bound without it"
_DIFFERENCE = "success with the epistemic term, less success without it"
CLAIMS = (
    Claim("epistemic/interval-gap", SOURCE, _GAP, "fraction", AtLeast(0.0)),
    Claim("epistemic/difference", SOURCE, _DIFFERENCE, "fraction", AtLeast(0.1), scales=("smoke", "small", "paper")),
)

WITH, WITHOUT = "expected free energy", "without the epistemic term"
RANDOM, SWEEP, TOLD = "gaze at random", "gaze by a fixed sweep", "told where the sprite is"


@dataclass(frozen=True)
class Config:
    """Options of this experiment."""

    num_episodes: int = 120
    """Episodes for each agent (count)."""
    budget: int = 32
    """Actions in an episode; success is to be at the goal after the last (count)."""
    noise: float = 0.4
    """Standard deviation of a pixel's noise (brightness)."""
    tolerance: float = 1.0
    """Standard deviation of the preference about the target, in classes of position."""
    horizon: int = 2
    """Steps for which a candidate action is held in thought (count)."""
    num_outcomes: int = 16
    """Imagined observations for each candidate action and step (count)."""
    temperature: float = 0.05
    """Of the distribution over plans (nats); plans of equal energy are taken equally often."""
    chunk: int = 10
    """Episodes computed at a time, which bounds the memory (count)."""

    @classmethod
    def for_scale(cls, scale: str) -> "Config":
        """The values used at one scale."""
        if scale == "smoke":
            return cls(num_episodes=20, num_outcomes=8)
        return cls(num_episodes=1_000, num_outcomes=32) if scale == "paper" else cls()


def make_agent(config: Config, goal: Int[Array, "5"], epistemic_weight: float) -> ModelPredictive:
    """All 81 pairs of a move of the sprite and a move of the gaze, held for the horizon."""
    moves = itertools.product((0,), (0,), *[(-1, 0, 1)] * 4)
    away = jnp.full(4, jnp.inf).at[:2].set(config.tolerance)
    target = TargetState(jnp.concatenate([goal[3:], jnp.zeros(2, goal.dtype)]).astype(jnp.float32), away)
    return active_inference(
        target,
        ConstantAction(jnp.asarray(list(moves), jnp.int32), config.horizon),
        engine=Enumerate(config.temperature),
        estimator=NestedMonteCarlo(config.num_outcomes),
        functional=PragmaticEpistemic(epistemic_weight),
        choice=Sampled(),
    )


def sweep(budget: int) -> Int[np.ndarray, "budget 2"]:
    """A script that reads the canvas like a page: to the middle of the first rows, along, down, and back.

    Views of 16 pixels, one row of views after another over the part of the canvas where sprites are.
    """
    rows = [(1, 1)] * 3 + [(1, 0)] * 6 + [(0, 1)] * 3 + [(-1, 0)] * 6 + [(0, 1)] * 3 + [(1, 0)] * 6
    return np.asarray((rows * (budget // len(rows) + 1))[:budget], np.int32)


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Run the experiment."""
    fields = receptive_fields()
    draw = partial(draw_tasks, config.num_episodes, config.budget)
    tasks = context.stage("tasks", draw, key=key)
    # The page is read from the corner where the gaze starts.
    towards = jnp.where(jnp.asarray(tasks.corner) == 0.0, 1, -1)[:, None, :]
    swept = tasks._replace(script=(jnp.asarray(sweep(config.budget))[None] * towards).astype(jnp.int32))
    agents = {
        WITH: ("act-efe", tasks, False, False, 1.0),
        WITHOUT: ("act-without", tasks, False, False, 0.0),
        RANDOM: ("act-random", tasks, False, True, 0.0),
        SWEEP: ("act-sweep", swept, False, True, 0.0),
        TOLD: ("act-told", tasks, True, False, 0.0),
    }
    makers = {weight: partial(make_agent, config, epistemic_weight=weight) for weight in (0.0, 1.0)}
    results, rows, times, shares = {}, [], {}, {}
    for name, (stage, tasks_of, told, scripted, weight) in agents.items():
        act = partial(
            play, makers[weight], fields, tasks_of, jnp.asarray(told), scripted=scripted, noise=config.noise,
            chunk=config.chunk,
        )  # fmt: skip
        results[name] = context.stage(stage, lambda key, act=act: act(), key=key)
        times[name] = settled(results[name].at_goal)
        share, count = float(np.mean(np.isfinite(times[name]))), config.num_episodes
        low, high = wilson_interval(share, count)
        shares[name] = (share, float(low), float(high))
        found = np.asarray(results[name].belief).max(axis=(2, 3)) > 0.5
        when = np.where(found.any(axis=1), found.argmax(axis=1), config.budget)
        rows.append((name, share, float(low), float(high), float(np.median(when))))
    context.table(
        "success",
        ("agent", "success", "95 % from", "to", "median decisions until half certain of the place"),
        rows,
        caption=f"At the goal after {config.budget} actions, {config.num_episodes} episodes each, the same starts, goals and noise "
        "for every agent. Only the epistemic term differs between the first two.",
    )
    difference = shares[WITH][0] - shares[WITHOUT][0]
    variance = sum(share * (1.0 - share) / config.num_episodes for share, *_ in (shares[WITH], shares[WITHOUT]))
    context.measure("epistemic/interval-gap", shares[WITH][1] - shares[WITHOUT][2])
    context.measure("epistemic/difference", difference, stderr=float(np.sqrt(variance)))
    _draw(config, context, tasks, results[WITH], times)


def _draw(
    config: Config,
    context: RunContext,
    tasks: SearchTask,
    episodes: SearchEpisodes,
    times: dict[str, Float[np.ndarray, " n"]],
) -> None:
    context.figure(
        "success",
        plot_success(times, horizon=config.budget, start=0.0, xlabel="actions", limit=None),
        caption="Share of episodes in which the sprite is at its goal for good, against the number of actions, with 95 % "
        "intervals.",
    )
    # A success in which there was something to search for: the longest search among them.
    certain = np.asarray(episodes.belief).max(axis=(2, 3)) > 0.5
    searching = np.where(certain.any(axis=1), certain.argmax(axis=1), -1)
    chosen = int(np.argmax(np.where(np.isfinite(times[WITH]), searching, -1)))
    ending = int(times[WITH][chosen]) if np.isfinite(times[WITH][chosen]) else None
    one = jax.tree.map(lambda leaf: np.asarray(leaf)[chosen], episodes)
    names = ("ambiguity", "pragmatic value", "epistemic value")
    terms = dict(
        zip(names, (one.terms.ambiguity_nats, one.terms.pragmatic_nats, one.terms.epistemic_nats), strict=True)
    )
    context.figure(
        "terms",
        plot_terms(terms, ending=ending, title="Expected free energy of the chosen action"),
        caption="Terms over one episode, in nats: looking is worth something until the sprite is found. The noise does not "
        "depend on the state, so ambiguity is constant.",
    )
    found = int(searching[chosen]) if searching[chosen] >= 0 else config.budget - 1
    moments = sorted({0, found // 3, 2 * found // 3, max(found - 1, 0), found, config.budget - 1})
    maps = np.swapaxes(one.belief, 1, 2)
    spread = (16.0, 48.0)
    sprites = 16.0 + one.latents[:, 3:] * (32.0 / 31.0)
    goal = 16.0 + np.asarray(tasks.goal)[chosen, 3:] * (32.0 / 31.0)
    context.figure(
        "belief",
        plot_belief_maps(
            maps, moments, extent=spread, windows=one.gaze, width=float(WINDOW), sprites=sprites, goal=goal
        ),
        caption="Belief about the sprite's position (brighter is more probable), the view (square), the sprite (circle) and "
        "the goal (cross). What was looked at and found empty is dark.",
    )
    scenes = np.asarray(jax.vmap(lambda latents: PixelExact().render(latents, SpriteGrid()))(jnp.asarray(one.latents)))
    frames = animate_gaze(
        maps,
        scenes,
        one.view,
        extent=spread,
        windows=one.gaze,
        width=float(WINDOW),
        goal=goal,
        epistemic=one.terms.epistemic_nats,
    )
    context.animation(
        "episode",
        frames,
        frames_per_second=3.0,
        caption="An episode: the world with the view (square) and the goal (cross), what the retina sees, and the belief.",
    )
