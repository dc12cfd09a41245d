"""Average the shared data."""

from dataclasses import dataclass

import jax.numpy as jnp

from homeostat.runs import Between, Claim, Minutes, RunContext
from homeostat.typing import Key

from ._data import Spec, build

SOURCE = "the tests of the command line"
MINUTES = Minutes(0.01, 0.01, 0.01)
CLAIMS = (
    Claim("average/mean", SOURCE, "mean output", "", Between(-1.0, 1.0), scales=("smoke", "small")),
    Claim("average/spread", SOURCE, "mean square of the outputs", "", Between(0.1, 30.0)),
)


@dataclass(frozen=True)
class Config:
    """Options of the average."""

    rows: int = 100
    """Rows of the data (count)."""

    @classmethod
    def for_scale(cls, scale: str) -> "Config":
        return cls()


def run(config: Config, context: RunContext, *, key: Key) -> None:
    spec = Spec(config.rows)
    data = context.shared("data", lambda key: build(spec, key), spec=spec)
    context.measure("average/mean", jnp.mean(data.outputs))
    context.measure("average/spread", jnp.mean(data.outputs**2))
