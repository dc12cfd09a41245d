"""Sprites perceived: decoding all factors, the amortization gap of an encoder, and how fast engines converge."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ...inference.engines import Iterative
from ...metrics import proportion
from ...runs import AtLeast, AtMost, Claim, Minutes, RunContext
from ...typing import Array, Float, Int, Key
from ..kit import measure
from ._amortized import iterative_engine
from ._perceive import SpritePerception
from ._perception_measures import compare_ends, race
from ._perception_report import draw_reconstructions, draw_surface, report_gaps, report_speed
from ._sprites import (
    NUM_SHAPES,
    by_shape,
    decoding_errors,
    in_classes,
    latents_at,
    render,
    split_configurations,
    sprite_models,
    within_tolerance,
)
from ._training import ITERATIVE, SLEEP, WAKE, Pictures, iterative_loss, new_encoder, sleep_loss, teach, wake_loss

SOURCE = "slides 'Inference and learning in an interactive dSprite environment', inference; Marino, thesis, chapter 3"
MINUTES = Minutes(smoke=1.0, small=5.0, paper=90.0)
_DECODED = "images with position within 1/32, scale within 0.05 and rotation within 9 degrees up to symmetry"
_CLOSED = "share of the encoder's mean amortization gap that iterative inference closes"
_SPEED = "median steps to 1 nat above the optimum, natural gradient with momentum over Adam"
CLAIMS = (
    Claim("perception/decoded", SOURCE, _DECODED, "fraction", AtLeast(0.95)),
    Claim("perception/decoded", SOURCE, _DECODED, "fraction", AtLeast(0.85), scales=("smoke",)),
    Claim("perception/shape", SOURCE, "images whose shape is right", "fraction", AtLeast(0.95)),
    Claim("perception/gap-closed", SOURCE, _CLOSED, "fraction", AtLeast(0.8)),
    Claim("perception/gap-closed", SOURCE, _CLOSED, "fraction", AtLeast(0.0), scales=("smoke",)),
    Claim("perception/steps-ratio", SOURCE, _SPEED, "ratio", AtMost(0.5)),
    Claim("perception/steps-ratio", SOURCE, _SPEED, "ratio", AtMost(0.5), scales=("smoke",)),
)


@dataclass(frozen=True)
class Config:
    """Options of this experiment."""

    sigma: float = 0.15
    """Standard deviation of a pixel under the sprite models (grey values)."""
    num_images: int = 1_000
    """Held-out images that are decoded (count)."""
    sleep_steps: int = 1_800
    """Training steps of the encoder on the model's dreams, 96 images each (count)."""
    wake_steps: int = 300
    """Training steps of the encoder on pictures, by the free energy (count)."""
    iterative_steps: int = 800
    """Training steps of iterative inference, 24 images each (count)."""
    num_iterations: int = 5
    """Iterations of iterative inference in training (count)."""
    num_test_iterations: int = 10
    """Iterations of iterative inference in testing (count)."""
    num_compared: int = 108
    """Held-out images on which gaps are measured (count, a multiple of three)."""
    adam_runs: int = 32
    """Starts of the reference optimum (count)."""
    adam_steps: int = 300
    """Steps of each of its runs (count)."""
    polish_steps: int = 150
    """Further steps of its two best runs (count)."""
    num_timed: int = 48
    """Held-out images on which steps are counted (count, a multiple of three)."""
    num_tuning: int = 12
    """Training images on which rates are chosen (count, a multiple of three)."""
    timed_steps: int = 300
    """Longest run of Adam and gradient descent when steps are counted (count)."""
    natural_steps: int = 40
    """Longest run of natural gradient (count)."""
    chunk: int = 4
    """Images of each shape that are worked on at a time (count)."""

    @classmethod
    def for_scale(cls, scale: str) -> "Config":
        """The values used at one scale."""
        if scale == "smoke":
            return cls(
                num_images=60, sleep_steps=60, wake_steps=5, iterative_steps=40, num_iterations=3, num_compared=6,
                adam_runs=4, adam_steps=80, polish_steps=20, num_timed=6, num_tuning=6, timed_steps=150, chunk=2,
            )  # fmt: skip
        if scale == "paper":
            return cls(
                num_images=10_000, sleep_steps=40_000, wake_steps=4_000, iterative_steps=20_000, num_compared=996,
                adam_steps=1_000, polish_steps=500, num_timed=300, num_tuning=60, timed_steps=2_000,
            )  # fmt: skip
        return cls()


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Run the experiment."""
    held_key, decode_key, gap_key, speed_key, boot_key = jr.split(key, 5)
    perception = SpritePerception(sprite_models(config.sigma))
    train_index, held_out = (
        jnp.asarray(part) for part in split_configurations(max(config.num_images, config.num_compared), key=held_key)
    )
    decode(context, perception, held_out[: config.num_images], key=decode_key)
    trained, engine = train(config, context, Pictures(perception, by_shape(train_index)), key=key)

    def pictures(index: Array, count: int) -> Float[Array, "shapes m 64 64"]:
        return jax.vmap(lambda row: render(latents_at(row)))(by_shape(index)[:, : count // NUM_SHAPES])

    images = pictures(held_out, config.num_compared)
    energies = context.stage(
        "gaps", lambda key: compare_ends(config, context, trained, engine, images, key=key), key=gap_key
    )
    report_gaps(context, energies, key=boot_key)
    timed = pictures(held_out, config.num_timed)
    tuning = pictures(train_index[:: max(1, len(train_index) // 999)], config.num_tuning)
    settings, paths = context.stage(
        "speed", lambda key: race(config, perception, tuning, timed, key=key), key=speed_key
    )
    report_speed(context, paths, key=boot_key)
    draw_reconstructions(config, context, trained, engine, images, key=boot_key)
    draw_surface(config, context, perception, engine, images, settings, key=boot_key)


def decode(context: RunContext, perception: SpritePerception, index: Array, *, key: Key) -> None:
    """Claim 1: perceive held-out images and compare with their factors."""
    latents = latents_at(index)

    def perceive(key: Key) -> tuple[Int[Array, " n"], Float[Array, "n 4"]]:
        """The most probable shape and the mean pose."""

        @eqx.filter_jit
        def batch(perception, latents, keys):
            found = jax.vmap(lambda image, k: perception(image, key=k))(render(latents), keys)
            return jax.vmap(lambda posterior: (posterior.best_hypothesis, posterior.best_params.loc))(found)

        keys, size, parts = jr.split(key, len(index)), min(250, len(index)), []
        with context.progress("perceiving held-out images", total=len(index)) as bar:
            for first in range(0, len(index), size):
                rows = slice(first, first + size)
                parts.append(jax.block_until_ready(batch(perception, latents[rows], keys[rows])))
                bar.advance(size)
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)

    shapes, locs = context.stage("decode", perceive, key=key)
    coordinates = jax.tree.map(lambda leaf: leaf[0], perception.models.coordinates)
    errors = decoding_errors(jax.vmap(partial(in_classes, coordinates))(locs), latents)
    right = within_tolerance(errors)
    measure(context, "perception/decoded", proportion(right))
    measure(context, "perception/shape", proportion(shapes == latents[:, 0]))
    rows = []
    for shape, name in enumerate(("square", "ellipse", "heart")):
        own = latents[:, 0] == shape
        quantiles = np.quantile(np.asarray(errors)[own], [0.5, 0.95], axis=0).T
        rows.append((name, int(own.sum()), float(right[own].mean()), *(f"{a:.2g} / {b:.2g}" for a, b in quantiles)))
    context.table(
        "decoding",
        ("shape", "images", "within tolerance", "scale", "rotation (degrees)", "x", "y"),
        rows,
        caption="Errors of decoded factors on held-out images, median / 95 % quantile; x and y in units of the factor "
        "(32 pixels span [0, 1]); rotation up to the shape's symmetry.",
    )


def train(config: Config, context: RunContext, pictures: Pictures, *, key: Key) -> tuple[Pictures, Iterative]:
    """The pictures with their encoder (trained on dreams, then on them), and the engine of iterative inference on top of it."""
    perception = pictures.perception

    def taught(name: str, build: Callable[..., Any], *how: Any) -> Any:
        one = partial(teach, partial(context.fit, name), build, *how)
        return context.stage(name, one, key=key, like=partial(build, key=jr.key(0)))

    new = partial(new_encoder, perception)
    dreamer = taught("sleep", new, sleep_loss, perception.models, config.sleep_steps, SLEEP)
    encoder = taught("wake", lambda *, key: dreamer, wake_loss, pictures, config.wake_steps, WAKE)
    pictures = pictures._replace(encoder=encoder)
    loss = iterative_loss(config.num_iterations)
    return pictures, taught("iterative", iterative_engine, loss, pictures, config.iterative_steps, ITERATIVE)
