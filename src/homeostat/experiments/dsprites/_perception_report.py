"""Claims, tables, curves and pictures of the perception experiment; drawn between stages, so they compute little."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ...inference.engines import Iterative
from ...metrics import Estimated, amortization_gap, bootstrap, share_closed, steps_to
from ...models.static import model_at
from ...objectives import Evidence, FreeEnergy
from ...runs import RunContext
from ...typing import Array, Float, Key
from ...viz import PathOnSurface, plot_energies, plot_energy_surface, plot_gaps, plot_reconstructions
from ..kit import measure
from ._amortized import encoded
from ._engines import Tuned, adam, descent, flat, learned, natural, run_engine, tuned
from ._perceive import SpritePerception
from ._perception_measures import ENCODER, ITERATIVE, REFERENCE, PerceptionSizes
from ._sprites import HEART, Images
from ._training import Pictures, feedforward_starts


def report_gaps(context: RunContext, ends: tuple[tuple[str, Float[Array, " n"]], ...], *, key: Key) -> None:
    """Measure the share of the encoder's gap that is closed, and tabulate all gaps; `ends` as `compare_ends` gives them."""
    energies = dict(ends)
    best = energies.pop(REFERENCE)
    gaps = {name: amortization_gap(reached, best, key=key) for name, reached in energies.items()}
    closed = {name: share_closed(gaps[ENCODER].nats, gap.nats, key=key) for name, gap in gaps.items()}
    measure(context, "perception/gap-closed", closed[ITERATIVE])
    rows = [
        (name, _printed(gap.mean_nats), _printed(gap.median_nats), float(np.quantile(gap.nats, 0.9)),
         _printed(closed[name]))
        for name, gap in gaps.items()
    ]  # fmt: skip
    context.table(
        "gaps",
        ("engine", "mean gap (nats)", "median gap (nats)", "90 % quantile (nats)", "share of the encoder's closed"),
        rows,
        caption=f"Amortization gaps on {len(best)} held-out images against the best of all long Adam runs with a "
        "diagonal covariance. A full covariance may go below that reference (negative gaps).",
    )
    context.figure(
        "gaps",
        plot_gaps({name: np.asarray(gap.nats) for name, gap in gaps.items()}),
        caption="Amortization gap of every image, by engine, in nats; gaps below 0.01 nats (negative ones too) are in the "
        "leftmost bin. The black line is the median.",
    )


def report_speed(context: RunContext, paths: tuple[tuple[str, Float[Array, "n steps"]], ...], *, key: Key) -> None:
    """Measure the ratio of steps, and tabulate them; `paths` as `race` gives them."""
    clean = {name: jnp.where(jnp.isnan(path), jnp.inf, path) for name, path in paths}
    best = jnp.min(jnp.stack([jnp.min(path, axis=1) for path in clean.values()]), axis=0)
    passages = {name: steps_to(path, best + 1.0) for name, path in clean.items()}
    quickest, *_, of_adam, _ = passages.values()

    def against(passage):
        # From the second energy on: an image that starts within a nat counts as one step for both.
        steps = jax.tree.map(lambda count: jnp.maximum(count, 1.0), (quickest.steps, passage.steps))
        return bootstrap(lambda pair: jnp.median(pair[0]) / jnp.median(pair[1]), steps, key=key)

    rows = [
        (name, _printed(bootstrap(jnp.median, passage.steps, key=key)), float(passage.reached.mean()),
         _printed(against(passage)))
        for name, passage in passages.items()
    ]  # fmt: skip
    measure(context, "perception/steps-ratio", against(of_adam))
    context.table(
        "steps",
        ("engine", "median steps to 1 nat", "share that arrived", "natural gradient with momentum / this"),
        rows,
        caption=f"Steps from the same feedforward start to within 1 nat of the least energy that any engine found, "
        f"{len(best)} held-out images, diagonal covariance, the same cubature points for all; runs that did not arrive "
        "count with their length. Settings were chosen on training images.",
    )
    context.figure(
        "speed",
        plot_energies({name: np.asarray(path - best[:, None]) for name, path in clean.items()}),
        caption="Free energy above the least one that any engine found, from the same feedforward start: median and middle "
        "half of the held-out images (floor 0.001 nats).",
    )


def _printed(estimated: Estimated) -> str:
    return f"{float(estimated.value):.3g} ± {float(estimated.stderr):.1g}"


ANGLE, X = 1, 2
_SHOWN_STEPS = 5
_SHOWN_PATH = 60


def draw_reconstructions(
    sizes: PerceptionSizes, context: RunContext, pictures: Pictures, engine: Iterative, images: Images, *, key: Key
) -> None:
    """Reconstructions over iterations, for each shape and engine.

    Shapes of arrays and numbers of steps are those of the stages before, so that their compiled programs serve again.
    """
    perception, images = pictures.perception, images[:, : sizes.chunk]
    models = perception.models
    contenders = (
        (encoded(pictures.encoder, images), Tuned(learned, engine), sizes.num_test_iterations),
        (feedforward_starts(perception, images), tuned(natural, 0.7, 0.0), sizes.natural_steps),
    )
    told, notes = [], []
    for starts, chosen, num_steps in contenders:
        run = run_engine(models, images, starts, chosen, num_steps=num_steps, chunk=sizes.chunk, key=key)
        told.append(_told(models, run.path.loc[:, :, : _SHOWN_STEPS + 1])[:, :1])
        notes.append(run.path_nats[:, :1, : _SHOWN_STEPS + 1])
    # Engines below one another within each shape.
    shown = np.repeat(np.asarray(images[:, :1]), len(contenders), axis=1)
    told, notes = np.concatenate(told, axis=1), np.concatenate(notes, axis=1)
    context.figure(
        "reconstructions",
        plot_reconstructions(
            flat(shown),
            flat(told),
            titles=["start", *(f"step {step}" for step in range(1, _SHOWN_STEPS + 1))],
            notes=flat(notes),
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
    images: Images,
    settings: Float[Array, "4"],
    *,
    key: Key,
) -> None:
    """The energy surface over angle and x with each engine's path."""
    images = images[:, : sizes.chunk]
    model, image = model_at(perception.models, HEART), images[HEART, 0]
    chosen, steps = tuned(natural, settings[0], settings[1]), sizes.natural_steps
    starts = feedforward_starts(perception, images)

    def run(contender, num_steps):
        return run_engine(perception.models, images, starts, contender, num_steps=num_steps, chunk=sizes.chunk, key=key)

    # The optimum, by a long run from the feedforward start.
    best = run(chosen, steps).params.loc[HEART, 0]
    # Displaced in angle and x only: the other two latents start, and almost stay, at their optimum.
    displaced = best.at[ANGLE].add(0.08).at[X].add(0.12)
    starts = starts._replace(loc=starts.loc.at[HEART, 0].set(displaced))
    contenders = {
        "gradient descent": (tuned(descent, settings[3]), sizes.timed_steps),
        "Adam": (tuned(adam, settings[2]), sizes.timed_steps),
        "iterative amortized": (Tuned(learned, engine), sizes.num_test_iterations),
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
