"""A sequential model put together from its three parts, and counts as observations."""

from typing import final

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist

from ...core import AbstractMarkovModel, AbstractModel
from ...nn import MLP
from ...results import BadInputError
from ...typing import Action, Array, Callable, Distribution, Float, Key, State
from ._maps import AffineMap


@final
class StateSpace(AbstractMarkovModel):
    """p(z_1), p(z' | z, a) and p(x | z), each given by any module: `StateSpace(first, LinearDynamics(...), sprites.emission)`.

    Attributes:
        first: the distribution of the first state, or any module that returns it when called without arguments.
        dynamics: maps (state, action) to the distribution of the next state.
        observation: maps a state to the distribution of the observation. An `AbstractModel` also serves; then its
            `emission` is used.
    """

    first: Distribution | Callable[[], Distribution]
    dynamics: Callable[[State, Action], Distribution]
    observation: Callable[[State], Distribution] | AbstractModel

    def initial(self) -> Distribution:
        if isinstance(self.first, Distribution):
            return self.first
        return self.first()

    def transition(self, state: State, action: Action) -> Distribution:
        return self.dynamics(state, action)

    def emission(self, state: State) -> Distribution:
        if isinstance(self.observation, AbstractModel):
            return self.observation.emission(state)
        return self.observation(state)


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
