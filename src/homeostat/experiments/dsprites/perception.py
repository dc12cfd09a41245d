"""Sprites perceived: decoding all factors, the amortization gap of an encoder, and how fast engines converge."""

from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ...inference.engines import Iterative
from ...metrics import Estimated, amortization_gap, bootstrap, proportion, share_closed, steps_to
from ...typing import Array, Float, Int, Key
from .._claims import AtLeast, AtMost, Claim
from .._protocol import AbstractRunContext, Minutes
from . import _perception_figures as figures
from ._amortized import (
    FAMILY,
    SpriteEncoder,
    WakeArgs,
    begin_training,
    by_shape,
    iterative_engine,
    iterative_step,
    optimizer_for,
    sleep_step,
    wake_step,
)
from ._comparison import (
    START_LOG_SCALE,
)
from ._perception_measures import SLOW_MOMENTUM, SLOW_RATE, Energies, Speeds, compare, pictures_of, race
from ._sprites import (
    SpritePerception,
    decoding_errors,
    latents_at,
    render,
    split_configurations,
    sprite_model,
    sprite_models,
    within_tolerance,
)

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
                num_images=60,
                sleep_steps=60,
                wake_steps=5,
                iterative_steps=40,
                num_iterations=3,
                num_compared=6,
                adam_runs=4,
                adam_steps=80,
                polish_steps=20,
                num_timed=6,
                num_tuning=6,
                timed_steps=150,
                chunk=2,
            )
        if scale == "paper":
            return cls(
                num_images=10_000,
                sleep_steps=40_000,
                wake_steps=4_000,
                iterative_steps=20_000,
                num_compared=996,
                adam_steps=1_000,
                polish_steps=500,
                num_timed=300,
                num_tuning=60,
                timed_steps=2_000,
            )
        return cls()


class Decoded(NamedTuple):
    """What perception said about held-out images."""

    shape: Int[Array, " n"]
    loc: Float[Array, "n 4"]
    free_energy_nats: Float[Array, " n"]


