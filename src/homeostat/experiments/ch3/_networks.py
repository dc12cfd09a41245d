"""Networks of the chapter: generative models, direct encoders and update networks of the authors' sizes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax.flatten_util import ravel_pytree

from ...core import AbstractFamily, AbstractModel
from ...distributions import DiagonalGaussian
from ...inference import ModelWithEngine
from ...inference.engines import AbstractEncoding, BoundLogScale, Data, Direct, Feedback, Gated, Iterative
from ...models.static import AbstractLikelihood, LatentGaussian, latent_gaussian
from ...nn import MLP, HighwayMLP
from ...objectives import Errors, Evidence
from ...typing import Array, Float, Key, PyTree
from ._data import SplitData


@dataclass(frozen=True)
class NetworkSizes:
    """NetworkSizes of the networks; the defaults are those of the authors' code for MNIST with one level."""

    latents: tuple[int, ...] = (64,)
    """Latent variables of each level, the lowest first (count)."""
    units: int = 0
    """Deterministic units of every level but the top (count)."""
    encoder_width: int = 512
    """Units in each hidden layer of an encoder or update network, which has highway connections (count)."""
    encoder_depth: int = 2
    """Its hidden layers (count)."""
    decoder_width: int = 512
    """Units in each hidden layer of the generative model (count)."""
    decoder_depth: int = 2
    """Its hidden layers (count)."""


def build_model(
    data: SplitData,
    sizes: NetworkSizes,
    *,
    key: Key,
    highway: bool = False,
    likelihood: AbstractLikelihood | None = None,
) -> LatentGaussian:
    """The generative model: plain ELU layers for one level of MNIST, highway layers (`highway=True`) elsewhere.

    Args:
        data: gives the output density.
        sizes: of the networks.
        key: for the weights.
        highway: whether hidden layers carry their input past a gate.
        likelihood: in place of `data.likelihood`.
    """
    network = partial(HighwayMLP if highway else MLP, width=sizes.decoder_width, depth=sizes.decoder_depth)
    density = data.likelihood if likelihood is None else likelihood
    return latent_gaussian(density, sizes.latents, key=key, mapping=network, units=sizes.units)


@final
class FeatureEncoder(eqx.Module):
    """[mu, log sigma] = network(features(x)), log sigma bounded as in the authors' code.

    Attributes:
        network: maps features to parameters.
        features: from an observation to what the network reads.
        bound: applied to the output; `None` for point estimates.
    """

    network: Callable[[Array], Array]
    features: Callable[[Array], Array] = eqx.field(static=True)
    bound: Callable[[Array], Array] | None = BoundLogScale()

    def __call__(self, args: Evidence) -> Float[Array, " k"]:
        output = self.network(self.features(args.observation))
        return output if self.bound is None else self.bound(output)


@final
class ObservedFeatures(eqx.Module):
    """features(x) of the evidence: what `Data` feeds to an update network.

    Attributes:
        features: from an observation to what the network reads.
    """

    features: Callable[[Array], Array] = eqx.field(static=True)

    def __call__(self, args: Evidence) -> Float[Array, " n"]:
        return self.features(args.observation)


def data_encoding(data: SplitData) -> Data:
    """The encoding that feeds the observation itself to an update network."""
    return Data(ObservedFeatures(data.features))


def direct_engine(data: SplitData, sizes: NetworkSizes, *, key: Key, family: AbstractFamily | None = None) -> Direct:
    """The direct encoder: a highway network from x to the parameters of `family` (a diagonal Gaussian by default)."""
    family = DiagonalGaussian(sum(sizes.latents)) if family is None else family
    num_params = _num_params(family)
    network = HighwayMLP(data.size, num_params, sizes.encoder_width, sizes.encoder_depth, key=key)
    return Direct(FeatureEncoder(network, data.features, _bound(num_params, sizes)))


def iterative_engine(
    data: SplitData,
    sizes: NetworkSizes,
    encodings: Sequence[AbstractEncoding],
    *,
    key: Key,
    family: AbstractFamily | None = None,
    detach: Callable[[Array], Array] = jax.lax.stop_gradient,
) -> Iterative:
    """The update network: the same highway network, with other inputs and a gated update (Eq. 3.12).

    Args:
        data: what is observed.
        sizes: of the networks.
        encodings: inputs, such as `(Estimate(), LogGradient(), data_encoding(data))`.
        key: for the weights.
        family: whose parameters are updated; a diagonal Gaussian by default.
        detach: `jax.lax.stop_gradient` trains each iteration by itself, the identity the unrolled chain.
    """
    dim = sum(sizes.latents)
    family = DiagonalGaussian(dim) if family is None else family
    num_params = _num_params(family)
    encodings, update = tuple(encodings), Gated()
    num_inputs = encoding_size(data, encodings, num_params, dim)
    network = HighwayMLP(num_inputs, update.outputs(num_params), sizes.encoder_width, sizes.encoder_depth, key=key)
    return Iterative(network, encodings, update, bound=_bound(num_params, sizes), detach=detach)


def encoding_size(data: SplitData, encodings: Sequence[AbstractEncoding], num_params: int, dim: int) -> int:
    """Length of all encodings together, from their shapes alone."""

    def encoded() -> Array:
        params, seen, latent = jnp.zeros(num_params), jnp.zeros(data.size), jnp.zeros(dim)
        errors = Errors(seen, latent, seen, latent)
        feedback = Feedback(params, params, Evidence(seen), lambda: errors)
        return jnp.concatenate([encoding(feedback) for encoding in encodings])

    return int(eqx.filter_eval_shape(encoded).shape[0])


def with_direct(data: SplitData, sizes: NetworkSizes, *, key: Key, highway: bool = False) -> ModelWithEngine:
    """A model with a direct encoder. The model's weights depend on `key` alone, not on the engine beside it."""
    model_key, engine_key = jr.split(key)
    return ModelWithEngine(
        build_model(data, sizes, key=model_key, highway=highway), direct_engine(data, sizes, key=engine_key)
    )


def with_iterative(
    data: SplitData,
    sizes: NetworkSizes,
    encodings: Sequence[AbstractEncoding],
    *,
    key: Key,
    highway: bool = False,
    detach: Callable[[Array], Array] = jax.lax.stop_gradient,
) -> ModelWithEngine:
    """A model with an update network; with the same `key` the model starts from the same weights as `with_direct`'s."""
    model_key, engine_key = jr.split(key)
    model = build_model(data, sizes, key=model_key, highway=highway)
    return ModelWithEngine(model, iterative_engine(data, sizes, encodings, key=engine_key, detach=detach))


def default_family(model: AbstractModel) -> DiagonalGaussian:
    """Independent Gaussians over all latents of a model."""
    return DiagonalGaussian(model.initial().event_shape[0])


def num_weights(tree: PyTree) -> int:
    """Number of learnable numbers."""
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array)))


def _num_params(family: AbstractFamily) -> int:
    return int(jax.eval_shape(lambda: ravel_pytree(family.init())[0]).shape[0])


def _bound(num_params: int, sizes: NetworkSizes) -> BoundLogScale | None:
    return None if num_params == sum(sizes.latents) else BoundLogScale()
