"""The stochastic recurrent network."""

from dataclasses import dataclass
from typing import NamedTuple, final

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr

from ....nn import LSTM, LSTMState, clipped_leaky_relu
from ....typing import Action, Array, Distribution, Float, Key, Nonlinearity, Observation
from ...static import AbstractLikelihood
from ._parts import AbstractDeepModel, ConditionalNormal, Readout, action_vector, check_dim, flat_observation, normal


@dataclass(frozen=True)
class SRNNSizes:
    """Sizes of an SRNN; the defaults are those for speech."""

    dim: int = 256
    """Latent variables (count)."""
    memory_width: int = 1024
    """Units of the LSTM (count)."""
    width: int = 512
    """Units in each hidden layer of prior, decoder and encoder (count)."""
    depth: int = 2
    """Hidden layers of the prior, and of the encoder of the model's own filter (count)."""
    decoder_depth: int = 2
    """Hidden layers of the decoder (count)."""
    activation: Nonlinearity = clipped_leaky_relu
    """Between layers."""


SRNN_SPEECH = SRNNSizes()
"""Speech in steps of 200 samples each, from the code of Marino, Cvitkovic and Yue (2018)."""

SRNN_MUSIC = SRNNSizes(dim=100, memory_width=300, width=500, depth=1)
"""Piano rolls of 88 keys, from the same code."""


class SRNNCarry(NamedTuple):
    """Memory of an SRNN.

    Attributes:
        memory: state of the LSTM; h is its output.
        state: z_{t-1}.
    """

    memory: LSTMState
    state: Float[Array, " d"]


@final
class SRNN(AbstractDeepModel):
    """A deterministic layer that reads the data only, and above it latents that are Markov given that layer.

        h_{t+1} = LSTM([x_t, a_t], h_t),   z_t ~ N(m([h_t, z_{t-1}]), s([h_t, z_{t-1}])^2),   x_t ~ p(x | decoder([h_t, z_t]))

    The state z_0 before the first is learned.

    Attributes:
        latent_prior: [h, z_{t-1}] to the distribution of z_t.
        decoder: [h, z_t] to the features of the output density.
        density: p(x | features).
        start: z_0.
        action_dim: number of action coordinates; 0 for none.

    References:
        Fraccaro et al., "Sequential neural models with stochastic layers", NeurIPS 2016, Eqs. 1 to 4, with an LSTM in the place of
        the GRU as in chapter 4 of Marino's thesis.
    """

    memory: LSTM
    latent_prior: ConditionalNormal
    decoder: Readout
    density: AbstractLikelihood
    start: Float[Array, " d"]
    action_dim: int = eqx.field(static=True, default=0)

    def init_carry(self) -> SRNNCarry:
        return SRNNCarry(self.memory.init(), self.start)

    def prior(self, carry: SRNNCarry) -> Distribution:
        return self.latent_prior(jnp.concatenate([carry.memory.top, carry.state]))

    def emission_given(self, carry: SRNNCarry, state: Float[Array, " d"]) -> Distribution:
        return self.density(self.decoder(jnp.concatenate([carry.memory.top, state])))

    def next_carry(
        self, carry: SRNNCarry, state: Float[Array, " d"], observation: Observation, action: Action
    ) -> SRNNCarry:
        seen = flat_observation(observation, self.start, self.density.size)
        inputs = [seen, action_vector(action, self.action_dim, self.start)]
        return SRNNCarry(self.memory(jnp.concatenate(inputs), carry.memory)[1], state.astype(self.start.dtype))


def srnn(density: AbstractLikelihood, sizes: SRNNSizes = SRNN_SPEECH, *, key: Key, action_dim: int = 0) -> SRNN:
    """An SRNN of given sizes; arguments as for `vrnn`, the density such as `music_density()` or `speech_density()`."""
    check_dim(sizes.dim, action_dim)
    memory_key, prior_key, decoder_key = jr.split(key, 3)
    h, dim, width, activation = sizes.memory_width, sizes.dim, sizes.width, sizes.activation
    return SRNN(
        LSTM(density.size + action_dim, h, key=memory_key),
        normal(h + dim, dim, width, sizes.depth, key=prior_key, activation=activation),
        Readout(h + dim, density.num_features, width, sizes.decoder_depth, key=decoder_key, activation=activation),
        density,
        jnp.zeros(dim),
        action_dim,
    )
