"""One line for every environment; see `catalogue`."""

from collections.abc import Callable

import jax.numpy as jnp

from homeostat.core import AbstractEnvironment, Bounded
from homeostat.environments import (
    Antialiased,
    AutoReset,
    ContinuousMotion,
    DSprites,
    Fovea,
    Occluders,
    Patch,
    Pendulum,
    PixelNoise,
    SecondOrderMotion,
    Simulated,
    SpriteScene,
    TimeLimit,
    action_probe,
)
from problems import remembering
from sequential_catalogue import linear_gaussian
from worlds import GOAL, Plane


def _small() -> DSprites:
    return DSprites(motion=ContinuousMotion(), renderer=Antialiased(16))


ENVIRONMENTS: dict[str, Callable[[], AbstractEnvironment]] = {
    "sprites": DSprites,
    "sprites, continuous": _small,
    "sprites, second order": lambda: DSprites(motion=SecondOrderMotion(), renderer=Antialiased(16)),
    "scene": SpriteScene,
    "fovea": lambda: Fovea(_small(), 8),
    "occluders": lambda: Occluders(_small(), (Patch(2, 2, 4, 4),)),
    "pixel noise": lambda: PixelNoise(_small(), 0.1),
    "pendulum": Pendulum,
    "probe": action_probe,
    "plane (of the tests)": lambda: Plane(GOAL),
    "time limit": lambda: TimeLimit(Plane(GOAL), 3),
    "auto-reset": lambda: AutoReset(TimeLimit(Plane(GOAL), 3)),
    "simulated": lambda: Simulated(linear_gaussian(), lambda s, a, after: -jnp.sum(after**2), Bounded((1,), -1, 1)),
    "simulated, with a memory": lambda: Simulated(
        remembering(), lambda s, a, after: -jnp.sum(after**2), Bounded((1,), -1, 1)
    ),
}
