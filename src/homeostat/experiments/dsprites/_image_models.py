"""Models of the same images side by side: given templates, a learned dictionary, and a variational autoencoder.

All three have Gaussian pixels whose noise is learned (or fitted), so that their bounds on -log p(x) are comparable.
"""

from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from ...distributions import Antithetic, DiagonalGaussian, FullGaussian, MonteCarlo
from ...inference import FreeEnergyDescent, IndexedData, ModelWithEngine, VariationalEM, infer
from ...inference.engines import Direct, NaturalGradient
from ...models.static import Gaussian, LatentGaussian, SparseTemplate, StandardLevel
from ...nn import ConvolutionalDecoder, ConvolutionalEncoder
from ...objectives import Evidence, FreeEnergy, ImportanceWeighted
from ...typing import Array, Float, Key
from .._protocol import AbstractRunContext
from ._sprites import SIGMA, SpritePerception, sprite_model, sprite_models
from ._template_learning import explain_stage, recentred, sparse_candidates


class Bounds(NamedTuple):
    """Upper bounds on -log p(x) of held-out images, in nats; lower is better."""

    free_energy: Float[Array, " images"]
    importance_weighted: Float[Array, " images"]


# ------------------------------------------------------------------------------------------------------ given templates


def bounds_of_given(images: Float[Array, "n 64 64"], num_weighted: int, *, key: Key) -> Bounds:
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
            residual = jnp.mean((image - sprite_model(models, shape).image(params.loc)) ** 2)
            return found.free_energy_nats, shape, params, residual

        return jax.lax.map(one, (images, keys), batch_size=min(16, num))

    *_, residual = perceive(sprite_models(SIGMA), images, jr.split(fit_key, num))
    models = sprite_models(float(jnp.sqrt(jnp.mean(residual))))
    free_energy, shapes, params, _ = perceive(models, images, jr.split(infer_key, num))

    def weigh(args):
        shape, p, image, key = args
        objective = ImportanceWeighted(sprite_model(models, shape), num_weighted)
        # One shape's part of the sum over shapes bounds the whole.
        return objective(FullGaussian(4)(p), Evidence(image), key=key) + jnp.log(3.0)

    weighted = eqx.filter_jit(lambda args: jax.lax.map(weigh, args))((shapes, params, images, jr.split(weigh_key, num)))
    return Bounds(free_energy, weighted)


# ---------------------------------------------------------------------------------------------- sparse-coded templates


class DictionarySettings(NamedTuple):
    """How a dictionary is learned; fields as in the experiment's options."""

    cells: int
    num_atoms: int
    num_rounds: int
    num_updates: int
    num_weighted: int


class DictionaryPictures(NamedTuple):
    """What a figure of the dictionary shows."""

    mean: Float[Array, "n n"]
    atoms: Float[Array, "atoms n n"]
    images: Float[Array, "shown 64 64"]
    templates: Float[Array, "shown n n"]
    explanations: Float[Array, "shown 64 64"]
    weights: Float[Array, "shown atoms"]


class LearnedDictionary(NamedTuple):
    """Bounds on the held-out images, and pictures."""

    bounds: Bounds
    pictures: DictionaryPictures


