"""Networks of chapter 3's models and encoders."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp

from ...core import AbstractFamily
from ...inference.engines import AbstractEncoding, BoundLogScale, Data, Direct, Feedback, Gated, Iterative
from ...inference.filters import ObservationFeatures
from ...models.static import LatentGaussian, latent_gaussian
from ...nn import MLP, HighwayMLP
from ...objectives import Errors, Evidence
from ...typing import Array, Float, Key
from ._data import SplitData


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
    return Data(ObservationFeatures(data.features))


@final
@dataclass(frozen=True, eq=False)
class Networks:
    """Networks for one data set.

    Attributes:
        data: what is observed.
        sizes: of the networks.
        highway: whether the generative model has highway layers, as everywhere but for one level of MNIST, or plain ELU layers.
    """

    data: SplitData
    sizes: NetworkSizes
    highway: bool = False

    @property
    def dim(self) -> int:
        """Latent variables of all levels together."""
        return sum(self.sizes.latents)

    def model(self, *, key: Key) -> LatentGaussian:
        """The generative model."""
        sizes, network = self.sizes, HighwayMLP if self.highway else MLP
        mapping = partial(network, width=sizes.decoder_width, depth=sizes.decoder_depth)
        return latent_gaussian(self.data.likelihood, sizes.latents, key=key, mapping=mapping, units=sizes.units)

    def direct(self, *, family: AbstractFamily, key: Key) -> Direct:
        """The direct encoder: a highway network from x to the parameters of `family`."""
        num_params, bound = self._parameters(family)
        return Direct(FeatureEncoder(self._network(self.data.size, num_params, key), self.data.features, bound))

    def iterative(
        self,
        encodings: Sequence[AbstractEncoding],
        *,
        family: AbstractFamily,
        key: Key,
        detach: Callable[[Array], Array] = jax.lax.stop_gradient,
    ) -> Iterative:
        """The update network: the same highway network, with `encodings` as inputs and a gated update (Eq. 3.12).

        With `jax.lax.stop_gradient` each iteration is trained by itself, with the identity the unrolled chain.
        """
        (num_params, bound), update = self._parameters(family), Gated()
        network = self._network(self.encoding_size(encodings, num_params), update.outputs(num_params), key)
        return Iterative(network, tuple(encodings), update, bound=bound, detach=detach)

    def encoding_size(self, encodings: Sequence[AbstractEncoding], num_params: int) -> int:
        """Length of all encodings together, from their shapes alone."""

        def encoded() -> Array:
            params, seen, latent = (jnp.zeros(size) for size in (num_params, self.data.size, self.dim))
            feedback = Feedback(params, params, Evidence(seen), lambda: Errors(seen, latent, seen, latent))
            return jnp.concatenate([encoding(feedback) for encoding in encodings])

        return int(eqx.filter_eval_shape(encoded).shape[0])

    def _network(self, inputs: int, outputs: int, key: Key) -> HighwayMLP:
        return HighwayMLP(inputs, outputs, self.sizes.encoder_width, self.sizes.encoder_depth, key=key)

    def _parameters(self, family: AbstractFamily) -> tuple[int, BoundLogScale | None]:
        """How many parameters q has, and how their log scales are bounded; points have none."""
        num_params = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(family.init)))
        return num_params, None if num_params == self.dim else BoundLogScale()
