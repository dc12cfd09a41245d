"""Networks of chapter 3's models and encoders."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax.flatten_util import ravel_pytree

from ...core import AbstractFamily
from ...distributions import DiagonalGaussian
from ...inference import ModelWithEngine
from ...inference.engines import AbstractEncoding, BoundLogScale, Data, Direct, Feedback, Gated, Iterative
from ...models.static import LatentGaussian, latent_gaussian
from ...nn import MLP, HighwayMLP
from ...objectives import Errors, Evidence
from ...typing import Any, Array, Float, Key
from ._data import SplitData
from ._methods import Detach


@dataclass(frozen=True)
class NetworkSizes:
    """Sizes of the networks; the defaults are those of the authors' code for MNIST with one level."""

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


@final
class ObservedFeatures(eqx.Module):
    """features(x) of the evidence: what `Data` feeds to an update network."""

    features: Callable[[Array], Array] = eqx.field(static=True)

    def __call__(self, args: Evidence) -> Float[Array, " n"]:
        return self.features(args.observation)


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


def data_encoding(data: SplitData) -> Data:
    """The encoding that feeds the observation itself to an update network."""
    return Data(ObservedFeatures(data.features))


@final
@dataclass(frozen=True, eq=False)
class Networks:
    """Networks for one data set. Models are beside engines; their weights depend on the key alone, not on the engine.

    Attributes:
        data: what is observed.
        sizes: of the networks.
        highway: whether the generative model has highway layers, as everywhere but for one level of MNIST, or plain ELU layers.
    """

    data: SplitData
    sizes: NetworkSizes
    highway: bool = False

    def with_direct(self, *, key: Key) -> ModelWithEngine:
        """A model with a direct encoder."""
        return self.with_engine(self.direct, key=key)

    def with_iterative(
        self, encodings: Sequence[AbstractEncoding], *, key: Key, detach: Detach = jax.lax.stop_gradient
    ) -> ModelWithEngine:
        """A model with an update network."""
        return self.with_engine(partial(self.iterative, encodings, detach=detach), key=key)

    def with_engine(self, engine: Callable[..., Any], *, key: Key) -> ModelWithEngine:
        """A model with `engine(key=...)`."""
        model_key, engine_key = jr.split(key)
        return ModelWithEngine(self.model(key=model_key), engine(key=engine_key))

    def model(self, *, key: Key) -> LatentGaussian:
        """The generative model."""
        network = HighwayMLP if self.highway else MLP
        mapping = partial(network, width=self.sizes.decoder_width, depth=self.sizes.decoder_depth)
        return latent_gaussian(
            self.data.likelihood, self.sizes.latents, key=key, mapping=mapping, units=self.sizes.units
        )

    def direct(self, *, key: Key, family: AbstractFamily | None = None) -> Direct:
        """The direct encoder: a highway network from x to the parameters of `family` (a diagonal Gaussian by default)."""
        num_params, bound = self._parameters(family)
        network = HighwayMLP(self.data.size, num_params, self.sizes.encoder_width, self.sizes.encoder_depth, key=key)
        return Direct(FeatureEncoder(network, self.data.features, bound))

    def iterative(
        self,
        encodings: Sequence[AbstractEncoding],
        *,
        key: Key,
        family: AbstractFamily | None = None,
        detach: Detach = jax.lax.stop_gradient,
    ) -> Iterative:
        """The update network: the same highway network, with `encodings` as inputs and a gated update (Eq. 3.12).

        With `jax.lax.stop_gradient` each iteration is trained by itself, with the identity the unrolled chain.
        """
        (num_params, bound), encodings, update = self._parameters(family), tuple(encodings), Gated()
        inputs, outputs = self.encoding_size(encodings, num_params), update.outputs(num_params)
        network = HighwayMLP(inputs, outputs, self.sizes.encoder_width, self.sizes.encoder_depth, key=key)
        return Iterative(network, encodings, update, bound=bound, detach=detach)

    def encoding_size(self, encodings: Sequence[AbstractEncoding], num_params: int) -> int:
        """Length of all encodings together, from their shapes alone."""

        def encoded() -> Array:
            params, seen, latent = (jnp.zeros(size) for size in (num_params, self.data.size, sum(self.sizes.latents)))
            feedback = Feedback(params, params, Evidence(seen), lambda: Errors(seen, latent, seen, latent))
            return jnp.concatenate([encoding(feedback) for encoding in encodings])

        return int(eqx.filter_eval_shape(encoded).shape[0])

    def _parameters(self, family: AbstractFamily | None) -> tuple[int, BoundLogScale | None]:
        """How many parameters q has, and how their log scales are bounded; points have none."""
        dim = sum(self.sizes.latents)
        family = DiagonalGaussian(dim) if family is None else family
        num_params = int(jax.eval_shape(lambda: ravel_pytree(family.init())[0]).shape[0])
        return num_params, None if num_params == dim else BoundLogScale()
