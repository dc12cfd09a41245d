"""Templates that are learned, coded sparsely, or composed; and a variational autoencoder beside them."""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ...inference.engines import NaturalGradient
from ...metrics import mean_with_error
from ...models.static import SpatialTransformer, model_at
from ...runs import AtLeast, AtMost, Claim, Minutes, RunContext
from ...typing import Array, Float, Int, Key
from ...viz import plot_bounds, plot_learned_template, plot_scenes, plot_sparse_templates
from ..kit import mean_and_error, measure
from ._image_models import bounds_of_given, learn_dictionary, train_autoencoder
from ._scenes import COLOURS, draw_scene, explain_scene, scene_errors, scene_models
from ._sprites import HEART, latents_at, render, split_configurations, sprite_templates
from ._starts import recentred, ring_of_poses
from ._template_learning import align, alternate, bounded

SOURCE = (
    "slides, generative model and remaining work (Bayesian sparse coding); Kingma and Welling, 2014, for the baseline"
)
MINUTES = Minutes(smoke=0.25, small=2.5, paper=20.0)
_CORRELATION = "correlation of the learned template with the true one, up to the common similarity transform"
_REFINED = "1 - correlation of the learned template, as a share of that of the single image where learning starts"
_PLACES = "share of objects in scenes of three whose centre is found within a pixel"
_BASELINE = "importance-weighted bound of the autoencoder less that of the sprite model, held-out images, mean"
_SPARSE = "importance-weighted bound of the autoencoder less that of the sparse-coded model, held-out images, mean"
_SPARSE_GIVEN = (
    "importance-weighted bound of the sparse-coded model less that of the given templates, held-out images, mean"
)
CLAIMS = (
    Claim("templates/correlation", SOURCE, _CORRELATION, "correlation", AtLeast(0.95)),
    Claim("templates/correlation", SOURCE, _CORRELATION, "correlation", AtLeast(0.8), scales=("smoke",)),
    Claim("templates/refined", SOURCE, _REFINED, "ratio", AtMost(0.5)),
    Claim("templates/baseline", SOURCE, _BASELINE, "nats", AtLeast(0.0)),
    Claim("templates/sparse", SOURCE, _SPARSE, "nats", AtLeast(0.0)),
    # Stated first and kept although it fails: six learned atoms do not reach the templates that drew the images.
    Claim("templates/sparse-given", SOURCE, _SPARSE_GIVEN, "nats", AtMost(0.0)),
    Claim("templates/scene", SOURCE, _PLACES, "fraction", AtLeast(0.85)),
)


@dataclass(frozen=True)
class Config:
    """Options of this experiment."""

    num_images: int = 192
    """Images of one shape from which its template is learned (count)."""
    num_mixed: int = 288
    """Images of all shapes from which the dictionary is learned (count); 0 leaves it and the comparison of models out."""
    num_held_out: int = 96
    """Images on which bounds are compared (count)."""
    cells: int = 32
    """Side of a learned template (cells)."""
    num_atoms: int = 6
    """Atoms of the dictionary (count)."""
    num_updates: int = 60
    """Updates of a model after each round of inference from many starts (count)."""
    num_rounds: int = 2
    """Rounds of inference from many starts (count)."""
    num_codes: int = 10
    """Latent variables of the autoencoder (count)."""
    vae_images: int = 6_000
    """Training images of the autoencoder (count)."""
    vae_updates: int = 1_500
    """Updates of the autoencoder (count); 0 leaves it and the comparison of models out."""
    num_weighted: int = 256
    """Samples of the importance-weighted bound (count)."""
    num_scenes: int = 8
    """Scenes of three objects (count); 0 leaves them out."""

    @classmethod
    def for_scale(cls, scale: str) -> "Config":
        """The values used at one scale."""
        if scale == "smoke":
            # Compiling the other parts takes longer than the whole of a smoke run should.
            return cls(
                num_images=48, num_held_out=8, num_updates=16, num_rounds=1, num_mixed=0, vae_updates=0, num_scenes=0
            )
        if scale == "paper":
            return cls(
                num_images=1_000, num_mixed=2_000, num_held_out=1_000, num_updates=500, num_rounds=4,
                vae_images=100_000, vae_updates=40_000, num_weighted=1_000, num_scenes=200,
            )  # fmt: skip
        return cls()


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Run the experiment."""
    train, held_out = split_configurations(config.num_held_out, key=jr.fold_in(key, 0))
    order = np.asarray(jr.permutation(jr.fold_in(key, 1), train.shape[0]))
    num_pool = max(6 * config.num_images, config.num_mixed, config.vae_images)
    pool = latents_at(jnp.asarray(train[order[:num_pool]]))
    draw = jax.jit(render)
    hearts = pool[np.flatnonzero(np.asarray(pool[:, 0]) == HEART)[: config.num_images]]
    learn_template(config, context, draw(hearts), key=key)
    if config.num_mixed and config.vae_updates:
        compare_models(config, context, pool, draw(latents_at(jnp.asarray(held_out))), key=key)
    if config.num_scenes:
        explain_scenes(config, context, key=key)


def learn_template(config: Config, context: RunContext, images: Float[Array, "n 64 64"], *, key: Key) -> None:
    """Learn the heart's template from its images, starting from one of them."""
    average = jnp.mean(jnp.sum(images, axis=(1, 2)))
    first = recentred(images[0], average, config.cells)
    model = alternate(
        "template", context, SpatialTransformer(first, log_sigma=jnp.log(0.3)), images,
        lambda model, image: ring_of_poses(image, average, model.coordinates, 12),
        lambda m: (m.template, m.log_sigma), bounded, engine=NaturalGradient(rate=0.7), rate=0.05,
        num_rounds=config.num_rounds, num_updates=config.num_updates, key=key,
    )  # fmt: skip
    truth = sprite_templates()[HEART]
    compute = jax.jit(lambda template, key: align(template, truth, key=key))
    aligned, correlation = context.stage("align", lambda key: compute(model.template, key), key=key)
    _, before = context.stage("align-first", lambda key: compute(first, key), key=key)
    context.measure("templates/correlation", float(correlation))
    context.measure("templates/refined", (1.0 - float(correlation)) / (1.0 - float(before)))
    pictures = (np.asarray(part) for part in (first, model.template, aligned, truth))
    context.figure(
        "template",
        plot_learned_template([np.asarray(x) for x in images[:8]], *pictures),
        caption=f"Learning a template from {images.shape[0]} images of hearts. Top: some of the images. Bottom: the first "
        f"image recentred, where learning starts (correlation {float(before):.3f} with the truth after alignment); "
        f"the learned template; the same moved by the transform that no data can fix; and the true one "
        f"(correlation {float(correlation):.3f}). Learned sigma: {float(jnp.exp(model.log_sigma)):.3f}.",
    )


