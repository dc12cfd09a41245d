"""The decoder of a variational autoencoder: images from a standard Gaussian code through a network.

    z ~ N(0, 1)^d,   x ~ N(f(z), sigma^2)   or   x ~ Bernoulli(sigmoid(f(z)))

Beside an amortized engine (`Direct` with an encoder) and the free energy, this is the variational autoencoder; beside any
other engine, the same generative model with another inference.
"""

from collections.abc import Callable
from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpyro.distributions as dist

from ...core import AbstractModel
from ...results import BadInputError
from ...typing import Action, Array, Distribution, Float, State
from ._spatial_transformer import no_dynamics


@final
class GaussianDecoder(AbstractModel):
    """x ~ N(f(z), sigma^2) with z ~ N(0, 1)^d.

    Attributes:
        network: f, from a code to an image.
        log_sigma: logarithm of the standard deviation of a pixel.
        dim: d, number of latent variables.

    References:
        Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014; the slides, "Variational autoencoders".
    """

    network: Callable[[Float[Array, " d"]], Float[Array, "..."]]
    log_sigma: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=-2.0)
    dim: int = eqx.field(static=True, default=10)

    def __check_init__(self):
        _check_dimension(self.dim)

    def initial(self) -> Distribution:
        return dist.Normal(jnp.zeros(self.dim), jnp.ones(self.dim)).to_event(1)

    def transition(self, state: State, action: Action) -> Distribution:
        raise no_dynamics(self)

    def emission(self, state: Float[Array, " d"]) -> Distribution:
        image = self.network(state)
        return dist.Normal(image, jnp.exp(self.log_sigma)).to_event(image.ndim)


@final
class BernoulliDecoder(AbstractModel):
    """x ~ Bernoulli(sigmoid(f(z))) with z ~ N(0, 1)^d, for binary images.

    Attributes:
        network: f, from a code to logits.
        dim: d, number of latent variables.
    """

    network: Callable[[Float[Array, " d"]], Float[Array, "..."]]
    dim: int = eqx.field(static=True, default=10)

    def __check_init__(self):
        _check_dimension(self.dim)

    def initial(self) -> Distribution:
        return dist.Normal(jnp.zeros(self.dim), jnp.ones(self.dim)).to_event(1)

    def transition(self, state: State, action: Action) -> Distribution:
        raise no_dynamics(self)

    def emission(self, state: Float[Array, " d"]) -> Distribution:
        logits = self.network(state)
        # Not the function `dist.Bernoulli`, which is declared to return None for other arguments.
        return dist.BernoulliLogits(logits).to_event(logits.ndim)


def _check_dimension(dim: int) -> None:
    if dim < 1:
        raise BadInputError(f"Expected at least one latent variable, got dim={dim}.")
