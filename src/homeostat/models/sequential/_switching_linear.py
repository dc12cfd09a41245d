"""Switching linear dynamics: a hidden Markov chain chooses among linear-Gaussian models.

The state is one vector (s, z) whose first entry is the regime, a whole number kept as a float, so that samples, particles and
learned proposals handle it like any other state.
"""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist
from numpyro.distributions import constraints

from ...core import AbstractMarkovModel
from ...typing import Action, Array, Distribution, Float, Int, Key, Scalar
from ..static import model_at, stack_models
from ._linear_gaussian import LinearGaussian
from ._transitions import AbstractTransitions
from ._validation import check_shape


class RegimeState(NamedTuple):
    """The two parts of a state."""

    regime: Int[Array, "..."]
    state: Float[Array, "... d"]


def split_regime(value: Float[Array, "... n"]) -> RegimeState:
    """The regime and the continuous state in a vector (s, z)."""
    return RegimeState(jnp.round(value[..., 0]).astype(int), value[..., 1:])


@final
class RegimeMixture(dist.Distribution):
    """p(s, z) = p(s) N(z; m_s, L_s L_s^T) over vectors (s, z).

    Attributes:
        logits: unnormalised log p(s), [K].
        locs: m, [K, d].
        scale_trils: L, [K, d, d].
    """

    arg_constraints: ClassVar = {
        "logits": constraints.real_vector,
        "locs": constraints.real_matrix,
        "scale_trils": constraints.independent(constraints.real, 3),
    }
    pytree_data_fields = ("logits", "locs", "scale_trils")

    def __init__(self, logits: Array, locs: Array, scale_trils: Array, *, validate_args: bool | None = None):
        self.logits, self.locs, self.scale_trils = logits, locs, scale_trils
        super().__init__((), (locs.shape[-1] + 1,), validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.real_vector

    def sample(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Float[Array, "..."]:
        regime_key, state_key = jr.split(key)
        regimes = jr.categorical(regime_key, self.logits, shape=sample_shape)
        noise = jr.normal(state_key, (*sample_shape, self.locs.shape[-1]), self.locs.dtype)
        states = self.locs[regimes] + jnp.einsum("...ij,...j->...i", self.scale_trils[regimes], noise)
        return jnp.concatenate([regimes[..., None].astype(states.dtype), states], axis=-1)

    def log_prob(self, value: Float[Array, " n"]) -> Scalar:
        regime, state = split_regime(value)
        normal = dist.MultivariateNormal(self.locs[regime], scale_tril=self.scale_trils[regime], validate_args=False)
        density = normal.log_prob(state)
        return jax.nn.log_softmax(self.logits)[regime] + density

    @property
    def probabilities(self) -> Float[Array, " k"]:
        """p(s)."""
        return jax.nn.softmax(self.logits)


def _stacked(regimes: LinearGaussian | Sequence[LinearGaussian]) -> LinearGaussian:
    return regimes if isinstance(regimes, LinearGaussian) else stack_models(tuple(regimes))


@final
class SwitchingLinear(AbstractMarkovModel):
    """s a Markov chain;  z' = A_s' z + B_s' u + c_s' + L_s' eps;  x = C_s z + d_s + R_s^(1/2) eps.

    The first state has the prior N(m_s, P_s) of its regime, and a step is taken with the dynamics of the regime it leads to.

    Attributes:
        initial_logits: unnormalised log p(s_1), [K].
        transitions: p(s' | s).
        regimes: the linear-Gaussian models of all regimes, stacked along a leading axis of every leaf; a sequence is stacked.
    """

    initial_logits: Float[Array, " k"] = eqx.field(converter=jnp.asarray)
    transitions: AbstractTransitions
    regimes: LinearGaussian = eqx.field(converter=_stacked)

    def __check_init__(self):
        count, means = self.transitions.num_states, self.regimes.initial_mean
        check_shape("the initial logits", self.initial_logits, (count,))
        check_shape("the initial means of all regimes", means, (count, means.shape[-1]))

    @property
    def num_regimes(self) -> int:
        """K."""
        return self.initial_logits.shape[-1]

    @property
    def dim(self) -> int:
        """Number of coordinates of z; the state has one more."""
        return self.regimes.initial_mean.shape[-1]

    def regime(self, index: Int[Array, ""] | int) -> LinearGaussian:
        """The model of one regime."""
        return model_at(self.regimes, index)

    def initial(self) -> RegimeMixture:
        return RegimeMixture(self.initial_logits, self.regimes.initial_mean, self.regimes.initial_scale_tril)

    def transition(self, state: Float[Array, " n"], action: Action = None) -> RegimeMixture:
        regime, before = split_regime(state)
        matrices, shifts, scale_trils = jax.vmap(lambda model: model.dynamics.step(action))(self.regimes)
        return RegimeMixture(self.transitions.log_matrix(action)[regime], matrices @ before + shifts, scale_trils)

    def emission(self, state: Float[Array, " n"]) -> Distribution:
        regime, now = split_regime(state)
        return self.regime(regime).emission(now)
