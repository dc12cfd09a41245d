"""The filters of the deep sequential models: the one that each was published with, and amortized variational filtering for all.

A published filter is `Direct` with an encoder made for its model; it samples one past, and so does the other. In the published
code VRNN and SVG share the network that reads x between model and filter. Here an engine has weights of its own, so the filter
has a second network of the same size; nothing else differs.
"""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr

from ...core import AbstractEngine, AbstractSequentialModel
from ...distributions import DiagonalGaussian, MonteCarlo
from ...models.sequential import (
    SRNN,
    SRNN_SPEECH,
    SVG,
    SVG_KTH,
    VRNN,
    VRNN_SPEECH,
    DeepMarkov,
    Readout,
    SRNNCarry,
    SRNNSizes,
    SVGSizes,
    TwoTimescales,
    TwoTimescalesCarry,
    VRNNCarry,
    VRNNSizes,
    gain_of,
)
from ...nn import LSTM, Dense, Features, HighwayMLP
from ...results import BadInputError
from ...typing import Array, Callable, Distribution, Float, Key
from .._start import start_at_prior
from ..engines import AbstractUpdateRule, Data, Direct, Estimate, Gated, InferenceGradient, Iterative, Normalized
from ._encoders import (
    LOG_SCALE_BOUND,
    CarryEncoder,
    FlatFeatures,
    FlatReader,
    FrameCode,
    MemoryEncoder,
    ObservationFeatures,
)
from ._history import example_of
from ._memory import AbstractMemory, RecurrentMemory
from ._propagation import SampledHistories
from ._variational import VariationalFilter

NORM_EPSILON = 1e-7
"""Floor of a standard deviation in the layer normalisation of an update network's inputs, from the code of Marino, Cvitkovic and
Yue (2018)."""


def vrnn_filter(model: VRNN, sizes: VRNNSizes = VRNN_SPEECH, *, key: Key, num_samples: int = 1) -> VariationalFilter:
    """The filter of VRNN: q(z_t) = N(network([phi_x(x_t), h_t])).

    Args:
        model: gives the lengths.
        sizes: those that the model was built with.
        key: for the weights.
        num_samples: of past latents.

    References:
        Chung et al., "A recurrent latent variable model for sequential data", NeurIPS 2015, Eq. 9.
    """
    reader_key, network_key = jr.split(key)
    build = {"activation": sizes.activation, "gain": gain_of(sizes.activation)}
    reader = Features(model.density.size, sizes.observation_width, sizes.depth, key=reader_key, **build)
    inputs = sizes.observation_width + model.memory.width
    network = Readout(inputs, 2 * model.dim, sizes.encoder_width, sizes.depth, key=network_key, **build)
    return _filter(Direct(CarryEncoder(FlatFeatures(reader), _top, network)), model.dim, num_samples)


def srnn_filter(model: SRNN, sizes: SRNNSizes = SRNN_SPEECH, *, key: Key, num_samples: int = 1) -> VariationalFilter:
    """The filter of SRNN: q(z_t) = N(network([x_t, h_t])).

    Arguments as for `vrnn_filter`.

    References:
        Fraccaro et al., "Sequential neural models with stochastic layers", NeurIPS 2016, without the backward network, which
        would read the future: a filter as in chapter 4 of Marino's thesis.
    """
    inputs = model.density.size + model.memory.width
    network = Readout(inputs, 2 * model.dim, sizes.width, sizes.depth, key=key, activation=sizes.activation)
    return _filter(Direct(CarryEncoder(FlatReader(), _top, network)), model.dim, num_samples)


