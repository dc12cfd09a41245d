"""Models of the same images side by side: given templates, a learned dictionary, and a variational autoencoder.

All three have Gaussian pixels whose noise is learned (or fitted), so that their bounds on -log p(x) are comparable.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from ...distributions import Antithetic, DiagonalGaussian, FullGaussian, MonteCarlo
from ...inference import ModelWithEngine, free_energy_descent
from ...inference.engines import Direct, NaturalGradient
from ...inference.filters import ObservationFeatures
from ...metrics import evaluate, log_likelihood
from ...models.static import Gaussian, LatentGaussian, SparseTemplate, StandardLevel, model_at, stack_models
from ...nn import ConvolutionalDecoder, ConvolutionalEncoder, FlatImage
from ...runs import RunContext
from ...train import InMemoryLoader
from ...typing import Array, Float, Key
from ._perceive import SpritePerception
from ._sprites import sprite_models
from ._starts import recentred, sparse_candidates
from ._template_learning import alternate, explain_stage


class ImageBounds(NamedTuple):
    """Upper bounds on -log p(x) of held-out images, in nats; lower is better."""

    free_energy: Float[Array, " images"]
    importance_weighted: Float[Array, " images"]


@eqx.filter_jit
def importance_weighted(models, family, params, images, num_samples: int, *, key: Key) -> Float[Array, " images"]:
    """Importance-weighted bounds with the inferred q as proposals, image by image, of a model for each."""

    def weigh(args):
        model, p, image, key = args
        return -log_likelihood(model, family(p), image, key=key, num_samples=num_samples).log_likelihood_nats

    return jax.lax.map(weigh, (models, params, images, jr.split(key, images.shape[0])))


def bounds_of_given(images: Float[Array, "n 64 64"], num_weighted: int, *, key: Key) -> ImageBounds:
    """Bounds of the given templates, with a uniform prior over the three shapes and the noise that fits these images best."""
    num = images.shape[0]
    fit_key, infer_key, weigh_key = jr.split(key, 3)

    @eqx.filter_jit
    def perceive(models, images, keys):
        perception = SpritePerception(models=models, num_steps=3)

        def one(args):
            image, key = args
            found = perception(image, key=key)
            shape, params = found.best_hypothesis, found.best_params
            residual = jnp.mean((image - model_at(models, shape).image(params.loc)) ** 2)
            return found.free_energy_nats, shape, params, residual

        return jax.lax.map(one, (images, keys), batch_size=min(16, num))

    *_, residual = perceive(sprite_models(), images, jr.split(fit_key, num))
    models = sprite_models(float(jnp.sqrt(jnp.mean(residual))))
    free_energy, shapes, params, _ = perceive(models, images, jr.split(infer_key, num))
    chosen = model_at(models, shapes)
    weighted = importance_weighted(chosen, FullGaussian(4), params, images, num_weighted, key=weigh_key)
    # One shape's part of the sum over shapes bounds the whole.
    return ImageBounds(free_energy, weighted + jnp.log(3.0))


def learn_dictionary(
    context: RunContext,
    images: Float[Array, "n 64 64"],
    held_out: Float[Array, "m 64 64"],
    *,
    cells: int,
    num_atoms: int,
    num_rounds: int,
    num_updates: int,
    num_weighted: int,
    key: Key,
) -> tuple[SparseTemplate, Float[Array, "m d"], ImageBounds]:
    """Learn mean, dictionary, noise and sparsity from images of all shapes, and explain held-out images.

    Returns:
        The learned model, the mean pose and weights of each held-out image, and bounds.
    """
    average = jnp.mean(jnp.sum(images, axis=(1, 2)))
    frames = jax.vmap(lambda image: recentred(image, average, cells))(images)
    mean = jnp.mean(frames, axis=0)
    # The first atoms are pictures less their mean, so that single atoms already explain something.
    atoms = frames[:num_atoms] - mean[None]
    model = SparseTemplate(mean, atoms, log_sigma=jnp.log(0.3), log_width=jnp.log(0.3)).normalised()

    def candidates(model, image):
        return sparse_candidates(model, image, average, 12)

    def normalised(model: SparseTemplate) -> SparseTemplate:
        floor = jnp.maximum(model.log_sigma, jnp.log(0.01))
        return eqx.tree_at(lambda m: m.log_sigma, model, floor).normalised()

    engine = NaturalGradient(rate=0.5, expectation=Antithetic(4))
    model = alternate(
        "sparse", context, model, images, candidates,
        lambda m: (m.mean, m.dictionary, m.log_sigma, m.log_width), normalised, engine=engine, rate=0.02,
        num_rounds=num_rounds, num_updates=num_updates, key=key, first=10, num_steps=8,
    )  # fmt: skip
    params, free_energy = explain_stage(
        "sparse-held-out", context, model, held_out, candidates, key=key, engine=engine, num_steps=16, num_starts=3
    )

    def weigh(key: Key) -> Float[Array, " images"]:
        each = model_at(stack_models((model,)), jnp.zeros(held_out.shape[0], int))
        return importance_weighted(each, FullGaussian(model.dim), params, held_out, num_weighted, key=key)

    return model, params.loc, ImageBounds(free_energy, context.stage("sparse-weighted", weigh, key=key))


@eqx.filter_jit
def autoencoder(num_codes: int, *, key: Key) -> ModelWithEngine:
    """An untrained variational autoencoder: a convolutional decoder with its convolutional encoder."""
    decoder_key, encoder_key = jr.split(key)
    decoder = FlatImage(ConvolutionalDecoder(num_codes, 64, key=decoder_key))
    pixels = Gaussian((64, 64), jnp.log(0.2), link=jax.nn.sigmoid)
    encoder = ObservationFeatures(ConvolutionalEncoder(64, 2 * num_codes, key=encoder_key))
    return ModelWithEngine(LatentGaussian((StandardLevel(num_codes),), decoder, pixels), Direct(encoder))


def train_autoencoder(
    num_codes: int,
    num_updates: int,
    num_weighted: int,
    context: RunContext,
    images: Float[Array, "n 64 64"],
    held_out: Float[Array, "m 64 64"],
    *,
    key: Key,
) -> ImageBounds:
    """Train on the free energy; returns the bounds on the held-out images."""
    family = DiagonalGaussian(num_codes)
    learner = free_energy_descent(autoencoder(num_codes, key=jr.fold_in(key, 20)), family, optax.adam(1e-3))
    learned = context.fit(
        "autoencoder", learner, InMemoryLoader(images, 64), num_steps=num_updates, key=jr.fold_in(key, 21),
        every=max(1, num_updates // 20),
    ).state.learned  # fmt: skip

    def bounds(key: Key) -> ImageBounds:
        found = evaluate(
            learned.model,
            learned.engine,
            family,
            held_out,
            key=key,
            num_samples=num_weighted,
            expectation=MonteCarlo(16),
        )
        return ImageBounds(-found.elbo_nats, -found.likelihood.log_likelihood_nats)

    return context.stage("autoencoder-bounds", bounds, key=key)
