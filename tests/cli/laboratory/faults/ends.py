"""End as the configuration says."""

import enum
from dataclasses import dataclass

import jax.numpy as jnp

from homeostat.results import BadInputError
from homeostat.runs import AtLeast, Claim, Minutes, RunContext
from homeostat.typing import Key

SOURCE = "the tests of the command line"
MINUTES = Minutes(0.01, 0.01, 0.01)
SCALES = ("smoke", "small", "paper")
CLAIMS = (
    Claim("ends/value", SOURCE, "the given value", "", AtLeast(0.5), scales=SCALES),
    Claim("ends/other", SOURCE, "a value that always holds", "", AtLeast(0.5), scales=SCALES),
)


class End(enum.Enum):
    measured = "measured"
    crash = "crash"
    crash_late = "crash late"
    bad_input = "bad input"
    interrupt = "interrupt"
    nothing = "nothing"


@dataclass(frozen=True)
class Config:
    """Options of the end."""

    end: End = End.measured
    """How to end."""
    value: float = 1.0
    """What to measure (dimensionless)."""

    @classmethod
    def for_scale(cls, scale: str) -> "Config":
        return cls()


def run(config: Config, context: RunContext, *, key: Key) -> None:
    if config.end is End.crash:
        raise RuntimeError("an experiment with a mistake")
    if config.end is End.bad_input:
        raise BadInputError("Expected something else, got this. Do that.")
    context.stage("short", lambda key: jnp.ones(3), key=key)
    print("an experiment that prints")
    context.measure("ends/other", 1.0)
    if config.end is End.crash_late:
        raise RuntimeError("an experiment with a mistake after a stage")
    if config.end is End.interrupt:
        raise KeyboardInterrupt
    if config.end is End.measured:
        context.measure("ends/value", config.value)
