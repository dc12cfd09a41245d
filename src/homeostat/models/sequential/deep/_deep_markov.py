"""The deep Markov model."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist

from ....core import AbstractMarkovModel
from ....nn import MLP, Dense
from ....typing import Action, Array, Distribution, Float, Key, Nonlinearity
from ...static import AbstractLikelihood
from ._parts import action_vector, check_dim

MINIMUM_SCALE = 1e-3
"""Floor of a standard deviation of the transition, so that a state can never be copied without noise."""


@final
class GatedTransition(eqx.Module):
    """N(m, s^2) whose mean chooses, coordinate by coordinate, between a linear and a nonlinear prediction.

        g = sigmoid(gate([z, a])),   h = proposal([z, a])
        m = (1 - g) (W [z, a] + b) + g h,   s^2 = softplus(V relu(h) + c) + minimum^2

    W starts as the identity on z and zero on a, so that an untrained transition carries the state along.

    Attributes:
        gate: a network.
        proposal: a network.
        linear: W, b.
        scale: V, c.
        action_dim: number of action coordinates; 0 for none.

    References:
        Krishnan, Shalit and Sontag, "Structured inference networks for nonlinear state space models", AAAI 2017, Sec. 5, "Gated
        transition function".
    """

    gate: MLP
    proposal: MLP
    linear: Dense
    scale: Dense
    action_dim: int = eqx.field(static=True, default=0)

    def __init__(
        self,
        dim: int,
        width: int,
        *,
        key: Key,
        depth: int = 1,
        action_dim: int = 0,
        activation: Nonlinearity = jax.nn.relu,
    ):
        """Build the transition.

        Args:
            width: units in each hidden layer of gate and proposal.
            depth: hidden layers of gate and proposal.
            action_dim: number of action coordinates; 0 for none.
        """
        check_dim(dim, action_dim)
        gate_key, proposal_key, linear_key, scale_key = jr.split(key, 4)
        self.gate = MLP(dim + action_dim, dim, width, depth, key=gate_key, activation=activation)
        self.proposal = MLP(dim + action_dim, dim, width, depth, key=proposal_key, activation=activation)
        linear = Dense(dim + action_dim, dim, key=linear_key)
        self.linear = eqx.tree_at(lambda layer: layer.weight, linear, jnp.eye(dim, dim + action_dim))
        self.scale = Dense(dim, dim, key=scale_key)
        self.action_dim = action_dim

    def __call__(self, state: Float[Array, " d"], action: Action) -> Distribution:
        inputs = jnp.concatenate([state, action_vector(action, self.action_dim, state)])
        gate, proposal = jax.nn.sigmoid(self.gate(inputs)), self.proposal(inputs)
        loc = (1.0 - gate) * self.linear(inputs) + gate * proposal
        variance = jax.nn.softplus(self.scale(jax.nn.relu(proposal))) + MINIMUM_SCALE**2
        return dist.Normal(loc, jnp.sqrt(variance), validate_args=False).to_event(1)


@final
class DeepMarkov(AbstractMarkovModel):
    """z_1 ~ N(m, s^2), z' ~ gated transition of (z, a), x ~ p(x | decoder(z)); m and s are learned.

    Attributes:
        loc: m.
        log_scale: log s.
        dynamics: p(z' | z, a).
        decoder: z to the features of the output density.
        density: p(x | features).

    References:
        Krishnan, Shalit and Sontag, "Structured inference networks for nonlinear state space models", AAAI 2017.
    """

    loc: Float[Array, " d"]
    log_scale: Float[Array, " d"]
    dynamics: GatedTransition
    decoder: MLP
    density: AbstractLikelihood

    @property
    def dim(self) -> int:
        """Number of latent variables of a step."""
        return self.loc.shape[0]

    def initial(self) -> Distribution:
        return dist.Normal(self.loc, jnp.exp(self.log_scale), validate_args=False).to_event(1)

    def transition(self, state: Float[Array, " d"], action: Action) -> Distribution:
        return self.dynamics(state, action)

    def emission(self, state: Float[Array, " d"]) -> Distribution:
        return self.density(self.decoder(state))


def deep_markov(
    density: AbstractLikelihood,
    dim: int = 100,
    *,
    key: Key,
    action_dim: int = 0,
    transition_width: int = 200,
    decoder_width: int = 100,
    decoder_depth: int = 2,
    activation: Nonlinearity = jax.nn.relu,
) -> DeepMarkov:
    """A deep Markov model; the default sizes are those of the authors for piano rolls.

    Args:
        density: the output density, such as `music_density()`.
        action_dim: number of action coordinates; 0 for none.
        transition_width: units in the hidden layer of gate and proposal.
        decoder_width: units in each hidden layer of the decoder.

    Raises:
        BadInputError: there are no latent variables.
    """
    check_dim(dim, action_dim)
    transition_key, decoder_key = jr.split(key)
    return DeepMarkov(
        jnp.zeros(dim),
        jnp.zeros(dim),
        GatedTransition(dim, transition_width, key=transition_key, action_dim=action_dim, activation=activation),
        MLP(dim, density.num_features, decoder_width, decoder_depth, key=decoder_key, activation=activation),
        density,
    )