def svg_filter(model: SVG, sizes: SVGSizes = SVG_KTH, *, key: Key, num_samples: int = 1) -> VariationalFilter:
    """The filter of SVG: q(z_t) = N(W y_t + b), y_t the output of a recurrent network of its own on the codes of the frames.

    Arguments as for `vrnn_filter`.

    References:
        Denton and Fergus, "Stochastic video generation with a learned prior", ICML 2018, Sec. 3.
    """
    encoder_key, memory_key, head_key = jr.split(key, 3)
    side, *_ = model.density.shape
    encoder = sizes.encoder(side, sizes.code, key=encoder_key, in_channels=model.density.size // side**2)
    recurrence = LSTM(sizes.code, sizes.width, key=memory_key)
    memory = RecurrentMemory(recurrence, ObservationFeatures(FrameCode(encoder)), sizes.width)
    encode = MemoryEncoder(Dense(sizes.width, 2 * model.dim, key=head_key))
    return _filter(Direct(encode), model.dim, num_samples, memory=memory)


def deep_markov_filter(
    model: DeepMarkov, width: int = 200, depth: int = 1, *, key: Key, num_samples: int = 1
) -> VariationalFilter:
    """A filter of the deep Markov model: q(z_t) = N(network([x_t, m_t, log s_t])), with p(z_t | z_{t-1}) = N(m_t, s_t^2).

    Args:
        model: gives the lengths.
        width: units in each hidden layer.
        depth: hidden layers.
        key: for the weights.
        num_samples: of past latents.

    References:
        Krishnan, Shalit and Sontag, "Structured inference networks for nonlinear state space models", AAAI 2017, Table 1, whose
        networks read z_{t-1} itself: the prediction is what that tells about z_t.
    """
    network = Readout(model.density.size + 2 * model.dim, 2 * model.dim, width, depth, key=key)
    return _filter(Direct(CarryEncoder(FlatReader(), _prediction, network)), model.dim, num_samples)


def two_timescales_filter(
    model: TwoTimescales, width: int = 256, depth: int = 1, *, key: Key, num_samples: int = 1
) -> VariationalFilter:
    """A filter of the model of two time scales: a network that reads x_t, both memories, the held latents and whether they change.

    Arguments as for `deep_markov_filter`.
    """
    inputs = model.density.size + model.fast_memory.width + model.slow_memory.width + model.dims[1] + 1
    network = Readout(inputs, 2 * model.dim, width, depth, key=key)
    return _filter(Direct(CarryEncoder(FlatReader(), _both_scales, network)), model.dim, num_samples)


def amortized_variational_filter(
    model: AbstractSequentialModel,
    *,
    key: Key,
    num_steps: int = 1,
    num_samples: int = 1,
    width: int = 1024,
    depth: int = 2,
    update: AbstractUpdateRule = Gated(),
    bound: Callable[[Float[Array, " k"]], Float[Array, " k"]] = LOG_SCALE_BOUND,
    reader: Callable[[Array], Float[Array, " f"]] | None = None,
) -> VariationalFilter:
    """Amortized variational filtering: from the prediction, `num_steps` updates by a highway network, the same for all models.

    The network reads the gradients of mu and of log sigma, mu, and log sigma, each layer-normalised by itself.

    Args:
        model: any sequential model whose latents are Gaussian.
        key: for the weights.
        num_steps: iterations at each step.
        num_samples: of past latents.
        width: units in each hidden layer.
        depth: hidden layers; 1 for SVG in the authors' code.
        update: `Gated()`, or `ScaledGradient(LearnedSGD(), 1 / batch_size)`.
        bound: applied to every new estimate; `NormalizedMean()` where the authors normalise the posterior mean.
        reader: features of the observation to be read besides; `FlatReader()` for the observation itself.

    References:
        Marino (thesis), Eq. 4.11 and Sec. 4.4, "Setup"; the code of Marino, Cvitkovic and Yue (2018).
    """
    state, seen = example_of(model)
    if len(state.shape) != 1:
        raise BadInputError(
            f"Expected a model whose latents are one vector, got shape {state.shape}: see `DiagonalGaussian`."
        )
    (dim,) = state.shape
    encodings = (Normalized(InferenceGradient(), 2, NORM_EPSILON), Normalized(Estimate(), 2, NORM_EPSILON))
    inputs = 4 * dim
    if reader is not None:
        length = eqx.filter_eval_shape(lambda: reader(jnp.zeros(seen.shape, seen.dtype))).shape[0]
        encodings, inputs = (*encodings, Data(ObservationFeatures(reader))), inputs + length
    network = HighwayMLP(inputs, update.outputs(2 * dim), width, depth, key=key)
    engine = Iterative(network, encodings, update, bound=bound)
    return _filter(engine, dim, num_samples, num_steps=num_steps)


def _filter(
    engine: AbstractEngine, dim: int, num_samples: int, num_steps: int = 1, memory: AbstractMemory | None = None
) -> VariationalFilter:
    # One sample of the latents of a step for each past, as in the chapter; no gradient passes through where inference starts.
    return VariationalFilter(
        engine, DiagonalGaussian(dim), num_steps, MonteCarlo(1), SampledHistories(num_samples), memory, start_at_prior
    )


def _top(carry: VRNNCarry | SRNNCarry) -> Float[Array, " h"]:
    return carry.memory.top


def _prediction(carry: Distribution) -> Float[Array, " two_d"]:
    return jnp.concatenate([carry.mean, 0.5 * jnp.log(carry.variance)])


def _both_scales(carry: TwoTimescalesCarry) -> Float[Array, " h"]:
    due = (carry.clock == 0).astype(carry.held.dtype)
    return jnp.concatenate([carry.fast.top, carry.slow.top, carry.held, due[None]])