def compare_models(
    config: Config, context: RunContext, pool: Int[Array, "n 5"], held_out: Float[Array, "m 64 64"], *, key: Key
) -> None:
    """Bounds of given templates, a learned dictionary and an autoencoder on the same held-out images."""
    draw, num_weighted = jax.jit(render), config.num_weighted
    given = context.stage("given", lambda key: bounds_of_given(held_out, num_weighted, key=key), key=key)
    model, states, sparse = learn_dictionary(
        context, draw(pool[: config.num_mixed]), held_out, cells=config.cells, num_atoms=config.num_atoms,
        num_rounds=config.num_rounds, num_updates=config.num_updates, num_weighted=num_weighted, key=key,
    )  # fmt: skip
    shown = states[:8]
    pictures = (
        model.mean, model.dictionary, held_out[:8], jax.vmap(lambda z: model.template(z[4:]))(shown),
        jax.vmap(model.image)(shown), shown[:, 4:],
    )  # fmt: skip
    context.figure(
        "sparse",
        plot_sparse_templates(*(np.asarray(x) for x in pictures)),
        caption="Sparse-coded templates. Top: the mean and the dictionary, learned from all shapes together. Below: held-out "
        "images, the template inferred for each, its image, and its weights.",
    )
    images = draw(pool[: config.vae_images])
    autoencoder = train_autoencoder(
        config.num_codes, config.vae_updates, num_weighted, context, images, held_out, key=key
    )
    names = ("given templates", "sparse-coded templates", "variational autoencoder")
    models = (given, sparse, autoencoder)
    rows = []
    for name, bounds in zip(names, models, strict=True):
        means = [mean_with_error(jnp.asarray(bound)) for bound in bounds]
        rows.append((name, *(f"{float(value):.1f} +- {float(stderr):.1f}" for value, stderr in means)))
    context.table(
        "bounds",
        ("model", "free energy (nats)", f"importance-weighted, {num_weighted} samples (nats)"),
        rows,
        caption="Upper bounds on -log p(x) of the same held-out binary images under Gaussian pixels with learned noise; lower "
        "is better. A density may exceed one, so the numbers may be negative. Mean and standard error over images.",
    )
    weighted = [np.asarray(bounds.importance_weighted) for bounds in models]
    context.figure(
        "bounds",
        plot_bounds(names, weighted),
        caption="Importance-weighted bounds of the held-out images, in nats; lower is better.",
    )
    for claim, more, less in (("baseline", 2, 0), ("sparse", 2, 1), ("sparse-given", 1, 0)):
        measure(context, f"templates/{claim}", mean_and_error(weighted[more] - weighted[less]))


def explain_scenes(config: Config, context: RunContext, *, key: Key) -> None:
    """Explain scenes of three coloured sprites, their poses and their order of depth."""

    def explain_all(key: Key) -> tuple[Array, ...]:
        models = scene_models()

        @eqx.filter_jit
        def one(models, key):
            scene_key, infer_key = jr.split(key)
            scene = draw_scene(key=scene_key)
            found = explain_scene(models, scene.image, key=infer_key)
            best, z = model_at(models, found.best), found.best_params.loc
            return scene.image, best.image(z), best.masks(z), *scene_errors(models, scene, found)

        found = [one(models, scene_key) for scene_key in jr.split(key, config.num_scenes)]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)

    found = context.stage("scenes", explain_all, key=key)
    *pictures, pixels, right_order = (np.asarray(part) for part in found)
    near = pixels <= 1.0
    context.measure("templates/scene", near.mean(), stderr=float(np.sqrt(near.mean() * (1 - near.mean()) / near.size)))
    context.figure(
        "scenes",
        plot_scenes(*(part[:6] for part in pictures), COLOURS),
        caption="Scenes of three sprites (top), their explanations by the most probable poses and order of depth (second row), "
        f"and each object on its own (below). {int(near.sum())} of {near.size} centres are within a pixel; the order of depth "
        f"is right, where it can be seen, in {int(np.sum(right_order))} of {config.num_scenes}.",
    )
