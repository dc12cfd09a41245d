"""Engines on the same pictures: running them, measuring where they end, and the best that is known.

Pictures come as [shapes, n, size, size]; every engine infers q(z | x, shape) under the model of the picture's own shape.
"""

import abc
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from ...core import AbstractEngine
from ...distributions import (
    AbstractGaussianFamily,
    Antithetic,
    Cubature,
    DiagonalGaussianParams,
    FullGaussian,
    FullGaussianParams,
)
from ...environments import SYMMETRY_ORDER
from ...inference import infer
from ...inference.engines import Gradient, Iterative, NaturalGradient
from ...models.static import SpatialTransformer
from ...objectives import Evidence, FreeEnergy
from ...typing import Array, Float, Int, Key, Params, PyTree
from ._amortized import FAMILY, NUM_SHAPES
from ._sprites import SpritePerception

START_LOG_SCALE = -3.0
"""Log standard deviation (in z) of every start that is not the encoder's: half a pixel."""


class Runs(NamedTuple):
    """What an engine did on every picture.

    Attributes:
        params: final parameters, [shapes, n].
        path_nats: energy before each step as the engine measured it.
        path: parameters before each step.
    """

    params: PyTree
    path_nats: Float[Array, "shapes n steps"]
    path: PyTree


class AbstractContender(eqx.Module):
    """An engine with its settings as numbers, so that other settings need no new compilation."""

    @abc.abstractmethod
    def engine(self) -> AbstractEngine:
        """The engine; called while tracing."""


@final
class Natural(AbstractContender):
    """Natural gradient.

    Attributes:
        rate: alpha.
        momentum: beta.
    """

    rate: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    momentum: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    def engine(self) -> AbstractEngine:
        return NaturalGradient(rate=lambda count: self.rate, momentum=lambda count: self.momentum)


@final
class Adam(AbstractContender):
    """Adam on mean and log standard deviation.

    Attributes:
        rate: learning rate.
    """

    rate: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    def engine(self) -> AbstractEngine:
        return Gradient(optax.adam(self.rate))


@final
class Descent(AbstractContender):
    """Plain gradient descent on mean and log standard deviation.

    Attributes:
        rate: learning rate.
    """

    rate: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    def engine(self) -> AbstractEngine:
        return Gradient(optax.sgd(self.rate))


@final
class Learned(AbstractContender):
    """An engine of iterative amortized inference.

    Attributes:
        iterative: the engine.
    """

    iterative: Iterative

    def engine(self) -> AbstractEngine:
        return self.iterative


def run_contender(
    models: SpatialTransformer,
    images: Float[Array, "shapes n size size"],
    starts: Params,
    contender: AbstractContender,
    *,
    num_steps: int,
    chunk: int,
    key: Key,
    family: AbstractGaussianFamily = FAMILY,
) -> Runs:
    """One engine on all pictures from given starts, on cubature points.

    Args:
        models: stacked sprite models.
        images: the pictures.
        starts: [shapes, n].
        contender: the engine with its settings.
        num_steps: engine steps.
        chunk: pictures of each shape at a time; calls with the same chunk share one compiled program.
        key: for the engine.
        family: of the starts.
    """
    parts = []
    for first in range(0, images.shape[1], chunk):
        rows = slice(first, first + chunk)
        start = jax.tree.map(lambda leaf, rows=rows: leaf[:, rows], starts)
        parts.append(_run(models, images[:, rows], start, contender, num_steps, key, family))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=1), *parts)


@eqx.filter_jit
def _run(models, images, starts, contender, num_steps, key, family) -> Runs:
    engine = contender.engine()

    def one(model, image, start, key):
        posterior = infer(
            FreeEnergy(model, Cubature()),
            engine,
            family,
            Evidence(image),
            key=key,
            params=start,
            num_steps=num_steps,
            record=True,
            throw=False,
        )
        return Runs(posterior.params, posterior.path_nats, posterior.path)

    return _map(one)(models, images, starts, jr.split(key, images.shape[:2]))


def measured_energy(
    models: SpatialTransformer, images: Float[Array, "shapes n size size"], params: PyTree, *, chunk: int, key: Key
) -> Float[Array, "shapes n"]:
    """Free energy in nats by 128 antithetic points from one key.

    The same standard-normal points serve every engine and every picture, so that differences between engines are no noise.
    `params` are of the diagonal or of the full family.
    """
    if isinstance(params, DiagonalGaussianParams):
        params = _measure_widened(params)
    parts = []
    for first in range(0, images.shape[1], chunk):
        rows = slice(first, first + chunk)
        parts.append(
            _measure(models, images[:, rows], jax.tree.map(lambda leaf, rows=rows: leaf[:, rows], params), key)
        )
    return jnp.concatenate(parts, axis=1)


