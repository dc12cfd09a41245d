"""`homeostat train`."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, final

from ..runs import version
from ..workflow import ControlOptions, preset
from ._options import AbstractNewRunOptions, Session, option_names, print_in_groups, read_options, unknown_option
from ._run import execute, start_run
from ._terminal import reserved_output

_COMMAND = "homeostat train"
_GROUPS = {
    "task": ("env", "steps", "seeds", "worlds"),
    "policy": ("policy", "iterations", "temperature", "target_divergence", "action_samples"),
    "run": ("out", "seed", "json"),
    "evaluation": ("evaluate_every", "episodes"),
    "values": (
        "critics",
        "pessimism",
        "acting_pessimism",
        "layer_norm",
        "returns",
        "return_steps",
        "discount",
        "target_rate",
    ),
    "learning": ("learning_rate", "batch_size", "updates_per_step", "warmup", "replay", "width", "depth"),
}


@final
@dataclass(frozen=True, kw_only=True)
class TrainOptions(AbstractNewRunOptions):
    """Train an agent that infers its policy from learned values, and keep it as a run."""


@final
@dataclass(frozen=True, kw_only=True)
class _Hints:
    """What the defaults depend on."""

    env: str = ""


def train_command(arguments: list[str], session: Session) -> int:
    """Train in a new run folder."""
    asked_for_help = bool({"-h", "--help"} & set(arguments))
    arguments = [argument for argument in arguments if argument not in ("-h", "--help")]
    own, rest = read_options(TrainOptions, arguments, _COMMAND, known_only=True)
    hints, _ = read_options(_Hints, rest, _COMMAND, known_only=True)
    default = preset(hints.env)
    if asked_for_help:
        print_in_groups((TrainOptions(), default), _GROUPS, "rarely_needed", _COMMAND)
        return 0
    options, unknown = read_options(ControlOptions, rest, _COMMAND, default=default, known_only=True)
    if unknown:
        names = [*option_names(TrainOptions), *option_names(default)]
        raise unknown_option("a training", _COMMAND, unknown[0], names)
    session.terminal.say(
        f"homeostat {version()}: train a {options.policy} policy in {options.env or '?'} for {options.steps:,} steps, seed {own.seed}"
    )
    with reserved_output(own.json) as output:
        from ..runs import Request, default_folder, precision
        from ..workflow import train_experiment

        config = json.loads(json.dumps(dataclasses.asdict(options)))

        def work(folder: Any) -> int:
            experiment = train_experiment(config, folder.path)
            return execute(folder, [experiment], {experiment.name: None}, own, session, output)

        request = Request("train", "", own.seed, config, [], own.checkpoint_seconds, precision())
        name = options.env.replace("/", "-") or "nothing"
        path = own.out or default_folder(f"train-{name}-{options.policy}", own.seed)
        return start_run(request, path, session, work)
