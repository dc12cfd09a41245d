"""What the perception experiment measures on held-out images: where engines end, and how fast they get there."""

from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import jax.random as jr

from ...distributions import FullGaussian
from ...inference.engines import Iterative
from ...metrics import steps_to
from ...typing import Array, Float, Int, Key
from .._protocol import AbstractRunContext
from ._amortized import FAMILY, NUM_SHAPES, SpriteEncoder, by_shape, encoded
from ._comparison import (
    Adam,
    Descent,
    Learned,
    Natural,
    best_of_adam,
    feedforward_starts,
    flat,
    measured_energy,
    random_starts,
    run_contender,
    widened,
)
from ._sprites import SpritePerception, latents_at, render


@runtime_checkable
class PerceptionSizes(Protocol):
    """The options of the experiment that decide how much is measured; see its `Config`."""

    num_test_iterations: int
    adam_runs: int
    adam_steps: int
    polish_steps: int
    timed_steps: int
    natural_steps: int
    chunk: int


class Energies(NamedTuple):
    """Free energy that each engine reached on each image, in nats, and the reference."""

    encoder: Float[Array, " n"]
    iterative: Float[Array, " n"]
    iterative_feedforward: Float[Array, " n"]
    natural: Float[Array, " n"]
    natural_encoder: Float[Array, " n"]
    natural_full: Float[Array, " n"]
    adam: Float[Array, " n"]


class Speeds(NamedTuple):
    """Energies before each step, [n, steps]; the settings were chosen on training images."""

    momentum: Float[Array, "n steps"]
    no_momentum: Float[Array, "n steps"]
    newton: Float[Array, "n steps"]
    slow: Float[Array, "n steps"]
    slow_momentum: Float[Array, "n steps"]
    adam: Float[Array, "n steps"]
    descent: Float[Array, "n steps"]
    settings: Float[Array, "4"]


ADAM_RATES = (0.01, 0.03, 0.1, 0.3)
DESCENT_RATES = (1e-6, 3e-6, 1e-5, 3e-5)
NATURAL_SETTINGS = ((0.25, 0.25), (0.25, 0.5), (0.5, 0.1), (0.5, 0.3), (0.75, 0.1), (0.75, 0.25))
"""Candidate rates, and pairs (alpha, beta), among which the training images choose."""

SLOW_RATE, SLOW_MOMENTUM = 0.2, 0.5
"""Shown beside the chosen settings: what momentum does when the rate must be small."""


def compare(
    sizes: PerceptionSizes,
    context: AbstractRunContext,
    perception: SpritePerception,
    encoder: SpriteEncoder,
    engine: Iterative,
    images: Float[Array, "shapes n size size"],
    *,
    key: Key,
) -> Energies:
    """Claim 2: free energies that the engines reach on the same held-out images, measured on the same points."""
    models, chunk = perception.models, sizes.chunk
    run_key, measure_key, start_key, adam_key = jr.split(key, 4)
    direct = encoded(encoder, images)
    feedforward = feedforward_starts(perception, images)
    natural, learned = Natural(0.7, 0.0), Learned(engine)

    def reached(params):
        return flat(measured_energy(models, images, params, chunk=chunk, key=measure_key))

    def after(starts, contender, steps, family=FAMILY):
        runs = run_contender(
            models, images, starts, contender, num_steps=steps, chunk=chunk, key=run_key, family=family
        )
        return reached(runs.params)

    starts = random_starts(perception, images, sizes.adam_runs, key=start_key)
    parts = []
    with context.progress("reference optimum", total=images.shape[1]) as bar:
        for first in range(0, images.shape[1], chunk):
            rows = slice(first, first + chunk)
            ends = best_of_adam(
                models,
                images[:, rows],
                jax.tree.map(lambda leaf, rows=rows: leaf[:, rows], starts),
                num_steps=sizes.adam_steps,
                num_polish=sizes.polish_steps,
                key=jr.fold_in(adam_key, first),
            )
            parts.append(jax.block_until_ready(ends))
            bar.advance(chunk)
    reference = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=1), *parts)
    iterations, steps = sizes.num_test_iterations, sizes.natural_steps
    return Energies(
        encoder=reached(direct),
        iterative=after(direct, learned, iterations),
        iterative_feedforward=after(feedforward, learned, iterations),
        natural=after(feedforward, natural, steps),
        natural_encoder=after(direct, natural, steps),
        natural_full=after(jax.vmap(jax.vmap(widened))(direct), natural, steps, FullGaussian(4)),
        adam=reached(reference),
    )


def race(
    sizes: PerceptionSizes,
    perception: SpritePerception,
    tuning: Float[Array, "shapes m size size"],
    timed: Float[Array, "shapes n size size"],
    *,
    key: Key,
) -> Speeds:
    """Claim 3: energies against steps from the same feedforward start; settings are chosen on training images."""
    models, short = perception.models, sizes.natural_steps

    def paths(images, contender, steps):
        starts = feedforward_starts(perception, images)
        runs = run_contender(models, images, starts, contender, num_steps=steps, chunk=sizes.chunk, key=key)
        return flat(runs.path_nats)

    def choose(contenders, steps):
        tried = jnp.stack([paths(tuning, contender, steps) for contender in contenders])
        tried = jnp.where(jnp.isnan(tried), jnp.inf, tried)
        passage = jnp.stack([steps_to(path, level).steps for path in tried])
        # Where no setting arrives in time, the typical excess at the end decides.
        excess = jnp.median(jnp.minimum(tried[:, :, -1] - level[None, :], 1e4), axis=1)
        return contenders[int(jnp.argmin(jnp.mean(passage, axis=1) + 1e-4 * excess))]

    # The optimum of a training image is taken as the least energy of a natural-gradient run.
    level = jnp.min(paths(tuning, Natural(0.5, 0.0), short), axis=1) + 1.0
    natural = choose([Natural(alpha, beta) for alpha, beta in NATURAL_SETTINGS], short)
    adam = choose([Adam(rate) for rate in ADAM_RATES], sizes.timed_steps)
    descent = choose([Descent(rate) for rate in DESCENT_RATES], sizes.timed_steps)
    return Speeds(
        momentum=paths(timed, natural, short),
        no_momentum=paths(timed, Natural(natural.rate, 0.0), short),
        newton=paths(timed, Natural(1.0, 0.0), short),
        slow=paths(timed, Natural(SLOW_RATE, 0.0), short),
        slow_momentum=paths(timed, Natural(SLOW_RATE, SLOW_MOMENTUM), short),
        adam=paths(timed, adam, sizes.timed_steps),
        descent=paths(timed, descent, sizes.timed_steps),
        settings=jnp.stack([natural.rate, natural.momentum, adam.rate, descent.rate]),
    )


def pictures_of(index: Int[Array, " n"], count: int) -> Float[Array, "shapes m 64 64"]:
    """Pictures of the first configurations of each shape."""
    rows = by_shape(index)[:, : count // NUM_SHAPES]
    return jax.vmap(lambda row: render(latents_at(row)))(rows)