@eqx.filter_jit
def _measure(models, images, params: FullGaussianParams, key):
    def one(model, image, params):
        return FreeEnergy(model, Antithetic(64))(FullGaussian(4)(params), Evidence(image), key=key)

    return _map(one)(models, images, params)


@eqx.filter_jit
def _measure_widened(params: DiagonalGaussianParams) -> FullGaussianParams:
    return jax.vmap(jax.vmap(widened))(params)


def widened(params: DiagonalGaussianParams) -> FullGaussianParams:
    """The same Gaussian as a member of the full family."""
    return FullGaussian(4).from_scale_tril(params.loc, jnp.diag(jnp.exp(params.log_scale)))


@eqx.filter_jit
def feedforward_starts(
    perception: SpritePerception, images: Float[Array, "shapes n size size"]
) -> DiagonalGaussianParams:
    """Starts from mass, centroid and a ring of angles, for each picture's own shape."""
    locs = jnp.stack([jax.vmap(lambda image, k=k: perception.start(image, k))(images[k]) for k in range(NUM_SHAPES)])
    return DiagonalGaussianParams(locs, jnp.full_like(locs, START_LOG_SCALE))


@eqx.filter_jit
def random_starts(
    perception: SpritePerception, images: Float[Array, "shapes n size size"], num: int, *, key: Key
) -> DiagonalGaussianParams:
    """Half informed (feedforward scale and position, angles all around), half drawn from the prior; [shapes, n, num]."""
    informed = num // 2
    start = feedforward_starts(perception, images).loc
    turns = jnp.arange(informed) / informed
    periods = 2.0 * jnp.pi / perception.models.coordinates.gain[:, 1] / jnp.asarray(SYMMETRY_ORDER, start.dtype)
    shift = jnp.zeros((NUM_SHAPES, 1, informed, 4), start.dtype).at[:, 0, :, 1].set(periods[:, None] * turns[None, :])
    around = start[:, :, None, :] + shift
    drawn = jr.normal(key, (*start.shape[:2], num - informed, 4), start.dtype)
    locs = jnp.concatenate([around, drawn], axis=2)
    return DiagonalGaussianParams(locs, jnp.full_like(locs, START_LOG_SCALE))


@eqx.filter_jit
def best_of_adam(
    models: SpatialTransformer,
    images: Float[Array, "shapes n size size"],
    starts: DiagonalGaussianParams,
    *,
    num_steps: int,
    num_polish: int,
    key: Key,
    rate: float = 0.1,
) -> DiagonalGaussianParams:
    """The parameters of least energy among long Adam runs from all starts.

    Every run takes `num_steps` steps on two antithetic points with a rate that falls to zero; the two best ends take
    `num_polish` further steps on cubature points.

    Args:
        models: stacked sprite models.
        images: the pictures.
        starts: [shapes, n, runs].
        num_steps: of every run.
        num_polish: of the two best.
        key: for the antithetic points.
        rate: first rate of the runs; the polish begins at 0.3 of it. Adam moves a coordinate by at most the
            sum of its rates, and the log standard deviations have 3 to go.
    """
    long = Gradient(optax.adam(optax.cosine_decay_schedule(rate, num_steps)))
    polish = Gradient(optax.adam(optax.cosine_decay_schedule(0.3 * rate, num_polish)))

    def one(model, image, starts, key):
        evidence = Evidence(image)

        def run(engine, expectation, steps):
            objective = FreeEnergy(model, expectation)
            return lambda start, key: (
                infer(objective, engine, FAMILY, evidence, key=key, params=start, num_steps=steps, throw=False).params
            )

        num = starts.loc.shape[0]
        ends = jax.vmap(run(long, Antithetic(1), num_steps))(starts, jr.split(key, num))
        exact = FreeEnergy(model, Cubature())
        best = _least(jax.vmap(lambda p: exact(FAMILY(p), evidence, key=key))(ends), 2)
        ends = jax.tree.map(lambda leaf: leaf[best], ends)
        ends = jax.vmap(run(polish, Cubature(), num_polish))(ends, jr.split(key, 2))
        best = _least(jax.vmap(lambda p: exact(FAMILY(p), evidence, key=key))(ends), 1)
        return jax.tree.map(lambda leaf: leaf[best[0]], ends)

    return _map(one)(models, images, starts, jr.split(key, images.shape[:2]))


def _least(energies: Float[Array, " n"], count: int) -> Int[Array, " count"]:
    return jax.lax.top_k(-jnp.where(jnp.isnan(energies), jnp.inf, energies), count)[1]


def _map(function):
    """Over shapes, then over pictures; the first argument is the stacked models."""

    def row(model, *rest):
        return eqx.filter_vmap(lambda *one: function(model, *one))(*rest)

    return eqx.filter_vmap(row)


def flat(values: Float[Array, "shapes n *rest"]) -> Float[Array, "images *rest"]:
    """Shapes and pictures as one axis."""
    return values.reshape(-1, *values.shape[2:])
