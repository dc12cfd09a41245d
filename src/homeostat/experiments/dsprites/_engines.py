"""Engines on the same pictures: running them, measuring where they end, and the best that is known.

Pictures come as [shapes, n, size, size]; every engine infers q(z | x, shape) under the model of the picture's own shape.
"""

from collections.abc import Callable

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
from ...inference import Posterior, infer
from ...inference.engines import Gradient, Iterative, NaturalGradient
from ...models.static import SpatialTransformer
from ...objectives import Evidence, FreeEnergy
from ...typing import Array, Float, Key, PyTree, Scalar
from ._amortized import FAMILY
from ._sprites import Images

Tuned = eqx.Partial
"""Makes an engine from settings that are arrays, so that other settings need no new compilation."""


def tuned(make: Callable[..., AbstractEngine], *settings: float | Array) -> Tuned:
    """One of `natural`, `adam` and `descent` at its settings."""
    return Tuned(make, *(jnp.asarray(setting, float) for setting in settings))


def natural(rate: Scalar, momentum: Scalar) -> AbstractEngine:
    """Natural gradient."""
    return NaturalGradient(rate=lambda count: rate, momentum=lambda count: momentum)


def adam(rate: Scalar) -> AbstractEngine:
    """Adam on mean and log standard deviation."""
    return Gradient(optax.adam(rate))


def descent(rate: Scalar) -> AbstractEngine:
    """Plain gradient descent on mean and log standard deviation."""
    return Gradient(optax.sgd(rate))


def learned(engine: Iterative) -> AbstractEngine:
    """Iterative amortized inference as it was trained: `Tuned(learned, engine)`."""
    return engine


def run_engine(
    models: SpatialTransformer,
    images: Images,
    starts: PyTree,
    engine: Tuned,
    *,
    num_steps: int,
    chunk: int,
    key: Key,
    family: AbstractGaussianFamily = FAMILY,
) -> PyTree:
    """One engine on all pictures from given starts, on cubature points: `infer`'s posteriors with their paths, [shapes, n].

    `chunk` pictures of each shape are worked on at a time; calls with the same chunk share one compiled program.
    """
    return in_chunks(lambda rows: _run(models, *rows, engine, num_steps, key, family), (images, starts), chunk)


@eqx.filter_jit
def _run(models, images, starts, tuned, num_steps, key, family) -> Posterior:
    engine = tuned()

    def one(model, image, start, key):
        objective, evidence = FreeEnergy(model, Cubature()), Evidence(image)
        return infer(
            objective, engine, family, evidence, key=key, params=start, num_steps=num_steps, record=True, throw=False
        )

    return over_pictures(one)(models, images, starts, jr.split(key, images.shape[:2]))


def measured_energy(
    models: SpatialTransformer,
    images: Images,
    params: PyTree,
    *,
    chunk: int,
    key: Key,
    family: AbstractGaussianFamily = FAMILY,
) -> Float[Array, "shapes n"]:
    """Free energy in nats by 128 antithetic points from one key.

    The same standard-normal points serve every engine and every picture, so that differences between engines are no noise.
    """
    return in_chunks(lambda rows: _measure(models, *rows, key, family), (images, params), chunk)


@eqx.filter_jit
def _measure(models, images, params, key, family):
    def one(model, image, params):
        return FreeEnergy(model, Antithetic(64))(family(params), Evidence(image), key=key)

    return over_pictures(one)(models, images, params)


@jax.jit
@jax.vmap
@jax.vmap
def widened(params: DiagonalGaussianParams) -> FullGaussianParams:
    """The same Gaussians, [shapes, n], as members of the full family."""
    return FullGaussian(4).from_scale_tril(params.loc, jnp.diag(jnp.exp(params.log_scale)))


def in_chunks(function: Callable[[PyTree], PyTree], rows: PyTree, chunk: int) -> PyTree:
    """`function` on `chunk` rows of each shape at a time, joined."""
    num = jax.tree.leaves(rows)[0].shape[1]
    parts = [
        function(jax.tree.map(lambda leaf, first=first: leaf[:, first : first + chunk], rows))
        for first in range(0, num, chunk)
    ]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=1), *parts)


def over_pictures(function: Callable) -> Callable:
    """Over shapes, then over pictures; the first argument is the stacked models."""

    def row(model, *rest):
        return eqx.filter_vmap(lambda *one: function(model, *one))(*rest)

    return eqx.filter_vmap(row)


def flat(values: Float[Array, "shapes n ..."]) -> Float[Array, "images ..."]:
    """Shapes and pictures as one axis."""
    return values.reshape(-1, *values.shape[2:])
