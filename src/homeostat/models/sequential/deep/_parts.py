"""Parts of the deep sequential models: Gaussian priors and decoders on features, and how they read data and actions."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist

from ....core import AbstractSequentialModel
from ....nn import RELU_GAIN, Dense, Features
from ....results import BadInputError
from ....typing import Action, Array, Distribution, Float, Key, Nonlinearity, Observation
from .._timed_action import TimedAction

LATENT_LOG_VARIANCE = (-15.0, 5.0)
"""Where the log variance of a latent is clipped, as in the code of Marino, Cvitkovic and Yue (2018)."""


@final
class ConditionalNormal(eqx.Module):
    """N(m(c), exp(l(c))): mean and log variance linear in features of a context, the log variance clipped.

    Attributes:
        features: of the context.
        head: features to [m, l].
        log_variance_bounds: where l is clipped; outside, it has no gradient.
    """

    features: Features | None
    head: Dense
    log_variance_bounds: tuple[float, float] = eqx.field(static=True, default=LATENT_LOG_VARIANCE)

    @property
    def dim(self) -> int:
        """Number of variables."""
        return self.head.bias.shape[0] // 2

    def __call__(self, context: Float[Array, " c"]) -> Distribution:
        features = context if self.features is None else self.features(context)
        loc, log_variance = jnp.split(self.head(features), 2)
        scale = jnp.exp(0.5 * jnp.clip(log_variance, *self.log_variance_bounds))
        return dist.Normal(loc, scale, validate_args=False).to_event(1)


class AbstractDeepModel(AbstractSequentialModel):
    """A model whose latents of a step have a Gaussian prior given the memory.

    Attributes:
        latent_prior: from the memory to the distribution of z.
    """

    latent_prior: eqx.AbstractVar[ConditionalNormal]

    @property
    def dim(self) -> int:
        """Number of latent variables of a step."""
        return self.latent_prior.dim


@final
class Readout(eqx.Module):
    """Hidden layers and a linear output; an `MLP` whose hidden layers may start with a gain."""

    features: Features
    head: Dense

    def __init__(
        self,
        in_size: int,
        out_size: int,
        width: int,
        depth: int,
        *,
        key: Key,
        activation: Nonlinearity = jax.nn.elu,
        gain: float = 1.0,
    ):
        """Build the network.

        Args:
            width: units in each hidden layer.
            depth: hidden layers, at least one.
            gain: multiplies the initial weights of hidden layers.
        """
        features_key, head_key = jr.split(key)
        self.features = Features(in_size, width, depth, key=features_key, activation=activation, gain=gain)
        self.head = Dense(width, out_size, key=head_key)

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        return self.head(self.features(x))


def flat_observation(observation: Observation, like: Array, size: int) -> Float[Array, " n"]:
    """One observation as a vector of the type of `like`.

    Raises:
        BadInputError: it has not `size` entries.
    """
    vector = jnp.ravel(jnp.asarray(observation, like.dtype))
    if vector.size != size:
        raise BadInputError(
            f"Expected one observation of {size} entries, got an array of shape {jnp.shape(observation)}: for many sequences "
            f"or steps, map with `jax.vmap`."
        )
    return vector


def action_vector(action: Action, dim: int, like: Array) -> Float[Array, " a"]:
    """The action as a vector of the type of `like`; no action counts as zero.

    Raises:
        BadInputError: it is an `TimedAction`, or has another shape than (dim,).
    """
    if action is None:
        return jnp.zeros(dim, like.dtype)
    if isinstance(action, TimedAction):
        raise BadInputError(
            "Expected an array as the action of a deep model, whose steps have no duration of their own, got TimedAction: let the "
            "network read how long a step lasts as one more number, jnp.concatenate([duration[:, None], actions], axis=1), and "
            "build the model with an action_dim larger by one."
        )
    vector = jnp.asarray(action, like.dtype)
    if vector.shape != (dim,):
        raise BadInputError(
            f"Expected an action of shape {(dim,)}, got {vector.shape}: build the model with the action_dim of your data."
        )
    return vector


def check_dim(dim: int, action_dim: int) -> None:
    """Refuse models without latent variables, and negative action sizes."""
    if dim < 1:
        raise BadInputError(f"Expected at least one latent variable, got dim={dim}: pass dim >= 1.")
    if action_dim < 0:
        raise BadInputError(f"Expected a number of action coordinates, got action_dim={action_dim}: 0 for no actions.")


def normal(
    in_size: int, dim: int, width: int, depth: int, *, key: Key, activation: Nonlinearity, gain: float = 1.0
) -> ConditionalNormal:
    """A `ConditionalNormal` on `depth` hidden layers."""
    layers = Readout(in_size, 2 * dim, width, depth, key=key, activation=activation, gain=gain)
    return ConditionalNormal(layers.features, layers.head)


def gain_of(activation: Nonlinearity) -> float:
    """Gain of the first weights of a nonlinearity: rectifiers lose half of what passes, others keep Xavier's scale."""
    return RELU_GAIN if activation is jax.nn.relu else 1.0
