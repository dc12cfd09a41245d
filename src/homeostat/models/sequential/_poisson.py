"""Counts as observations."""

from typing import final

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist

from ...nn import MLP
from ...results import BadInputError
from ...typing import Array, Callable, Distribution, Float, Key
from ._maps import AffineMap


@final
class PoissonEmission(eqx.Module):
    """x_i ~ Poisson(exp(g_i(z))), for `StateSpace(first, dynamics, PoissonEmission(...))`; g is linear or a network.

    Attributes:
        log_rate: g, from a state to the log rates [m], in counts per step.
        largest_log_rate: where a log rate is clipped, so that explosive dynamics give large rates and not infinite ones; by
            default e^20, half a billion counts a step.
    """

    log_rate: Callable[[Array], Array]
    largest_log_rate: float = eqx.field(static=True, default=20.0)

    @classmethod
    def linear(cls, matrix: Array, offset: Array | None = None) -> "PoissonEmission":
        """g(z) = C z + d."""
        return cls(AffineMap(matrix, offset))

    @classmethod
    def network(cls, dim: int, observation_dim: int, *, width: int = 32, depth: int = 2, key: Key) -> "PoissonEmission":
        """g a multilayer perceptron with `depth` hidden layers of `width` units."""
        (network_key,) = jr.split(key, 1)
        return cls(MLP(dim, observation_dim, width=width, depth=depth, key=network_key))

    def __call__(self, state: Float[Array, " d"]) -> Distribution:
        log_rates = self.log_rate(state)
        if log_rates.ndim != 1:
            raise BadInputError(f"Expected log rates of shape (m,), got {log_rates.shape}.")
        return dist.Poisson(jnp.exp(jnp.minimum(log_rates, self.largest_log_rate))).to_event(1)
