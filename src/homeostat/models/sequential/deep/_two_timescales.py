"""A hierarchy of two time scales: slow latents that change every k steps, fast ones that change at each."""

from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist

from ....core import AbstractSequentialModel
from ....distributions import AbstractLevel, Hierarchical, split_levels
from ....nn import LSTM, LSTMState
from ....results import BadInputError
from ....typing import Action, Array, Bool, Distribution, Float, Int, Key, Nonlinearity, Observation
from ...static import AbstractLikelihood
from ._parts import ConditionalNormal, Readout, action_vector, check_dim, flat_observation, normal


class TwoTimescalesCarry(NamedTuple):
    """Memory of the model.

    Attributes:
        clock: steps since the slow latents changed, from 0 (they change now) to k - 1.
        fast: state of the fast LSTM, which moves at each step.
        slow: state of the slow LSTM, which moves every k steps.
        held: slow latents that hold since then.
    """

    clock: Int[Array, ""]
    fast: LSTMState
    slow: LSTMState
    held: Float[Array, " slow"]


@final
class SlowLevel(AbstractLevel):
    """s ~ N(m, v^2) when it is time for new slow latents; otherwise a standard normal that nothing reads.

    Attributes:
        loc: m.
        scale: v.
        due: whether it is time.
        held: what holds otherwise.
    """

    loc: Float[Array, " d"]
    scale: Float[Array, " d"]
    due: Bool[Array, ""]
    held: Float[Array, " d"]

    @property
    def dim(self) -> int:
        return self.loc.shape[-1]

    def conditional(self, context: Float[Array, " c"]) -> Distribution:
        loc = jnp.where(self.due, self.loc, jnp.zeros_like(self.loc))
        scale = jnp.where(self.due, self.scale, jnp.ones_like(self.scale))
        return dist.Normal(loc, scale, validate_args=False).to_event(1)

    def descend(self, context: Float[Array, " c"], value: Float[Array, " d"]) -> Float[Array, " below"]:
        return jnp.where(self.due, value, self.held)


@final
class FastLevel(AbstractLevel):
    """f ~ N(m([s, h]), v([s, h])^2), s the slow latents that hold and h the fast memory.

    Attributes:
        network: [s, h] to the distribution.
        hidden: h.
    """

    network: ConditionalNormal
    hidden: Float[Array, " h"]

    @property
    def dim(self) -> int:
        return self.network.dim

    def conditional(self, context: Float[Array, " c"]) -> Distribution:
        return self.network(jnp.concatenate([context, self.hidden]))

    def descend(self, context: Float[Array, " c"], value: Float[Array, " d"]) -> Float[Array, " below"]:
        return jnp.concatenate([value, context])


