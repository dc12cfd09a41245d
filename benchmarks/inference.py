"""Images inferred per second, and time to within one nat of the optimum, at batch 1,024.

Run `python benchmarks/inference.py`. Pose of a sprite of known shape, Gaussian posterior with diagonal covariance, the same
pictures for all. Compared in one run:

- the encoder; iterative amortized inference started by it (both trained here first, for about two minutes);
- natural gradient started from mass and centroid;
- optax-Adam variational inference from the same start, with 8 cubature points a step and with one antithetic pair a step,
  rate 0.1, the best of a grid on training pictures; halved every 100 steps where the gradient is noisy.

Every iterative entry runs the smallest number of steps of a list that brings the median picture to within one nat of its
optimum (the least energy that any engine found, on points common to all); the time is the median over `repeats` of the whole
batch, compilation apart. `SpritePerception`, which finds the shape too, is timed beside them.
"""

import dataclasses
import json
import os
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import tyro
from rich.console import Console
from rich.table import Table

from homeostat.core import AbstractEngine
from homeostat.distributions import AbstractExpectation, Antithetic, Cubature
from homeostat.experiments.dsprites._amortized import FAMILY, SpriteEncoder, encoded, iterative_engine
from homeostat.experiments.dsprites._engines import flat, measured_energy
from homeostat.experiments.dsprites._perceive import SpritePerception
from homeostat.experiments.dsprites._sprites import by_shape, latents_at, render, split_configurations
from homeostat.experiments.dsprites._training import (
    ITERATIVE,
    SLEEP,
    WAKE,
    Pictures,
    feedforward_starts,
    iterative_loss,
    new_encoder,
    sleep_loss,
    teach,
    wake_loss,
)
from homeostat.inference import infer
from homeostat.inference.engines import Gradient, Iterative, NaturalGradient
from homeostat.objectives import Evidence, FreeEnergy
from homeostat.train import fit


@dataclasses.dataclass(frozen=True)
class Config:
    """What to measure."""

    batch: int = 1024
    """pictures inferred together, rounded up to a multiple of three"""
    repeats: int = 5
    """runs to take the median of"""
    sleep_steps: int = 1_500
    """training steps of the encoder on dreams"""
    iterative_steps: int = 700
    """training steps of iterative inference"""
    json: Path | None = None
    """file for the result"""


