"""From the name of an environment to a trained agent."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from ...agents import play
from ...results import BadInputError
from ...runs import Experiment, Minutes, RunContext
from ...train import FitResult, fit, read_json_lines
from ...typing import Key
from ...viz import plot_returns
from ._options import ControlOptions
from ._returns import returns_summary
from ._system import learner_of, loader_of, num_updates, worlds_of
from ._trained import TrainedAgent, options_of

SEGMENT = 500
"""Updates between two reports."""

_TEST = 2**31 - 1
"""Folded into the key of the last evaluation; seeds of agents are below."""


class Recorded(NamedTuple):
    """What is written down of a segment.

    Attributes:
        episode_return: mean over the episodes that ended, with exploration; NaN if none did.
        episode_steps: likewise.
        action_value: mean value of what was done.
        critic_error: root mean square, in the unit of the reward.
        energy_nats: of policies.
        divergence_nats: from the prior.
        temperature: alpha.
    """

    episode_return: float
    episode_steps: float
    action_value: float
    critic_error: float
    energy_nats: float
    divergence_nats: float
    temperature: float


def recorded(metrics: Any) -> Recorded:
    """Means over episodes from means over updates."""
    some = metrics.episodes or float("nan")
    rest = {name: getattr(metrics, name) for name in Recorded._fields[2:]}
    return Recorded(metrics.episode_return / some, metrics.episode_steps / some, **rest)


def train(options: ControlOptions, context: RunContext | None = None, *, key: Key) -> TrainedAgent:
    """Train agents.

    Args:
        options: of environment, agent and learning.
        context: the run that keeps, measures and draws; without one nothing but the agents is left.
        key: of everything that is drawn.

    Raises:
        BadInputError: options that do not fit, or, without a run, numbers that are not finite.
    """
    for name in ("seeds", "episodes", "evaluate_every"):
        if getattr(options, name) < 1:
            raise BadInputError(
                f"Expected --{name.replace('_', '-')} of at least 1, got {getattr(options, name)}: choose more."
            )
    updates = num_updates(options)
    worlds = worlds_of(options)
    learner = learner_of(options, worlds, key=key)
    loader = loader_of(options, worlds, learner)
    if context is not None:
        _announce(options, context)
    results = []
    for number in range(options.seeds):
        seed_key = jax.random.fold_in(key, number)
        fresh = learner_of(options, worlds, key=seed_key)
        judges = worlds_of(options, min(options.episodes, 10))

        def validate(state: Any, key: Key, judges: Any = judges) -> float:
            agent = learner.agent(state, explore=False)
            return -float(play(judges, agent, options.episodes, key=key).returns.mean())

        every = max(1, min(SEGMENT, updates))
        between = max(every, int(options.evaluate_every * options.updates_per_step))
        schedule: dict[str, Any] = {
            "num_steps": updates,
            "every": every,
            "validate": validate,
            "validate_every": between,
        }
        if context is None:
            found = fit(fresh, loader, key=seed_key, **schedule)
        else:
            found = context.fit(
                f"seed-{number}",
                fresh,
                loader,
                key=seed_key,
                recorded=recorded,
                validated=lambda nats: {"evaluation_return": -nats},
                **schedule,
            )
        if found.failure is not None and context is None:
            raise BadInputError(
                f"Expected finite numbers throughout training, which stopped at {_failure_text(found)}."
            )
        results.append(found)
    trained = TrainedAgent(options, learner, [found.state for found in results])
    if context is not None:
        trained.save(context.folder)
        _conclude(trained, results, context, key=key)
    return trained


def train_experiment(config: Mapping[str, Any], folder: Path) -> Experiment:
    """Wraps a training as an experiment, so that it can be run and resumed.

    Raises:
        CheckpointError: another version of the code wrote the configuration.
    """
    options = options_of(dict(config), folder)

    def run(config: Any, context: RunContext, *, key: Key) -> None:
        train(options, context, key=key)

    return Experiment("train", f"{options.policy} policy in {options.env}", "", Minutes(0, 0, 0), (), type(None), run)


def _announce(options: ControlOptions, context: RunContext) -> None:
    worlds = worlds_of(options, 1)
    context.say(
        f"  {options.env}: observations {worlds.observation_spec}, actions {worlds.action_spec}; {options.warmup:,} of "
        f"{options.steps:,} steps by uniform actions first"
    )


def _conclude(trained: TrainedAgent, results: list[FitResult], context: RunContext, *, key: Key) -> None:
    options, test_key = trained.options, jax.random.fold_in(key, _TEST)
    played = [
        context.stage(
            f"evaluate-{number}",
            lambda key, number=number: trained.evaluate(options.episodes, key=key, number=number),
            key=test_key,
        )
        for number in range(options.seeds)
    ]
    summary = returns_summary(played)
    failures = [_failure_text(found) for found in results if found.failure is not None]
    context.conclude(
        title=f"{options.policy} policy in {options.env}",
        results=summary.words(),
        **summary._asdict(),
        returns=[each.returns.tolist() for each in played],
        steps=options.steps,
        failure="; ".join(failures) or None,
        next=f"homeostat evaluate {context.folder} --episodes 100",
    )
    lines = read_json_lines(context.folder / "metrics.jsonl")
    _show(lines, options, context)


def _show(lines: list[dict[str, Any]], options: ControlOptions, context: RunContext) -> None:
    def curve(stage: str, name: str) -> list[tuple[float, float]]:
        known = [line for line in lines if line["stage"] == stage and line.get(name) is not None]
        return [(options.warmup + line["step"] / options.updates_per_step, line[name]) for line in known]

    stages = [f"seed-{number}" for number in range(options.seeds)]
    panels = {
        "return": {
            "exploring": [curve(stage, "episode_return") for stage in stages],
            "evaluated": [curve(stage, "evaluation_return") for stage in stages],
        },
        "value of what was done": {"critics": [curve(stage, "action_value") for stage in stages]},
        "divergence from uniform, nats": {"policies": [curve(stage, "divergence_nats") for stage in stages]},
        "temperature": {"": [curve(stage, "temperature") for stage in stages]},
    }
    context.figure(
        "learning",
        plot_returns(panels),
        caption=f"Against the steps in {options.env}; a line for each of {options.seeds} agents, evaluations without exploration.",
    )


def _failure_text(found: FitResult) -> str:
    names = [name for name in ("distortion", "rate", "gradient") if bool(getattr(found.failure, name))]
    words = {
        "distortion": "the values of the critics",
        "rate": "the divergence of the policy",
        "gradient": "a gradient",
    }
    return f"update {found.last_step}: {' and '.join(words[name] for name in names)} became NaN or infinite"
