"""A sequential model put together from its three parts."""

from collections.abc import Callable
from typing import final

from ...core import AbstractMarkovModel, AbstractModel
from ...typing import Action, Distribution, State


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