def train(config: Config, perception: SpritePerception, rows: jax.Array) -> tuple[SpriteEncoder, Iterative]:
    """An encoder and an iterative engine, as in the experiment but shorter."""
    keys, steps, pictures = jr.split(jr.key(1), 3), config.sleep_steps, Pictures(perception, rows)
    encoder = teach(fit, partial(new_encoder, perception), sleep_loss, perception.models, steps, SLEEP, key=keys[0])
    dreamer = lambda *, key: encoder  # noqa: E731
    encoder = teach(fit, dreamer, wake_loss, pictures, max(1, steps // 5), WAKE, key=keys[1])
    pictures = pictures._replace(encoder=encoder)
    return encoder, teach(
        fit, iterative_engine, iterative_loss(5), pictures, config.iterative_steps, ITERATIVE, key=keys[2]
    )


def runner(
    engine: AbstractEngine, expectation: AbstractExpectation, num_steps: int, record: bool
) -> Callable[..., Any]:
    """All pictures in one program; gives the last parameters, or those before every step."""

    def one(model: Any, image: jax.Array, start: Any, key: jax.Array) -> Any:
        objective, evidence = FreeEnergy(model, expectation), Evidence(image)
        posterior = infer(
            objective, engine, FAMILY, evidence, key=key, params=start, num_steps=num_steps, record=record, throw=False
        )
        return posterior.path if record else posterior.params

    def row(model: Any, *rest: Any) -> Any:
        return jax.vmap(lambda *parts: one(model, *parts))(*rest)

    return eqx.filter_jit(lambda models, *rest: eqx.filter_vmap(row)(models, *rest))


def timed(function: Callable[..., Any], arguments: tuple[Any, ...], repeats: int) -> tuple[Any, float, float]:
    """Result, seconds of the first call, median seconds of the later ones."""

    def call() -> tuple[Any, float]:
        start = time.perf_counter()
        return jax.block_until_ready(function(*arguments)), time.perf_counter() - start

    result, first = call()
    return result, first, float(np.median([call()[1] for _ in range(repeats)]))


def main(config: Config) -> None:
    """Measure and print."""
    perception = SpritePerception()
    models = perception.models
    each = -(-config.batch // 3)
    train_index, held_out = (jnp.asarray(part) for part in split_configurations(4 * 3 * each, key=jr.key(0)))
    encoder, learned = train(config, perception, by_shape(train_index))
    images = jax.vmap(lambda row: render(latents_at(row)))(by_shape(held_out)[:, :each])
    keys = jr.split(jr.key(2), images.shape[:2])

    def energy(params: Any) -> np.ndarray:
        measured = np.asarray(flat(measured_energy(models, images, params, chunk=each, key=jr.key(3))))
        return np.where(np.isnan(measured), np.inf, measured)

    start = feedforward_starts(perception, images)
    code = encoded(encoder, images)
    natural = NaturalGradient(rate=0.75)
    ends = runner(natural, Cubature(), 40, False)
    optimum = np.minimum(energy(ends(models, images, start, keys)), energy(ends(models, images, code, keys)))
    adam = Gradient(optax.adam(0.1))
    falling = Gradient(optax.adam(optax.exponential_decay(0.1, 100, 0.5)))
    entries = [
        ("natural gradient", natural, Cubature(), start, (2, 3, 4, 5, 6, 8, 10)),
        ("encoder, then iterative amortized", learned, Antithetic(1), code, (1, 2, 3, 4, 6, 8, 12, 16, 24)),
        ("encoder, then natural gradient", natural, Cubature(), code, (1, 2, 3, 4, 5, 6, 8)),
        ("optax Adam, cubature", adam, Cubature(), start, (40, 60, 80, 100, 120, 160, 240)),
        ("optax Adam, one antithetic pair", falling, Antithetic(1), start, (120, 160, 240, 320, 400, 500, 600)),
    ]
    results = []

    def note(name: str, steps: int, params: Any, first: float, seconds: float) -> None:
        excess = None if params is None else energy(params) - optimum
        results.append(
            {
                "engine": name,
                "steps": steps,
                "images_per_second": round(3 * each / seconds, 1),
                "seconds": seconds,
                "first_call_seconds": round(first, 2),
                "median_excess_nats": None if excess is None else float(np.median(excess)),
                "share_within_1_nat": None if excess is None else float(np.mean(excess <= 1.0)),
            }
        )

    params, first, seconds = timed(encoded, (encoder, images), config.repeats)
    note("encoder", 1, params, first, seconds)
    params, first, seconds = timed(feedforward_starts, (perception, images), config.repeats)
    note("feedforward start", 1, params, first, seconds)
    for name, engine, expectation, starts, counts in entries:
        path = runner(engine, expectation, counts[-1] + 1, True)(models, images, starts, keys)
        excess = [np.median(energy(jax.tree.map(lambda leaf, k=k: leaf[:, :, k], path)) - optimum) for k in counts]
        steps = next((k for k, nats in zip(counts, excess, strict=True) if nats <= 1.0), counts[-1])
        function = runner(engine, expectation, steps, False)
        params, first, seconds = timed(function, (models, images, starts, keys), config.repeats)
        note(name, steps, params, first, seconds)
    whole = eqx.filter_jit(lambda p, x, k: jax.vmap(lambda image, key: p(image, key=key).log_weights)(x, k))
    _, first, seconds = timed(whole, (perception, flat(images), keys.reshape(-1)), config.repeats)
    note("SpritePerception (shape and pose, full covariance)", 1, None, first, seconds)
    report(config, results)


def report(config: Config, results: list[dict[str, Any]]) -> None:
    """Print the table, and write the numbers if asked to."""
    fastest_adam = min(
        (row["seconds"] for row in results if "Adam" in row["engine"] and row["median_excess_nats"] <= 1.0),
        default=None,
    )
    table = Table(title=f"Inference of pose at batch {config.batch}")
    for column in (
        "engine",
        "steps",
        "images/s",
        "s a batch",
        "median excess, nats",
        "within 1 nat",
        "Adam's time / this",
    ):
        table.add_column(column, justify="left" if column == "engine" else "right")
    for row in results:
        reached = row["median_excess_nats"] is not None and row["median_excess_nats"] <= 1.0
        row["speedup_over_adam"] = fastest_adam / row["seconds"] if fastest_adam and reached else None
        table.add_row(
            row["engine"],
            str(row["steps"]),
            f"{row['images_per_second']:,.0f}",
            f"{row['seconds']:.3f}",
            *(
                "-" if row[name] is None else f"{row[name]:.3g}"
                for name in ("median_excess_nats", "share_within_1_nat", "speedup_over_adam")
            ),
        )
    Console(width=150).print(table)
    if config.json is not None:
        machine = {"processor": platform.machine(), "cores": os.cpu_count(), "jax": jax.__version__}
        record = {"batch": config.batch, "repeats": config.repeats, "machine": machine, "results": results}
        config.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(tyro.cli(Config))
