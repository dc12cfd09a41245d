"""The variational recurrent network."""

from dataclasses import dataclass
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ....nn import LSTM, Features, LSTMState
from ....typing import Action, Array, Distribution, Float, Key, Nonlinearity, Observation
from ...static import AbstractLikelihood
from ._parts import (
    AbstractDeepModel,
    ConditionalNormal,
    Readout,
    action_vector,
    check_dim,
    flat_observation,
    gain_of,
    normal,
)


@dataclass(frozen=True)
class VRNNSizes:
    """Sizes of a VRNN; the defaults are those for speech."""

    dim: int = 200
    """Latent variables (count)."""
    memory_width: int = 2000
    """Units of the LSTM (count)."""
    observation_width: int = 600
    """Units in each layer of the features of x (count)."""
    latent_width: int = 500
    """Units in each layer of the features of z (count)."""
    prior_width: int = 500
    """Units in each hidden layer of the prior (count)."""
    decoder_width: int = 600
    """Units in each hidden layer of the decoder (count)."""
    encoder_width: int = 500
    """Units in each hidden layer of the encoder of the model's own filter (count)."""
    depth: int = 4
    """Layers of each of these networks (count)."""
    activation: Nonlinearity = jax.nn.relu
    """Between layers."""


VRNN_SPEECH = VRNNSizes()
"""Speech in steps of 200 samples each, from the code of Marino, Cvitkovic and Yue (2018)."""


class VRNNCarry(NamedTuple):
    """Memory of a VRNN.

    Attributes:
        memory: state of the LSTM; h is its output.
    """

    memory: LSTMState


@final
class VRNN(AbstractDeepModel):
    """Everything depends on the past through one LSTM that reads x and z.

        z_t ~ N(m(h_t), s(h_t)^2),   x_t ~ p(x | decoder([phi_z(z_t), h_t])),
        h_{t+1} = LSTM([phi_x(x_t), phi_z(z_t), a_t], h_t)

    Attributes:
        observation_features: phi_x, on the flat observation.
        latent_features: phi_z.
        latent_prior: h to the distribution of z.
        decoder: to the features of the output density.
        density: p(x | features).
        action_dim: number of action coordinates; 0 for none.

    References:
        Chung et al., "A recurrent latent variable model for sequential data", NeurIPS 2015, Eqs. 5, 6 and 7.
    """

    observation_features: Features
    latent_features: Features
    memory: LSTM
    latent_prior: ConditionalNormal
    decoder: Readout
    density: AbstractLikelihood
    action_dim: int = eqx.field(static=True, default=0)

    def init_carry(self) -> VRNNCarry:
        return VRNNCarry(self.memory.init())

    def prior(self, carry: VRNNCarry) -> Distribution:
        return self.latent_prior(carry.memory.top)

    def emission_given(self, carry: VRNNCarry, state: Float[Array, " d"]) -> Distribution:
        context = jnp.concatenate([self.latent_features(state), carry.memory.top])
        return self.density(self.decoder(context))

    def next_carry(
        self, carry: VRNNCarry, state: Float[Array, " d"], observation: Observation, action: Action
    ) -> VRNNCarry:
        hidden = carry.memory.top
        seen = self.observation_features(flat_observation(observation, hidden, self.density.size))
        inputs = [seen, self.latent_features(state), action_vector(action, self.action_dim, hidden)]
        return VRNNCarry(self.memory(jnp.concatenate(inputs), carry.memory)[1])


def vrnn(density: AbstractLikelihood, sizes: VRNNSizes = VRNN_SPEECH, *, key: Key, action_dim: int = 0) -> VRNN:
    """A VRNN of given sizes.

    Args:
        density: the output density, such as `speech_density(200, log_variance_bounds=VRNN_LOG_VARIANCE)`.
        action_dim: number of action coordinates; 0 for none.

    Raises:
        BadInputError: there are no latent variables.
    """
    check_dim(sizes.dim, action_dim)
    x_key, z_key, memory_key, prior_key, decoder_key = jr.split(key, 5)
    activation, depth = sizes.activation, sizes.depth
    gain = gain_of(activation)
    h, f, g = sizes.memory_width, sizes.observation_width, sizes.latent_width
    return VRNN(
        Features(density.size, f, depth, key=x_key, activation=activation, gain=gain),
        Features(sizes.dim, g, depth, key=z_key, activation=activation, gain=gain),
        LSTM(f + g + action_dim, h, key=memory_key),
        normal(h, sizes.dim, sizes.prior_width, depth, key=prior_key, activation=activation, gain=gain),
        Readout(
            g + h, density.num_features, sizes.decoder_width, depth, key=decoder_key, activation=activation, gain=gain
        ),
        density,
        action_dim,
    )
