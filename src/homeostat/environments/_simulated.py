"""A generative model as a generative process: the world that an agent believes in."""

from collections.abc import Callable
from typing import final

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from numpyro.distributions import constraints

from ..core import AbstractEnvironment, AbstractSequentialModel, Bounded, Snapshot
from ..distributions import Joint
from ..models.sequential import first_snapshot, next_snapshot, observed
from ..typing import Action, Array, Bool, Distribution, PyTree, Scalar, State


def _never(state: State) -> Bool[Array, ""]:
    return jnp.zeros((), bool)


@final
class Simulated(AbstractEnvironment[Snapshot]):
    """Any sequential model with a reward: initial, transition and emission are the model's.

        z_1 ~ p(z_1 | h_1),   z_{t+1} ~ p(z_{t+1} | h_{t+1}),   x_t ~ p(x_t | h_t, z_t),   r_t = reward(z_t, a_t, z_{t+1})

    Attributes:
        reward_of: maps a state, an action and the next state to a reward.
        terminal_at: whether the task ends in a state; never by default.
    """

    model: AbstractSequentialModel
    reward_of: Callable[[State, Action, State], Scalar]
    actions: PyTree[Bounded]
    terminal_at: Callable[[State], Bool[Array, ""]] = _never

    @property
    def action_spec(self):
        return self.actions

    @property
    def observation_spec(self):
        carry = self.model.init_carry()
        return spec_of_distribution(self.model.emission_given(carry, self.model.prior(carry).sample(jr.key(0))))

    def initial(self, *, key):
        return first_snapshot(self.model, key=key)

    def transition(self, state, action, *, key):
        return next_snapshot(self.model, state, action, key=key)

    def observation(self, state, *, key):
        return observed(self.model, state, key=key).observation

    def reward(self, state, action, next_state):
        return self.reward_of(state.state, action, next_state.state)

    def terminal(self, state):
        return self.terminal_at(state.state)


def spec_of_distribution(distribution: Distribution) -> PyTree[Bounded]:
    """What a sample of a distribution looks like, with the bounds of its support where they are known numbers."""
    if isinstance(distribution, Joint):
        return distribution.map(spec_of_distribution)
    sample = jax.eval_shape(distribution.sample, jr.key(0))
    support = distribution.support
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    whole = not jnp.issubdtype(sample.dtype, jnp.floating)
    ends = (0, 1) if support is constraints.boolean else (None, None)
    bounds = [getattr(support, name, end) for name, end in zip(("lower_bound", "upper_bound"), ends, strict=True)]
    low, high = (
        bound if isinstance(bound, float | int) else default
        for bound, default in zip(bounds, (-np.inf, np.inf), strict=True)
    )
    return Bounded(sample.shape, low, high, whole)