def learn_dictionary(
    settings: DictionarySettings,
    context: AbstractRunContext,
    images: Float[Array, "n 64 64"],
    held_out: Float[Array, "m 64 64"],
    *,
    key: Key,
) -> LearnedDictionary:
    """Learn mean, dictionary, noise and sparsity from images of all shapes, and explain held-out images."""
    average = jnp.mean(jnp.sum(images, axis=(1, 2)))
    frames = jax.vmap(lambda image: recentred(image, average, settings.cells))(images)
    mean = jnp.mean(frames, axis=0)
    # The first atoms are pictures less their mean, so that single atoms already explain something.
    atoms = frames[: settings.num_atoms] - mean[None]
    model = SparseTemplate(mean, atoms, log_sigma=jnp.log(0.3), log_width=jnp.log(0.3)).normalised()

    def candidates(model, image):
        return sparse_candidates(model, image, average, 12)

    engine = NaturalGradient(rate=0.5, expectation=Antithetic(4))
    data = IndexedData(images, jnp.arange(images.shape[0]))
    for number in range(settings.num_rounds):
        starts = explain_stage(
            f"sparse-starts-{number}", context, model, images, candidates, key=key, engine=engine, num_steps=8
        )
        learner = VariationalEM(
            model,
            starts.params,
            engine,
            FullGaussian(model.dim),
            optax.adam(0.02),
            dictionary_leaves,
            _normalised,
            Antithetic(2),
        )
        model = context.fit(
            f"sparse-{number}",
            learner,
            data,
            num_steps=settings.num_updates,
            batch_size=min(32, images.shape[0]),
            key=jr.fold_in(key, 10 + number),
            every=max(1, settings.num_updates // 4),
        ).state.model
    found = explain_stage(
        "sparse-held-out", context, model, held_out, candidates, key=key, engine=engine, num_steps=16, num_starts=3
    )
    shown = slice(0, min(8, held_out.shape[0]))
    states = found.params.loc[shown]
    pictures = DictionaryPictures(
        model.mean,
        model.dictionary,
        held_out[shown],
        jax.vmap(lambda z: model.template(z[4:]))(states),
        jax.vmap(model.image)(states),
        states[:, 4:],
    )
    weighted = context.stage(
        "sparse-weighted",
        lambda key: importance_weighted(
            model, FullGaussian(model.dim), found.params, held_out, settings.num_weighted, key=key
        ),
        key=key,
    )
    return LearnedDictionary(Bounds(found.free_energy_nats, weighted), pictures)


def dictionary_leaves(model: SparseTemplate) -> SparseTemplate:
    """What is learned of a sparse-coded model: mean, dictionary, noise and the width of the prior."""
    nothing = jax.tree.map(lambda leaf: False, model)
    return eqx.tree_at(lambda m: (m.mean, m.dictionary, m.log_sigma, m.log_width), nothing, (True,) * 4)


def _normalised(model: SparseTemplate) -> SparseTemplate:
    floor = jnp.maximum(model.log_sigma, jnp.log(0.01))
    return eqx.tree_at(lambda m: m.log_sigma, model, floor).normalised()


# ------------------------------------------------------------------------------------------------------------ autoencoder


@final
class ImageEncoder(eqx.Module):
    """An image network as the encoder of a `Direct` engine."""

    network: ConvolutionalEncoder

    def __call__(self, args: Evidence) -> Float[Array, " parameters"]:
        return self.network(args.observation)


@final
class FlatImage(eqx.Module):
    """A convolutional decoder whose pixels come in one row."""

    network: ConvolutionalDecoder

    def __call__(self, z: Float[Array, " d"]) -> Float[Array, " pixels"]:
        return self.network(z).ravel()


class AutoencoderSettings(NamedTuple):
    """How the autoencoder is trained; fields as in the experiment's options."""

    num_codes: int
    num_updates: int
    num_weighted: int


def autoencoder(num_codes: int, *, key: Key) -> ModelWithEngine:
    """An untrained variational autoencoder: a convolutional decoder with its convolutional encoder."""
    decoder_key, encoder_key = jr.split(key)
    decoder = FlatImage(ConvolutionalDecoder(num_codes, 64, key=decoder_key))
    pixels = Gaussian((64, 64), jnp.log(0.2), link=jax.nn.sigmoid)
    encoder = ImageEncoder(ConvolutionalEncoder(64, 2 * num_codes, key=encoder_key))
    return ModelWithEngine(LatentGaussian((StandardLevel(num_codes),), decoder, pixels), Direct(encoder))


def train_autoencoder(
    settings: AutoencoderSettings,
    context: AbstractRunContext,
    images: Float[Array, "n 64 64"],
    held_out: Float[Array, "m 64 64"],
    *,
    key: Key,
) -> Bounds:
    """Train on the free energy; returns the bounds on the held-out images."""
    family = DiagonalGaussian(settings.num_codes)
    learner = FreeEnergyDescent(
        jax.jit(lambda key: autoencoder(settings.num_codes, key=key))(jr.fold_in(key, 20)), family, optax.adam(1e-3)
    )
    learned = context.fit(
        "autoencoder",
        learner,
        images,
        num_steps=settings.num_updates,
        batch_size=64,
        key=jr.fold_in(key, 21),
        every=max(1, settings.num_updates // 20),
    ).state.learned

    def bounds(key):
        infer_key, weigh_key = jr.split(key)
        objective = FreeEnergy(learned.model, MonteCarlo(16))

        def one(args):
            image, key = args
            found = infer(objective, learned.engine, family, Evidence(image), key=key, throw=False)
            return found.params, found.energy_nats

        keys = jr.split(infer_key, held_out.shape[0])
        params, energy = eqx.filter_jit(lambda args: jax.lax.map(one, args))((held_out, keys))
        return Bounds(
            energy, importance_weighted(learned.model, family, params, held_out, settings.num_weighted, key=weigh_key)
        )

    return context.stage("autoencoder-bounds", bounds, key=key)


def importance_weighted(model, family, params, images, num_samples: int, *, key: Key) -> Float[Array, " images"]:
    """Importance-weighted bounds with the inferred q as proposals, image by image."""

    def weigh(args):
        p, image, key = args
        return ImportanceWeighted(model, num_samples)(family(p), Evidence(image), key=key)

    return eqx.filter_jit(lambda args: jax.lax.map(weigh, args))((params, images, jr.split(key, images.shape[0])))
