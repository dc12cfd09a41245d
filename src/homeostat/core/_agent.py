"""An agent turns observations into actions; whatever it must remember between steps is its state."""

import abc
from typing import Generic, TypeVar

import equinox as eqx

from ..typing import Key, Observation
from ._controller import Decision

AgentState = TypeVar("AgentState")


class AbstractAgent(eqx.Module, Generic[AgentState]):
    """Observes, infers, decides. Learnable numbers (a model, an encoder, critics) are leaves."""

    @abc.abstractmethod
    def init(self, *, key: Key) -> AgentState:
        """State at the start of an episode."""

    @abc.abstractmethod
    def act(self, state: AgentState, observation: Observation, *, key: Key) -> tuple[Decision, AgentState]:
        """Decide on an action in view of an observation; the state keeps its structure."""
