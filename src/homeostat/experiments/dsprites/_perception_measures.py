"""What the perception experiment measures on held-out images: the best Gaussians, where engines end, and how fast they get there."""

from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from ...distributions import Antithetic, Cubature, DiagonalGaussianParams, FullGaussian
from ...environments import SYMMETRY_ORDER
from ...inference import infer
from ...inference.engines import Gradient, Iterative
from ...metrics import steps_to
from ...models.static import SpatialTransformer
from ...objectives import Evidence, FreeEnergy
from ...runs import RunContext
from ...typing import Array, Float, Key
from ._amortized import FAMILY, encoded
from ._engines import (
    Tuned,
    adam,
    descent,
    flat,
    in_chunks,
    learned,
    measured_energy,
    natural,
    over_pictures,
    run_engine,
    tuned,
    widened,
)
from ._perceive import SpritePerception
from ._sprites import NUM_SHAPES, Images
from ._training import START_LOG_SCALE, Pictures, feedforward_starts


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

ENCODER, ITERATIVE, REFERENCE = "encoder (direct)", "encoder, then iterative amortized", "best of all long Adam runs"

SLOW_RATE, SLOW_MOMENTUM = 0.2, 0.5
"""Shown beside the chosen settings: what momentum does when the rate must be small."""


def compare_ends(
    sizes: PerceptionSizes, context: RunContext, pictures: Pictures, engine: Iterative, images: Images, *, key: Key
) -> tuple[tuple[str, Float[Array, " n"]], ...]:
    """Free energy in nats that each engine, and the reference, reaches on each image, on the same points."""
    perception, chunk = pictures.perception, sizes.chunk
    models = perception.models
    run_key, measure_key, start_key, adam_key = jr.split(key, 4)
    direct, feedforward = encoded(pictures.encoder, images), feedforward_starts(perception, images)
    iterative, steps = (
        (Tuned(learned, engine), sizes.num_test_iterations),
        (tuned(natural, 0.7, 0.0), sizes.natural_steps),
    )

    def reached(params, family=FAMILY):
        return flat(measured_energy(models, images, params, chunk=chunk, key=measure_key, family=family))

    def after(starts, contender, family=FAMILY):
        engine, num_steps = contender
        runs = run_engine(models, images, starts, engine, num_steps=num_steps, chunk=chunk, key=run_key, family=family)
        return reached(runs.params, family)

    starts = random_starts(perception, images, sizes.adam_runs, key=start_key)
    with context.progress("reference optimum", total=images.shape[1]) as bar:

        def reference(rows):
            ends = best_of_adam(models, *rows, num_steps=sizes.adam_steps, num_polish=sizes.polish_steps)
            bar.advance(rows[0].shape[1])
            return jax.block_until_ready(ends)

        best = in_chunks(reference, (images, starts, jr.split(adam_key, images.shape[:2])), chunk)
    # Pairs, because a stage keeps no order of a dict.
    return (
        (ENCODER, reached(direct)),
        (ITERATIVE, after(direct, iterative)),
        ("feedforward start, then iterative amortized", after(feedforward, iterative)),
        ("feedforward start, then natural gradient", after(feedforward, steps)),
        ("encoder, then natural gradient", after(direct, steps)),
        ("encoder, then natural gradient, full covariance", after(widened(direct), steps, FullGaussian(4))),
        (REFERENCE, reached(best)),
    )


