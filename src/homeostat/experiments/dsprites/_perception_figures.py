"""Figures of the perception experiment; drawn between stages, so they compute little."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ...inference.engines import Iterative
from ...objectives import Evidence, FreeEnergy
from ...typing import Array, Float, Key
from ...viz import (
    EnergyCurves,
    Gaps,
    PathOnSurface,
    plot_energies,
    plot_energy_surface,
    plot_gaps,
    plot_reconstructions,
)
from .._protocol import AbstractRunContext
from ._amortized import SpriteEncoder, encoded
from ._comparison import Adam, Descent, Learned, Natural, feedforward_starts, run_contender
from ._perception_measures import PerceptionSizes
from ._sprites import SpritePerception, sprite_model

HEART = 2
ANGLE, X = 1, 2
_SHOWN_STEPS = 5
_SHOWN_PATH = 60


def draw_gaps(context: AbstractRunContext, gaps: dict[str, Float[Array, " n"]]) -> None:
    """Histograms of the gaps of every engine."""
    context.figure(
        "gaps",
        plot_gaps([Gaps(name, np.asarray(values)) for name, values in gaps.items()]),
        caption="Amortization gap of every image, by engine, in nats; gaps below 0.01 nats (negative ones too) are in the "
        "leftmost bin. The black line is the median.",
    )


def draw_speed(context: AbstractRunContext, excess: dict[str, Float[Array, "n steps"]]) -> None:
    """Energies against steps."""
    context.figure(
        "speed",
        plot_energies([EnergyCurves(name, np.asarray(values)) for name, values in excess.items()]),
        caption="Free energy above the least one that any engine found, from the same feedforward start: median and middle "
        "half of the held-out images (floor 0.001 nats).",
    )


def draw_inference(
    config: PerceptionSizes,
    context: AbstractRunContext,
    perception: SpritePerception,
    encoder: SpriteEncoder,
    engine: Iterative,
    images: Float[Array, "shapes n size size"],
    settings: Float[Array, "4"],
    *,
    key: Key,
) -> None:
    """Reconstructions over iterations, and the energy surface over angle and x with each engine's path.

    Shapes of arrays and numbers of steps are those of the stages before, so that their compiled programs serve again.
    """
    images = images[:, : config.chunk]
    common = {"chunk": config.chunk, "key": key}
    _draw_reconstructions(context, perception, encoder, engine, images, config, common)
    _draw_surface(context, perception, engine, images, settings, config, common)


def _draw_reconstructions(context, perception, encoder, engine, images, config, common) -> None:
    models = perception.models
    runs = [
        run_contender(
            models, images, encoded(encoder, images), Learned(engine), num_steps=config.num_test_iterations, **common
        ),
        run_contender(
            models,
            images,
            feedforward_starts(perception, images),
            Natural(0.7, 0.0),
            num_steps=config.natural_steps,
            **common,
        ),
    ]
    pictures, told, notes = [], [], []
    for run in runs:
        path = jax.tree.map(lambda leaf: leaf[:, :, : _SHOWN_STEPS + 1], run.path)
        told.append(eqx.filter_jit(_told)(models, path.loc)[:, :1])
        notes.append(run.path_nats[:, :1, : _SHOWN_STEPS + 1])
        pictures.append(images[:, :1])
    # Engines below one another within each shape.
    pictures, told, notes = (np.concatenate(parts, axis=1) for parts in (pictures, told, notes))
    rows = pictures.shape[0] * pictures.shape[1]
    context.figure(
        "reconstructions",
        plot_reconstructions(
            pictures.reshape(rows, *pictures.shape[2:]),
            told.reshape(rows, *told.shape[2:]),
            titles=["start", *(f"step {step}" for step in range(1, _SHOWN_STEPS + 1))],
            notes=notes.reshape(rows, -1),
        ),
        caption="Held-out images and the model's image at the mean of q over iterations; white is agreement, red is told but "
        "not seen, blue is seen but not told; below each, the free energy in nats. For each shape, the first row is "
        "iterative amortized inference from the encoder, the second natural gradient from the feedforward start.",
    )


def _told(models, locs):
    return eqx.filter_vmap(lambda model, rows: jax.vmap(jax.vmap(model.image))(rows))(models, locs)


def _draw_surface(context, perception, engine, images, settings, config, common) -> None:
    model, image = sprite_model(perception.models, HEART), images[HEART, 0]
    chosen = Natural(settings[0], settings[1])
    steps = config.natural_steps
    # The optimum, by a long run from the feedforward start.
    starts = feedforward_starts(perception, images)
    best = run_contender(perception.models, images, starts, chosen, num_steps=steps, **common).params.loc[HEART, 0]
    # Displaced in angle and x only: the other two latents start, and almost stay, at their optimum.
    displaced = best.at[ANGLE].add(0.08).at[X].add(0.12)
    starts = starts._replace(loc=starts.loc.at[HEART, 0].set(displaced))
    contenders = {
        "gradient descent": (Descent(settings[3]), config.timed_steps),
        "Adam": (Adam(settings[2]), config.timed_steps),
        "iterative amortized": (Learned(engine), config.num_test_iterations),
        f"natural gradient, alpha = {float(settings[0]):g}, beta = {float(settings[1]):g}": (chosen, steps),
    }
    gain, offset = np.asarray(model.coordinates.gain), np.asarray(model.coordinates.offset)

    def in_units(z):
        z = np.asarray(z)
        return np.stack(
            [np.degrees(offset[ANGLE] + gain[ANGLE] * z[..., ANGLE]), offset[X] + gain[X] * z[..., X]], axis=-1
        )

    paths = []
    for name, (contender, num_steps) in contenders.items():
        run = run_contender(perception.models, images, starts, contender, num_steps=num_steps, **common)
        paths.append(PathOnSurface(name, in_units(run.path.loc[HEART, 0, :_SHOWN_PATH])))
    across, along = best[ANGLE] + jnp.linspace(-0.15, 0.15, 71), best[X] + jnp.linspace(-0.22, 0.22, 61)
    context.figure(
        "surface",
        plot_energy_surface(
            np.degrees(offset[ANGLE] + gain[ANGLE] * np.asarray(across)),
            offset[X] + gain[X] * np.asarray(along),
            np.asarray(_surface(model, image, best, across, along)),
            paths,
            labels=("angle, degrees", "x, pixels"),
        ),
        caption="Energy -log p(x, z) of a held-out heart over angle and x (scale and y at their optimum), and the path of the "
        f"mean of q under each engine from one start (at most {_SHOWN_PATH} steps); all four latents move.",
    )


@eqx.filter_jit
def _surface(model, image, best, across, along):
    objective = FreeEnergy(model)

    def at(x, angle):
        z = best.at[ANGLE].set(angle).at[X].set(x)
        return objective.pointwise(z, Evidence(image), key=jr.key(0))

    return jax.lax.map(lambda x: jax.vmap(lambda angle: at(x, angle))(across), along)
