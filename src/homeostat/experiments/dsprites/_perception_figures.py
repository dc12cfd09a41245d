"""Figures of the perception experiment; drawn between stages, so they compute little."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ...inference.engines import Iterative
from ...models.static import model_at
from ...objectives import Evidence, FreeEnergy
from ...runs import RunContext
from ...typing import Array, Float, Key
from ...viz import PathOnSurface, plot_energy_surface, plot_reconstructions
from ._amortized import SpriteEncoder, encoded
from ._engines import adam, descent, learned, natural, run_engine
from ._perceive import SpritePerception
from ._perception_measures import PerceptionSizes
from ._sprites import HEART
from ._training import feedforward_starts

ANGLE, X = 1, 2
_SHOWN_STEPS = 5
_SHOWN_PATH = 60


def draw_reconstructions(
    sizes: PerceptionSizes,
    context: RunContext,
    perception: SpritePerception,
    encoder: SpriteEncoder,
    engine: Iterative,
    images: Float[Array, "shapes n size size"],
    *,
    key: Key,
) -> None:
    """Reconstructions over iterations, for each shape and engine.

    Shapes of arrays and numbers of steps are those of the stages before, so that their compiled programs serve again.
    """
    models, images = perception.models, images[:, : sizes.chunk]
    contenders = (
        (encoded(encoder, images), learned(engine), sizes.num_test_iterations),
        (feedforward_starts(perception, images), natural(0.7, 0.0), sizes.natural_steps),
    )
    told, notes = [], []
    for starts, tuned, num_steps in contenders:
        run = run_engine(models, images, starts, tuned, num_steps=num_steps, chunk=sizes.chunk, key=key)
        told.append(_told(models, run.path.loc[:, :, : _SHOWN_STEPS + 1])[:, :1])
        notes.append(run.path_nats[:, :1, : _SHOWN_STEPS + 1])
    # Engines below one another within each shape.
    pictures = np.repeat(np.asarray(images[:, :1]), len(contenders), axis=1)
    told, notes = np.concatenate(told, axis=1), np.concatenate(notes, axis=1)
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


@eqx.filter_jit
def _told(models, locs):
    return eqx.filter_vmap(lambda model, rows: jax.vmap(jax.vmap(model.image))(rows))(models, locs)


def draw_surface(
    sizes: PerceptionSizes,
    context: RunContext,
    perception: SpritePerception,
    engine: Iterative,
    images: Float[Array, "shapes n size size"],
    settings: Float[Array, "4"],
    *,
    key: Key,
) -> None:
    """The energy surface over angle and x with each engine's path."""
    images = images[:, : sizes.chunk]
    model, image = model_at(perception.models, HEART), images[HEART, 0]
    chosen, steps = natural(settings[0], settings[1]), sizes.natural_steps
    starts = feedforward_starts(perception, images)

    def run(tuned, num_steps):
        return run_engine(perception.models, images, starts, tuned, num_steps=num_steps, chunk=sizes.chunk, key=key)

    # The optimum, by a long run from the feedforward start.
    best = run(chosen, steps).params.loc[HEART, 0]
    # Displaced in angle and x only: the other two latents start, and almost stay, at their optimum.
    displaced = best.at[ANGLE].add(0.08).at[X].add(0.12)
    starts = starts._replace(loc=starts.loc.at[HEART, 0].set(displaced))
    contenders = {
        "gradient descent": (descent(settings[3]), sizes.timed_steps),
        "Adam": (adam(settings[2]), sizes.timed_steps),
        "iterative amortized": (learned(engine), sizes.num_test_iterations),
        f"natural gradient, alpha = {float(settings[0]):g}, beta = {float(settings[1]):g}": (chosen, steps),
    }
    gain, offset = np.asarray(model.coordinates.gain), np.asarray(model.coordinates.offset)

    def in_units(angle, x):
        return np.degrees(offset[ANGLE] + gain[ANGLE] * np.asarray(angle)), offset[X] + gain[X] * np.asarray(x)

    paths = []
    for name, contender in contenders.items():
        z = run(*contender).path.loc[HEART, 0, :_SHOWN_PATH]
        paths.append(PathOnSurface(name, np.stack(in_units(z[:, ANGLE], z[:, X]), axis=-1)))
    across, along = best[ANGLE] + jnp.linspace(-0.15, 0.15, 71), best[X] + jnp.linspace(-0.22, 0.22, 61)
    surface = np.asarray(_surface(model, image, best, across, along))
    context.figure(
        "surface",
        plot_energy_surface(*in_units(across, along), surface, paths, labels=("angle, degrees", "x, pixels")),
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
