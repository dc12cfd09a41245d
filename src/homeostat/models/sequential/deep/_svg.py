"""Stochastic video generation with a learned prior."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, final

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr

from ....nn import LSTM, DCGANDecoder, DCGANEncoder, Dense, LSTMState, VGGDecoder, VGGEncoder
from ....results import BadInputError
from ....typing import Action, Any, Array, Distribution, Float, Key, Observation
from ...static import AbstractLikelihood
from ._parts import AbstractDeepModel, ConditionalNormal, action_vector, check_dim, flat_observation


@dataclass(frozen=True)
class SVGSizes:
    """Sizes of SVG; the defaults are those for the human actions of KTH."""

    dim: int = 512
    """Latent variables (count)."""
    code: int = 128
    """Length of the code of a frame (count)."""
    width: int = 256
    """Units of every LSTM (count)."""
    predictor_depth: int = 2
    """Layers of the LSTM in front of the decoder (count)."""
    encoder: Callable[..., Any] = VGGEncoder
    """`encoder(size, code, key=..., in_channels=...)` builds the network from a frame to its code."""
    decoder: Callable[..., Any] = VGGDecoder
    """`decoder(code, size, key=..., out_channels=...)` builds the network from a code to a frame's features."""


SVG_KTH = SVGSizes()
"""Frames of 64 x 64 of people in motion, from the code of Marino, Cvitkovic and Yue (2018)."""

SVG_ROBOT = SVGSizes(dim=64)
"""Colour frames of 64 x 64 of a robot that pushes things (BAIR), from the same code."""

SVG_MOVING_DIGITS = SVGSizes(dim=10, encoder=DCGANEncoder, decoder=DCGANDecoder)
"""Frames of 64 x 64 of moving digits, from the same code."""


class SVGCarry(NamedTuple):
    """Memory of SVG.

    Attributes:
        code: [g_{t-1}, a_{t-1}], the code of the last frame and the last action.
        prior: state of the prior's LSTM, which has read `code`.
        predictor: state of the LSTM in front of the decoder, which has not.
    """

    code: Float[Array, " c"]
    prior: LSTMState
    predictor: LSTMState


@final
class SVG(AbstractDeepModel):
    """The latents say what the last frame does not tell about the next.

        g_t = encoder(x_t - 1/2),   u_t = LSTM_prior([g_{t-1}, a_{t-1}]),   z_t ~ N(m(u_t), s(u_t)^2)
        v_t = LSTM_predictor([g_{t-1}, a_{t-1}, z_t]),   x_t ~ p(x | decoder(tanh(W v_t + b)))

    Before the first frame a learned code g_0 stands in its place; chapter 4 leaves the first frame unscored instead.

    Attributes:
        encoder: frame, height x width x channels, to its code.
        prior_memory: LSTM_prior.
        latent_prior: u to the distribution of z.
        predictor: LSTM_predictor.
        projection: W, b.
        decoder: code to an image of features, height x width x (features of a pixel).
        density: p(x | features), of shape (height, width) or (height, width, channels).
        start: g_0.
        action_dim: number of action coordinates; 0 for none.

    References:
        Denton and Fergus, "Stochastic video generation with a learned prior", ICML 2018, with an output density, as in chapter 4
        of Marino's thesis, and without connections from encoder to decoder, which the code of Marino, Cvitkovic and Yue (2018)
        multiplies by zero.
    """

    encoder: Callable[[Array], Array]
    prior_memory: LSTM
    latent_prior: ConditionalNormal
    predictor: LSTM
    projection: Dense
    decoder: Callable[[Array], Array]
    density: AbstractLikelihood
    start: Float[Array, " code"]
    action_dim: int = eqx.field(static=True, default=0)

    def init_carry(self) -> SVGCarry:
        code = jnp.concatenate([self.start, jnp.zeros(self.action_dim, self.start.dtype)])
        return SVGCarry(code, self.prior_memory(code, self.prior_memory.init())[1], self.predictor.init())

    def prior(self, carry: SVGCarry) -> Distribution:
        return self.latent_prior(carry.prior.top)

    def emission_given(self, carry: SVGCarry, state: Float[Array, " d"]) -> Distribution:
        predicted = jnp.tanh(self.projection(self._predict(carry, state).top))
        image = self.decoder(predicted)
        # Channels that belong to one kind of feature (means, log variances) stand together in the flat vector.
        kinds = self.density.num_features // self.density.size
        parts = image.reshape(*image.shape[:2], kinds, -1)
        return self.density(jnp.moveaxis(parts, 2, 0).ravel())

    def next_carry(
        self, carry: SVGCarry, state: Float[Array, " d"], observation: Observation, action: Action
    ) -> SVGCarry:
        code = jnp.concatenate([self._read(observation), action_vector(action, self.action_dim, self.start)])
        return SVGCarry(code, self.prior_memory(code, carry.prior)[1], self._predict(carry, state))

    def _predict(self, carry: SVGCarry, state: Float[Array, " d"]) -> LSTMState:
        return self.predictor(jnp.concatenate([carry.code, state]), carry.predictor)[1]

    def _read(self, observation: Observation) -> Float[Array, " code"]:
        height, width, *_ = self.density.shape
        frame = flat_observation(observation, self.start, self.density.size).reshape(height, width, -1)
        return self.encoder(frame - 0.5)


def svg(density: AbstractLikelihood, sizes: SVGSizes = SVG_KTH, *, key: Key, action_dim: int = 0) -> SVG:
    """SVG of given sizes; arguments as for `vrnn`, the density of a square frame such as `video_density(64, 64)`.

    Raises:
        BadInputError: there are no latent variables, or frames are not square images.
    """
    check_dim(sizes.dim, action_dim)
    shape = density.shape
    if len(shape) not in (2, 3) or shape[0] != shape[1]:
        raise BadInputError(f"Expected square frames, (side, side) or (side, side, channels), got shape {shape}.")
    encoder_key, prior_key, head_key, predictor_key, projection_key, decoder_key = jr.split(key, 6)
    code, width, pixels = sizes.code, sizes.width, shape[0] * shape[1]
    return SVG(
        sizes.encoder(shape[0], code, key=encoder_key, in_channels=density.size // pixels),
        LSTM(code + action_dim, width, key=prior_key),
        ConditionalNormal(None, Dense(width, 2 * sizes.dim, key=head_key)),
        LSTM(code + action_dim + sizes.dim, width, sizes.predictor_depth, key=predictor_key),
        Dense(width, code, key=projection_key),
        sizes.decoder(code, shape[0], key=decoder_key, out_channels=density.num_features // pixels),
        density,
        jnp.zeros(code),
        action_dim,
    )
