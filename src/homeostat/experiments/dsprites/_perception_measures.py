"""What the perception experiment measures on held-out images: where engines end, and how fast they get there."""

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import jax.random as jr

from ...distributions import FullGaussian
from ...inference.engines import Iterative
from ...metrics import steps_to
from ...runs import RunContext
from ...typing import Array, Float, Key
from ._amortized import FAMILY, SpriteEncoder, encoded
from ._engines import (
    Tuned,
    adam,
    descent,
    flat,
    in_chunks,
    learned,
    measured_energy,
    natural,
    run_engine,
    widened,
)
from ._perceive import SpritePerception
from ._reference import best_of_adam, random_starts
from ._training import feedforward_starts


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


ADAM_RATES = (0.01, 0.03, 0.1, 0.3)
DESCENT_RATES = (1e-6, 3e-6, 1e-5, 3e-5)
NATURAL_SETTINGS = ((0.25, 0.25), (0.25, 0.5), (0.5, 0.1), (0.5, 0.3), (0.75, 0.1), (0.75, 0.25))
"""Candidate rates, and pairs (alpha, beta), among which the training images choose."""

SLOW_RATE, SLOW_MOMENTUM = 0.2, 0.5
"""Shown beside the chosen settings: what momentum does when the rate must be small."""


def compare_ends(
    sizes: PerceptionSizes,
    context: RunContext,
    perception: SpritePerception,
    encoder: SpriteEncoder,
    engine: Iterative,
    images: Float[Array, "shapes n size size"],
    *,
    key: Key,
) -> dict[str, Float[Array, " n"]]:
    """Free energy in nats that each engine, and the reference "adam", reaches on each image, on the same points."""
    models, chunk = perception.models, sizes.chunk
    run_key, measure_key, start_key, adam_key = jr.split(key, 4)
    direct, feedforward = encoded(encoder, images), feedforward_starts(perception, images)
    iterative, steps = (learned(engine), sizes.num_test_iterations), (natural(0.7, 0.0), sizes.natural_steps)

    def reached(params):
        return flat(measured_energy(models, images, params, chunk=chunk, key=measure_key))

    def after(starts, contender, family=FAMILY):
        tuned, num_steps = contender
        runs = run_engine(models, images, starts, tuned, num_steps=num_steps, chunk=chunk, key=run_key, family=family)
        return reached(runs.params)

    starts = random_starts(perception, images, sizes.adam_runs, key=start_key)
    with context.progress("reference optimum", total=images.shape[1]) as bar:

        def reference(rows):
            ends = best_of_adam(models, *rows, num_steps=sizes.adam_steps, num_polish=sizes.polish_steps)
            bar.advance(rows[0].shape[1])
            return jax.block_until_ready(ends)

        best = in_chunks(reference, (images, starts, jr.split(adam_key, images.shape[:2])), chunk)
    return {
        "encoder": reached(direct),
        "iterative": after(direct, iterative),
        "iterative_feedforward": after(feedforward, iterative),
        "natural": after(feedforward, steps),
        "natural_encoder": after(direct, steps),
        "natural_full": after(widened(direct), steps, FullGaussian(4)),
        "adam": reached(best),
    }


def race(
    sizes: PerceptionSizes,
    perception: SpritePerception,
    tuning: Float[Array, "shapes m size size"],
    timed: Float[Array, "shapes n size size"],
    *,
    key: Key,
) -> tuple[Float[Array, "4"], dict[str, Float[Array, "n steps"]]]:
    """Energies before each step from the same feedforward start.

    Returns:
        alpha and beta of natural gradient and the rates of Adam and descent that training images chose, and the energies.
    """
    models, short = perception.models, sizes.natural_steps

    def paths(images, tuned: Tuned, steps):
        starts = feedforward_starts(perception, images)
        return flat(run_engine(models, images, starts, tuned, num_steps=steps, chunk=sizes.chunk, key=key).path_nats)

    def choose(contenders, steps):
        tried = jnp.stack([paths(tuning, contender, steps) for contender in contenders])
        tried = jnp.where(jnp.isnan(tried), jnp.inf, tried)
        passage = jnp.stack([steps_to(path, level).steps for path in tried])
        # Where no setting arrives in time, the typical excess at the end decides.
        excess = jnp.median(jnp.minimum(tried[:, :, -1] - level[None, :], 1e4), axis=1)
        return contenders[int(jnp.argmin(jnp.mean(passage, axis=1) + 1e-4 * excess))]

    # The optimum of a training image is taken as the least energy of a natural-gradient run.
    level = jnp.min(paths(tuning, natural(0.5, 0.0), short), axis=1) + 1.0
    quick = choose([natural(*pair) for pair in NATURAL_SETTINGS], short)
    first_order = [
        choose([make(rate) for rate in rates], sizes.timed_steps)
        for make, rates in ((adam, ADAM_RATES), (descent, DESCENT_RATES))
    ]
    found = {
        "momentum": paths(timed, quick, short),
        "no_momentum": paths(timed, natural(quick.args[0], 0.0), short),
        "newton": paths(timed, natural(1.0, 0.0), short),
        "slow_momentum": paths(timed, natural(SLOW_RATE, SLOW_MOMENTUM), short),
        "slow": paths(timed, natural(SLOW_RATE, 0.0), short),
        "adam": paths(timed, first_order[0], sizes.timed_steps),
        "descent": paths(timed, first_order[1], sizes.timed_steps),
    }
    return jnp.stack([setting for one in (quick, *first_order) for setting in one.args]), found