@final
class TwoTimescales(AbstractSequentialModel):
    """Slow latents s of every k-th step, above fast latents f of each.

        s_t ~ N(m(H_t), v(H_t)^2) if t = 1, 1 + k, 1 + 2k, ...,   s_t = s_{t-1} otherwise
        f_t ~ N(m([s_t, h_t]), v([s_t, h_t])^2),   x_t ~ p(x | decoder([f_t, s_t, h_t]))
        h_{t+1} = LSTM_fast([x_t, f_t, s_t, a_t], h_t)
        H_{t+1} = LSTM_slow([h_{t+1}, s_t], H_t) if s changes at t + 1,   H_{t+1} = H_t otherwise

    The state of a step is the flat vector [f, s], the fast level nearest the data, and its prior is `Hierarchical`. While the slow
    latents hold, the share of the state that is theirs is an idle standard normal: nothing reads it, and its best posterior is
    its prior, at no cost.

    Attributes:
        period: k, steps.
        fast_memory: LSTM_fast.
        slow_memory: LSTM_slow.
        slow_prior: H to the distribution of s.
        fast_prior: [s, h] to the distribution of f.
        decoder: [f, s, h] to the features of the output density.
        density: p(x | features).
        action_dim: number of action coordinates; 0 for none.

    References:
        Saxena, Ba and Hafner, "Clockwork variational autoencoders", NeurIPS 2021, with two levels; Koutnik et al., "A clockwork
        RNN", ICML 2014.
    """

    fast_memory: LSTM
    slow_memory: LSTM
    slow_prior: ConditionalNormal
    fast_prior: ConditionalNormal
    decoder: Readout
    density: AbstractLikelihood
    period: int = eqx.field(static=True)
    action_dim: int = eqx.field(static=True, default=0)

    def __check_init__(self):
        if self.period < 1:
            raise BadInputError(f"Expected a period of at least one step, got period={self.period}.")

    @property
    def dims(self) -> tuple[int, int]:
        """Number of fast and of slow latent variables."""
        return (self.fast_prior.dim, self.slow_prior.dim)

    @property
    def dim(self) -> int:
        """Number of latent variables of a step."""
        return sum(self.dims)

    def init_carry(self) -> TwoTimescalesCarry:
        fast, slow = self.fast_memory.init(), self.slow_memory.init()
        return TwoTimescalesCarry(jnp.zeros((), jnp.int32), fast, slow, jnp.zeros(self.dims[1], fast.hidden.dtype))

    def prior(self, carry: TwoTimescalesCarry) -> Distribution:
        return Hierarchical((FastLevel(self.fast_prior, carry.fast.top), self._slow_level(carry)))

    def emission_given(self, carry: TwoTimescalesCarry, state: Float[Array, " d"]) -> Distribution:
        fast, slow = self.split(carry, state)
        return self.density(self.decoder(jnp.concatenate([fast, slow, carry.fast.top])))

    def next_carry(
        self, carry: TwoTimescalesCarry, state: Float[Array, " d"], observation: Observation, action: Action
    ) -> TwoTimescalesCarry:
        like = carry.held
        seen = flat_observation(observation, like, self.density.size)
        fast, slow = self.split(carry, state)
        inputs = [seen, fast, slow, action_vector(action, self.action_dim, like)]
        memory = self.fast_memory(jnp.concatenate(inputs), carry.fast)[1]
        clock = (carry.clock + 1) % self.period
        moved = self.slow_memory(jnp.concatenate([memory.top, slow]), carry.slow)[1]
        kept = jax.tree.map(lambda new, old: jnp.where(clock == 0, new, old), moved, carry.slow)
        return TwoTimescalesCarry(clock, memory, kept, slow.astype(like.dtype))

    def split(self, carry: TwoTimescalesCarry, state: Float[Array, " d"]) -> tuple[Array, Array]:
        """The fast latents of a state, and the slow ones that hold at this step."""
        fast, slow = split_levels(state, self.dims)
        return fast, jnp.where(carry.clock == 0, slow, carry.held)

    def _slow_level(self, carry: TwoTimescalesCarry) -> SlowLevel:
        conditional = self.slow_prior(carry.slow.top).base_dist
        return SlowLevel(conditional.loc, conditional.scale, carry.clock == 0, carry.held)


def two_timescales(
    density: AbstractLikelihood,
    dims: tuple[int, int] = (64, 16),
    period: int = 8,
    *,
    key: Key,
    action_dim: int = 0,
    memory_width: int = 256,
    width: int = 256,
    depth: int = 1,
    activation: Nonlinearity = jax.nn.elu,
) -> TwoTimescales:
    """A model of two time scales.

    Args:
        dims: fast and slow latent variables.
        period: k, steps from one change of the slow latents to the next.
        action_dim: number of action coordinates; 0 for none.
        memory_width: units of each LSTM.
        width: units in each hidden layer of priors and decoder.

    Raises:
        BadInputError: a level has no latent variables, or the period is less than one step.
    """
    fast, slow = dims
    check_dim(min(dims), action_dim)
    fast_key, slow_key, fast_prior_key, slow_prior_key, decoder_key = jr.split(key, 5)
    size = fast + slow + memory_width
    return TwoTimescales(
        LSTM(density.size + fast + slow + action_dim, memory_width, key=fast_key),
        LSTM(memory_width + slow, memory_width, key=slow_key),
        normal(memory_width, slow, width, depth, key=slow_prior_key, activation=activation),
        normal(slow + memory_width, fast, width, depth, key=fast_prior_key, activation=activation),
        Readout(size, density.num_features, width, depth, key=decoder_key, activation=activation),
        density,
        period,
        action_dim,
    )
