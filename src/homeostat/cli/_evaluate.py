"""`homeostat evaluate`, which asks a fitted model about new data, and a trained agent about new episodes."""

import contextlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from ..runs import version
from ._fitted import fitted_command
from ._options import AbstractRunOptions, Run, Session, bad_input, print_options, read_options
from ._terminal import reserved_output

_COMMAND = "homeostat evaluate"


@final
@dataclass(frozen=True, kw_only=True)
class EvaluateAgentOptions(AbstractRunOptions):
    """Returns of a trained agent in new episodes."""

    run: Run
    """The folder of a run of `homeostat train`."""
    episodes: int = 100
    """Episodes of each agent (count)."""
    explore: bool = False
    """Draw actions from the policy instead of taking its centre."""
    seed: int = 0
    """Random seed, 0 to 4294967295."""


def evaluate_command(arguments: list[str], session: Session) -> int:
    """Ask the run that is named, whatever it is one of."""
    if {"-h", "--help"} & set(arguments):
        print_options(EvaluateAgentOptions, f"{_COMMAND} RUN-OF-TRAIN")
        print("\nand of a fitted model:\n")
        return fitted_command("evaluate", arguments, session)
    if not any(_is_of_an_agent(argument) for argument in arguments):
        return fitted_command("evaluate", arguments, session)
    options, _ = read_options(EvaluateAgentOptions, arguments, _COMMAND)
    if options.episodes < 1:
        raise bad_input(f"Expected --episodes of at least 1, got {options.episodes}: choose more.")
    session.terminal.say(f"homeostat {version()}: evaluate {options.run} in {options.episodes} new episodes")
    with reserved_output(options.json) as output:
        from ..runs import compilation_cache

        with compilation_cache(not options.no_cache, session.terminal):
            result = _evaluate(options)
        words = [f"{name:<42}{value:>24}" for name, value in result.pop("words")]
        output.write((json.dumps(result) if options.json else "\n".join(words)) + "\n")
        output.flush()
    return 0


def _evaluate(options: EvaluateAgentOptions) -> dict[str, Any]:
    import jax

    from ..workflow import load_agent, returns_summary

    start, trained = time.monotonic(), load_agent(options.run)
    key = jax.random.key(options.seed)
    played = [
        trained.evaluate(options.episodes, key=key, number=number, explore=options.explore)
        for number in range(len(trained.states))
    ]
    summary = returns_summary(played)
    return {
        "run": str(options.run),
        "seed": options.seed,
        "explore": options.explore,
        "words": summary.words(),
        **summary.plain(),
        "returns": [each.returns.tolist() for each in played],
        "seconds": round(time.monotonic() - start, 3),
    }


def _is_of_an_agent(argument: str) -> bool:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        config = json.loads((Path(argument) / "config.json").read_text(encoding="utf-8"))
        return config.get("experiment") == "train"
    return False
