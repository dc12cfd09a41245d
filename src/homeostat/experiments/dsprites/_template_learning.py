"""Learning of models whose templates are not known yet: inference from many starts, and updates of the model."""

from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from ...core import AbstractEngine
from ...distributions import Antithetic, Cubature, FullGaussian, FullGaussianParams
from ...inference import IndexedData, KeepAll, infer_modes, variational_em
from ...inference.engines import NaturalGradient
from ...models.static import SparseTemplate, SpatialTransformer, SpriteCoordinates, stack_models
from ...objectives import Evidence, FreeEnergy
from ...runs import RunContext
from ...train import InMemoryLoader
from ...typing import Array, Float, Key, Scalar
from ._starts import TYPICAL_SCALE, ring_of_poses

LearnedModel = TypeVar("LearnedModel", SpatialTransformer, SparseTemplate)

SOFT_SIGMA = 0.15
"""Pixel noise under which starts are ranked and inference begins."""


def softened(model: SpatialTransformer | SparseTemplate) -> SpatialTransformer | SparseTemplate:
    """The same model with at least `SOFT_SIGMA` of noise."""
    return eqx.tree_at(lambda m: m.log_sigma, model, jnp.maximum(model.log_sigma, jnp.log(SOFT_SIGMA)))


def explain(
    model: SpatialTransformer | SparseTemplate,
    images: Float[Array, "images ..."],
    candidates,
    *,
    key: Key,
    engine: AbstractEngine = NaturalGradient(rate=0.7),
    num_starts: int = 2,
    num_steps: int = 6,
    batch_size: int = 16,
) -> tuple[FullGaussianParams, Float[Array, " images"]]:
    """Infer every image from its best starts, and keep the end with the least free energy.

    The first half of the steps assumes noise of at least `SOFT_SIGMA`: a model that has learned little noise has a rough
    energy, whose optima are then looked for where they are broad. Of the starting points that `candidates(model, image)` gives,
    one per row, the `num_starts` of least energy are used.

    Returns:
        The best q of each image, and its free energy in nats.
    """

    # Scanned over, because two loops in a row would take twice as long to compile.
    both = stack_models((softened(model), model))

    def one(args):
        image, key = args
        evidence = Evidence(image)
        soft = FreeEnergy(softened(model), Cubature())
        points = candidates(model, image)
        energies = jax.vmap(lambda z: soft.pointwise(z, evidence, key=key))(points)
        _, best = jax.lax.top_k(-energies, num_starts)
        family = FullGaussian(points.shape[1])

        def phase(starts, model):
            found = infer_modes(
                FreeEnergy(model, Cubature()), engine, family, evidence, starts, key=key,
                num_steps=(num_steps + 1) // 2, merging=KeepAll(), throw=False,
            )  # fmt: skip
            return found.params, found.energy_nats

        # A tenth of a pixel or so: narrow enough to stay in the basin where the start lies.
        narrow = 0.02 * jnp.eye(points.shape[1], dtype=points.dtype)
        starts = jax.vmap(lambda z: family.from_scale_tril(z, narrow))(points[best])
        ends, (_, energy) = jax.lax.scan(phase, starts, both)
        chosen = jnp.argmin(energy)
        return jax.tree.map(lambda leaf: leaf[chosen], ends), energy[chosen]

    keys = jr.split(key, images.shape[0])
    return jax.lax.map(one, (images, keys), batch_size=min(batch_size, images.shape[0]))


def explain_stage(
    name: str,
    context: RunContext,
    model: SpatialTransformer | SparseTemplate,
    images: Float[Array, "images 64 64"],
    candidates,
    *,
    key: Key,
    **options,
) -> tuple[FullGaussianParams, Float[Array, " images"]]:
    """`explain` as a stage of a run; options as there."""
    compute = eqx.filter_jit(lambda model, images, key: explain(model, images, candidates, key=key, **options))
    return context.stage(name, lambda key: compute(model, images, key), key=key)


def alternate(
    name: str,
    context: RunContext,
    model: LearnedModel,
    images: Float[Array, "images 64 64"],
    candidates,
    leaves: Callable[[LearnedModel], tuple],
    project: Callable[[LearnedModel], LearnedModel],
    *,
    engine: AbstractEngine,
    rate: float,
    num_rounds: int,
    num_updates: int,
    key: Key,
    first: int = 0,
    num_steps: int = 6,
) -> LearnedModel:
    """Rounds of inference from many starts, each followed by variational EM from the ends.

    Adam moves the `leaves` of the model, which is projected after every update; `first` numbers the first round's key.
    """
    optimizer = optax.adam(rate)

    def learnable(model):
        nothing = jax.tree.map(lambda leaf: False, model)
        return eqx.tree_at(leaves, nothing, (True,) * len(leaves(model)))

    for number in range(num_rounds):
        starts, _ = explain_stage(
            f"{name}-starts-{number}", context, model, images, candidates, key=key, engine=engine, num_steps=num_steps
        )
        family = FullGaussian(starts.loc.shape[1])
        model = context.fit(
            f"{name}-{number}",
            variational_em(model, starts, engine, family, optimizer, learnable, project, Antithetic(2)),
            InMemoryLoader(IndexedData(images, jnp.arange(images.shape[0])), min(32, images.shape[0])),
            num_steps=num_updates,
            key=jr.fold_in(key, first + number),
            every=max(1, num_updates // 4),
        ).state.learned
    return model


def bounded(model: SpatialTransformer) -> SpatialTransformer:
    """Templates are intensities in [0, 1], and the noise stays above 1 %, so that no perfect image drives it to zero."""
    values = (jnp.clip(model.template, 0.0, 1.0), jnp.maximum(model.log_sigma, jnp.log(0.01)))
    return eqx.tree_at(lambda m: (m.template, m.log_sigma), model, values)


def align(
    template: Float[Array, "m m"], target: Float[Array, "n n"], *, key: Key, num_angles: int = 24
) -> tuple[Float[Array, "n n"], Scalar]:
    """A template moved by the similarity transform that explains `target` best, and their correlation (Pearson's).

    A template and the poses of all images are only defined up to one common similarity transform; it is found by inference,
    with the target as the image.
    """
    num = target.shape[0]
    coordinates = SpriteCoordinates((1.0, 0.0, 0.5 * num, 0.5 * num), (0.2, jnp.pi, 0.1 * num, 0.1 * num))
    sigma = jnp.asarray(0.1, target.dtype)
    model = SpatialTransformer(template, jnp.log(sigma), coordinates, size=num, extent=0.5 * num)
    # Masses of both in the target's cells give the start in scale.
    mass = jnp.sum(template) * (num / template.shape[0]) ** 2

    def candidates(model, image):
        return ring_of_poses(image, mass * TYPICAL_SCALE**2, coordinates, num_angles)

    params, _ = explain(model, target[None], candidates, key=key, num_starts=3, num_steps=12)
    moved = model.image(params.loc[0])
    return moved, jnp.corrcoef(jnp.stack([moved.ravel(), target.ravel()]))[0, 1]
