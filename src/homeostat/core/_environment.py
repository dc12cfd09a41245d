"""An environment is the generative process: initial / transition / observation, with reward and terminal beside them.

The signatures follow Gymnasium's functional API, unbatched and pure; batching is `jax.vmap` at the call.
An action outside its space raises where its value is known; inside `jit` it cannot, and is clipped to the space instead.
"""

import abc
from typing import Generic, TypeVar

import equinox as eqx
import jax.numpy as jnp

from ..typing import Action, Array, Bool, Key, Observation, PyTree, Scalar
from ._spec import Bounded

EnvironmentState = TypeVar("EnvironmentState")


class AbstractEnvironment(eqx.Module, Generic[EnvironmentState]):
    """A world that can be stepped inside `jit`, `vmap` and `scan`."""

    @property
    @abc.abstractmethod
    def action_spec(self) -> PyTree[Bounded]:
        """What an action looks like."""

    @property
    @abc.abstractmethod
    def observation_spec(self) -> PyTree[Bounded]:
        """What an observation looks like: one `Bounded`, or a tree of them (a dictionary, a named tuple)."""

    @property
    def resets(self) -> bool:
        """Whether the step after the last of an episode begins another one, as with `AutoReset`."""
        return False

    @abc.abstractmethod
    def initial(self, *, key: Key) -> EnvironmentState:
        """Draw the first state of an episode."""

    @abc.abstractmethod
    def transition(self, state: EnvironmentState, action: Action, *, key: Key) -> EnvironmentState:
        """Draw the next state."""

    @abc.abstractmethod
    def observation(self, state: EnvironmentState, *, key: Key) -> Observation:
        """Draw what an agent sees in `state`."""

    @abc.abstractmethod
    def reward(self, state: EnvironmentState, action: Action, next_state: EnvironmentState) -> Scalar:
        """Reward of one transition."""

    @abc.abstractmethod
    def terminal(self, state: EnvironmentState) -> Bool[Array, ""]:
        """Whether the task ended in `state` (time limits are a wrapper's business)."""

    def truncated(self, state: EnvironmentState) -> Bool[Array, ""]:
        """Whether the episode is cut off in `state` though its task goes on; never, but for wrappers such as `TimeLimit`."""
        return jnp.zeros((), bool)