def run(config: Config, context: AbstractRunContext, *, key: Key) -> None:
    """Run the experiment."""
    held_key, decode_key, gap_key, speed_key, boot_key = jr.split(key, 5)
    perception = SpritePerception(sprite_models(config.sigma))
    split = split_configurations(max(config.num_images, config.num_compared), key=held_key)
    held_out = jnp.asarray(split.held_out)
    decode(config, context, perception, held_out[: config.num_images], key=decode_key)
    encoder, engine = train(config, context, perception, by_shape(jnp.asarray(split.train)), key=key)

    images = pictures_of(held_out, config.num_compared)
    energies = context.stage(
        "gaps", lambda key: compare(config, context, perception, encoder, engine, images, key=key), key=gap_key
    )
    report_gaps(context, energies, key=boot_key)
    timed = pictures_of(held_out, config.num_timed)
    tuning = pictures_of(jnp.asarray(split.train[:: max(1, len(split.train) // 999)]), config.num_tuning)
    speeds = context.stage("speed", lambda key: race(config, perception, tuning, timed, key=key), key=speed_key)
    report_speed(context, speeds, key=boot_key)
    figures.draw_inference(config, context, perception, encoder, engine, images, speeds.settings, key=boot_key)


def decode(
    config: Config, context: AbstractRunContext, perception: SpritePerception, index: Array, *, key: Key
) -> None:
    """Claim 1: perceive held-out images and compare with their factors."""
    latents = latents_at(index)

    def perceive(key: Key) -> Decoded:
        @eqx.filter_jit
        def batch(perception, latents, keys):
            found = jax.vmap(lambda image, k: perception(image, key=k))(render(latents), keys)
            best = jax.vmap(lambda posterior: (posterior.best_hypothesis, posterior.best_params.loc))(found)
            return Decoded(*best, found.free_energy_nats)

        keys = jr.split(key, len(index))
        size = min(250, len(index))
        parts = []
        with context.progress("perceiving held-out images", total=len(index)) as bar:
            for first in range(0, len(index), size):
                rows = slice(first, first + size)
                parts.append(jax.block_until_ready(batch(perception, latents[rows], keys[rows])))
                bar.advance(size)
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)

    decoded = context.stage("decode", perceive, key=key)
    coordinates = jax.tree.map(lambda leaf: leaf[0], perception.models.coordinates)
    errors = jax.vmap(lambda z, truth: decoding_errors(coordinates(z), truth))(decoded.loc, latents)
    right = within_tolerance(errors)
    context.measure("perception/decoded", *_floats(proportion(right)))
    context.measure("perception/shape", *_floats(proportion(decoded.shape == latents[:, 0])))
    rows = []
    for shape, name in enumerate(("square", "ellipse", "heart")):
        of_shape = latents[:, 0] == shape
        quantiles = [np.quantile(np.asarray(error)[of_shape], [0.5, 0.95]) for error in errors]
        rows.append(
            (name, int(of_shape.sum()), float(right[of_shape].mean()), *(f"{a:.2g} / {b:.2g}" for a, b in quantiles))
        )
    context.table(
        "decoding",
        ("shape", "images", "within tolerance", "scale", "rotation (degrees)", "x", "y"),
        rows,
        caption="Errors of decoded factors on held-out images, median / 95 % quantile; x and y in units of the factor "
        "(32 pixels span [0, 1]); rotation up to the shape's symmetry.",
    )


def train(
    config: Config, context: AbstractRunContext, perception: SpritePerception, train_index: Array, *, key: Key
) -> tuple[SpriteEncoder, Iterative]:
    """The encoder (dreams, then pictures), and the engine of iterative amortized inference on top of it."""
    models = perception.models

    def build_encoder(key: Key = jr.key(0)) -> SpriteEncoder:
        return SpriteEncoder(sprite_model(models, 0).coordinates, key=key)

    def sleep(key: Key) -> SpriteEncoder:
        start_key, loop_key = jr.split(key)
        optimizer = optimizer_for(2e-3, config.sleep_steps, 1.0)
        state = begin_training(build_encoder(start_key), optimizer)
        result = context.loop(
            "sleep",
            sleep_step(optimizer, 32),
            state,
            num_steps=config.sleep_steps,
            key=loop_key,
            every=min(100, config.sleep_steps),
            args=models,
        )
        return result.state.network

    dreamer = context.stage("sleep", sleep, key=key, like=build_encoder)

    def wake(key: Key) -> SpriteEncoder:
        optimizer = optimizer_for(3e-4, config.wake_steps, 100.0)
        result = context.loop(
            "wake",
            wake_step(optimizer, 16),
            begin_training(dreamer, optimizer),
            num_steps=config.wake_steps,
            key=key,
            every=min(50, config.wake_steps),
            args=WakeArgs(models, train_index, None),
        )
        return result.state.network

    encoder = context.stage("wake", wake, key=key, like=build_encoder)

    def iterate(key: Key) -> Iterative:
        start_key, loop_key = jr.split(key)
        optimizer = optimizer_for(2e-3, config.iterative_steps, 100.0)

        def elsewhere(image, shape):
            loc = perception.start(image, shape)
            return FAMILY.init()._replace(loc=loc, log_scale=jnp.full_like(loc, START_LOG_SCALE))

        body = iterative_step(optimizer, 8, config.num_iterations, elsewhere)
        state = begin_training(iterative_engine(key=start_key), optimizer)
        result = context.loop(
            "iterative",
            body,
            state,
            num_steps=config.iterative_steps,
            key=loop_key,
            every=min(50, config.iterative_steps),
            args=WakeArgs(models, train_index, encoder),
        )
        return result.state.network

    engine = context.stage("iterative", iterate, key=key, like=lambda: iterative_engine(key=jr.key(0)))
    return encoder, engine


def report_gaps(context: AbstractRunContext, energies: Energies, *, key: Key) -> None:
    """Measure the share of the encoder's gap that is closed, and tabulate all gaps."""
    names = {
        "encoder": "encoder (direct)",
        "iterative": "encoder, then iterative amortized",
        "iterative_feedforward": "feedforward start, then iterative amortized",
        "natural": "feedforward start, then natural gradient",
        "natural_encoder": "encoder, then natural gradient",
        "natural_full": "encoder, then natural gradient, full covariance",
    }
    gaps = {name: amortization_gap(getattr(energies, name), energies.adam, key=key) for name in names}
    closed = {name: share_closed(gaps["encoder"].nats, gap.nats, key=key) for name, gap in gaps.items()}
    context.measure("perception/gap-closed", *_floats(closed["iterative"]))
    rows = [
        (
            names[name],
            _printed(gap.mean_nats),
            _printed(gap.median_nats),
            float(np.quantile(gap.nats, 0.9)),
            _printed(closed[name]),
        )
        for name, gap in gaps.items()
    ]
    context.table(
        "gaps",
        ("engine", "mean gap (nats)", "median gap (nats)", "90 % quantile (nats)", "share of the encoder's closed"),
        rows,
        caption=f"Amortization gaps on {len(energies.adam)} held-out images against the best of all long Adam runs with a "
        "diagonal covariance. A full covariance may go below that reference (negative gaps).",
    )
    figures.draw_gaps(context, {names[name]: gap.nats for name, gap in gaps.items()})


def report_speed(context: AbstractRunContext, speeds: Speeds, *, key: Key) -> None:
    """Measure the ratio of steps, and tabulate them."""
    alpha, beta, adam, descent = (float(value) for value in speeds.settings)
    paths = {
        f"natural gradient, alpha = {alpha:g}, beta = {beta:g}": speeds.momentum,
        f"natural gradient, alpha = {alpha:g}, beta = 0": speeds.no_momentum,
        "natural gradient, alpha = 1, beta = 0": speeds.newton,
        f"natural gradient, alpha = {SLOW_RATE:g}, beta = {SLOW_MOMENTUM:g}": speeds.slow_momentum,
        f"natural gradient, alpha = {SLOW_RATE:g}, beta = 0": speeds.slow,
        f"Adam, rate {adam:g}": speeds.adam,
        f"gradient descent, rate {descent:g}": speeds.descent,
    }
    clean = [jnp.where(jnp.isnan(path), jnp.inf, path) for path in paths.values()]
    best = jnp.min(jnp.stack([jnp.min(path, axis=1) for path in clean]), axis=0)
    passages = [steps_to(path, best + 1.0) for path in clean]
    ours = passages[0].steps

    def ratio(data):
        # From the second energy on: an image that starts within a nat counts as one step for both.
        return jnp.median(jnp.maximum(data[0], 1.0)) / jnp.median(jnp.maximum(data[1], 1.0))

    rows = []
    for name, passage in zip(paths, passages, strict=True):
        median, quotient = (
            bootstrap(jnp.median, passage.steps, key=key),
            bootstrap(ratio, (ours, passage.steps), key=key),
        )
        rows.append((name, _printed(median), float(passage.reached.mean()), _printed(quotient)))
    against_adam = passages[list(paths).index(f"Adam, rate {adam:g}")]
    context.measure("perception/steps-ratio", *_floats(bootstrap(ratio, (ours, against_adam.steps), key=key)))
    context.table(
        "steps",
        ("engine", "median steps to 1 nat", "share that arrived", "natural gradient with momentum / this"),
        rows,
        caption=f"Steps from the same feedforward start to within 1 nat of the least energy that any engine found, "
        f"{len(best)} held-out images, diagonal covariance, the same cubature points for all; runs that did not arrive "
        "count with their length. Settings were chosen on training images.",
    )
    figures.draw_speed(context, {name: path - best[:, None] for name, path in zip(paths, clean, strict=True)})


def _floats(estimated: Estimated) -> tuple[float, float]:
    return float(estimated.value), float(estimated.stderr)


def _printed(estimated: Estimated) -> str:
    return f"{float(estimated.value):.3g} ± {float(estimated.stderr):.1g}"
