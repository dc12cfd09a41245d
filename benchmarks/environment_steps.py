"""Environment steps per second, with a rendered image at every step.

Run `python benchmarks/environment_steps.py`. Compared in one run, on the same actions:

- this library's world, pixel-exact and antialiased: transition, image (float32), reward and terminal in one program;
- a NumPy world in the design of the original interactive data set: all images in one table, indexed by mixed radix.
Its step
  is a transition and a look-up (uint8), without reward; once more with the image converted to float32, as ours is.

Every entry is the median over `repeats` of the time for one batched step; compilation and building the table stand
apart.
"""

import dataclasses
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from homeostat.environments import Antialiased, DSprites, PixelExact, SpriteGrid, SpriteState, render_block


@dataclasses.dataclass(frozen=True)
class Config:
    """What to measure."""

    batch: int = 1024
    """environments stepped together"""
    repeats: int = 50
    """batched steps to take the median of"""
    table_shapes: int = 1
    """shapes in the table of images, 1 GB each; starts are drawn from as many shapes for every entry"""
    json: Path | None = None
    """file for the result"""


class LookupWorld:
    """All images in one table. States are (batch, 5) class indices; the same factors, moves and wrapping as ours."""

    def __init__(self, shapes: int, as_float: bool):
        grid = SpriteGrid(39)
        blocks = [render_block(grid, s, k, o) for s in range(shapes) for k in range(6) for o in range(39)]
        self.images = np.unpackbits(np.concatenate(blocks), axis=1).reshape(-1, 64, 64)
        self.bases = np.array([6 * 39 * 1024, 39 * 1024, 1024, 32, 1])
        self.last = np.array([5, 0, 31, 31])
        self.as_float = as_float

    def step(self, states: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        moved = states[:, 1:] + actions
        wrapped = moved[:, 1] % 39
        moved = np.clip(moved, 0, self.last)
        moved[:, 1] = wrapped
        states = np.concatenate([states[:, :1], moved], axis=1)
        images = self.images[states @ self.bases]
        return (images.astype(np.float32) if self.as_float else images), states


def our_step(world: DSprites) -> Callable[..., Any]:
    """One batched step in one program."""

    def step(state: SpriteState, action: jax.Array, key: jax.Array) -> tuple[Any, ...]:
        transition_key, observation_key = jr.split(key)
        new = world.transition(state, action, key=transition_key)
        image = world.observation(new, key=observation_key)
        return image, new, world.reward(state, action, new), world.terminal(new)

    return jax.jit(jax.vmap(step))


def measure_ours(world: DSprites, states: np.ndarray, actions: np.ndarray) -> tuple[float, list[float]]:
    """Seconds of the first call, and of every later one."""
    step = our_step(world)
    latents = jnp.asarray(states, jnp.int32)
    state = SpriteState(latents, jnp.zeros((len(states), 0)), jnp.roll(latents, 1, axis=0))
    keys = jax.jit(lambda: jr.split(jr.key(0), len(states)))()
    seconds = []
    for action in jnp.asarray(actions, jnp.int32):
        start = time.perf_counter()
        _, state, *_ = jax.block_until_ready(step(state, action, keys))
        seconds.append(time.perf_counter() - start)
    return seconds[0], seconds[1:]


def measure_lookup(world: LookupWorld, states: np.ndarray, actions: np.ndarray) -> list[float]:
    """Seconds of every step but the first."""
    seconds = []
    for action in actions:
        start = time.perf_counter()
        _, states = world.step(states, action)
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def main(config: Config) -> None:
    """Measure and print."""
    generator = np.random.default_rng(0)
    sizes = (config.table_shapes, 6, 39, 32, 32)
    states = np.stack([generator.integers(0, size, config.batch) for size in sizes], axis=1)
    actions = generator.integers(-1, 2, (config.repeats + 1, config.batch, 4))
    grid = SpriteGrid(39)
    rows = []
    for name, renderer in (("pixel-exact", PixelExact()), ("antialiased", Antialiased())):
        first, seconds = measure_ours(DSprites(grid=grid, renderer=renderer), states, actions)
        rows.append((f"homeostat, {name}, float32", seconds, first))
    start = time.perf_counter()
    lookup = LookupWorld(config.table_shapes, as_float=False)
    built = time.perf_counter() - start
    for name in ("uint8", "float32"):
        lookup.as_float = name == "float32"
        rows.append((f"NumPy table of images, {name}", measure_lookup(lookup, states, actions), built))

    table = Table(title=f"Rendered environment steps per second, batch {config.batch}")
    for column in ("world", "steps/s", "10 % to 90 % of steps/s", "set-up s"):
        table.add_column(column, justify="left" if column == "world" else "right")
    results = []
    for name, seconds, setup in rows:
        rates = config.batch / np.quantile(seconds, [0.5, 0.9, 0.1])
        table.add_row(name, f"{rates[0]:,.0f}", f"{rates[1]:,.0f} to {rates[2]:,.0f}", f"{setup:.2f}")
        results.append({"world": name, "steps_per_second": round(rates[0]), "setup_seconds": round(setup, 3)})
    Console().print(table)
    if config.json is not None:
        machine = {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "jax": jax.__version__,
            "numpy": np.__version__,
        }
        record = {"batch": config.batch, "repeats": config.repeats, "machine": machine, "results": results}
        config.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(tyro.cli(Config))