def race(
    sizes: PerceptionSizes, perception: SpritePerception, tuning: Images, timed: Images, *, key: Key
) -> tuple[Float[Array, "4"], tuple[tuple[str, Float[Array, "n steps"]], ...]]:
    """Energies before each step from the same feedforward start.

    Returns:
        alpha and beta of natural gradient and the rates of Adam and descent that training images chose, and the energies.
    """
    models, short = perception.models, sizes.natural_steps

    def paths(images, engine: Tuned, steps):
        starts = feedforward_starts(perception, images)
        return flat(run_engine(models, images, starts, engine, num_steps=steps, chunk=sizes.chunk, key=key).path_nats)

    def choose(contenders, steps):
        tried = jnp.stack([paths(tuning, contender, steps) for contender in contenders])
        tried = jnp.where(jnp.isnan(tried), jnp.inf, tried)
        passage = jnp.stack([steps_to(path, level).steps for path in tried])
        # Where no setting arrives in time, the typical excess at the end decides.
        excess = jnp.median(jnp.minimum(tried[:, :, -1] - level[None, :], 1e4), axis=1)
        return contenders[int(jnp.argmin(jnp.mean(passage, axis=1) + 1e-4 * excess))]

    # The optimum of a training image is taken as the least energy of a natural-gradient run.
    level = jnp.min(paths(tuning, tuned(natural, 0.5, 0.0), short), axis=1) + 1.0
    quick = choose([tuned(natural, *pair) for pair in NATURAL_SETTINGS], short)
    fast_adam, fast_descent = (
        choose([tuned(make, rate) for rate in rates], sizes.timed_steps)
        for make, rates in ((adam, ADAM_RATES), (descent, DESCENT_RATES))
    )
    settings = [float(setting) for one in (quick, fast_adam, fast_descent) for setting in one.args]
    pairs = settings[:2], (settings[0], 0.0), (1.0, 0.0), (SLOW_RATE, SLOW_MOMENTUM), (SLOW_RATE, 0.0)
    found = (
        *(
            (f"natural gradient, alpha = {pair[0]:g}, beta = {pair[1]:g}", paths(timed, tuned(natural, *pair), short))
            for pair in pairs
        ),
        (f"Adam, rate {settings[2]:g}", paths(timed, fast_adam, sizes.timed_steps)),
        (f"gradient descent, rate {settings[3]:g}", paths(timed, fast_descent, sizes.timed_steps)),
    )
    return jnp.asarray(settings), found


@eqx.filter_jit
def random_starts(perception: SpritePerception, images: Images, num: int, *, key: Key) -> DiagonalGaussianParams:
    """Half informed (feedforward scale and position, angles all around), half drawn from the prior; [shapes, n, num]."""
    informed = num // 2
    start = feedforward_starts(perception, images).loc
    periods = 2.0 * jnp.pi / perception.models.coordinates.gain[:, 1] / jnp.asarray(SYMMETRY_ORDER, start.dtype)
    turns = periods[:, None] * (jnp.arange(informed) / informed)[None, :]
    shift = jnp.zeros((NUM_SHAPES, 1, informed, 4), start.dtype).at[:, 0, :, 1].set(turns)
    drawn = jr.normal(key, (*start.shape[:2], num - informed, 4), start.dtype)
    locs = jnp.concatenate([start[:, :, None, :] + shift, drawn], axis=2)
    return DiagonalGaussianParams(locs, jnp.full_like(locs, START_LOG_SCALE))


@eqx.filter_jit
def best_of_adam(
    models: SpatialTransformer,
    images: Images,
    starts: DiagonalGaussianParams,
    keys: Key,
    *,
    num_steps: int,
    num_polish: int,
    rate: float = 0.1,
) -> DiagonalGaussianParams:
    """The parameters of least energy among long Adam runs from all starts.

    Every run from the starts, [shapes, n, runs], takes `num_steps` steps on two antithetic points with a rate that falls to
    zero; the two best ends take `num_polish` further steps on cubature points, from 0.3 of the rate on. Adam moves a coordinate
    by at most the sum of its rates, and the log standard deviations have 3 to go.
    """

    def one(model, image, starts, key):
        evidence, exact = Evidence(image), FreeEnergy(model, Cubature())

        def ends(starts, expectation, rate, steps, count):
            """The `count` best of the ends of Adam."""
            objective = FreeEnergy(model, expectation)
            engine = Gradient(optax.adam(optax.cosine_decay_schedule(rate, steps)))

            def run(start, key):
                return infer(objective, engine, FAMILY, evidence, key=key, params=start, num_steps=steps, throw=False)

            found = jax.vmap(lambda start, key: run(start, key).params)(starts, jr.split(key, starts.loc.shape[0]))
            energies = jax.vmap(lambda p: exact(FAMILY(p), evidence, key=key))(found)
            least = jax.lax.top_k(-jnp.where(jnp.isnan(energies), jnp.inf, energies), count)[1]
            return jax.tree.map(lambda leaf: leaf[least], found)

        best = ends(starts, Antithetic(1), rate, num_steps, 2)
        return jax.tree.map(lambda leaf: leaf[0], ends(best, Cubature(), 0.3 * rate, num_polish, 1))

    return over_pictures(one)(models, images, starts, keys)
