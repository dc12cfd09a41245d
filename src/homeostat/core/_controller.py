"""A controller turns a belief into an action; what it must remember between steps is its carry."""

import abc
from typing import Generic, NamedTuple, TypeVar, final

import equinox as eqx

from ..typing import Action, Key, PyTree
from ._belief import AbstractBelief
from ._check import check_fields
from ._filter import AbstractFilter
from ._model import AbstractSequentialModel

Carry = TypeVar("Carry")


@final
class PlanningContext(eqx.Module):
    """The model, the filter that carries beliefs through it, and the belief about the current state.

    Attributes:
        model: the agent's model of the world.
        filter: its `predict` carries the belief into the future.
        belief: about the current state, from which a plan starts.
    """

    model: AbstractSequentialModel
    filter: AbstractFilter
    belief: AbstractBelief


class Decision(NamedTuple):
    """An action and the evidence for it.

    Attributes:
        action: what to do now.
        info: a named record of the terms that led to it, in nats.
    """

    action: Action
    info: PyTree


class AbstractController(eqx.Module, Generic[Carry]):
    """Acts on beliefs."""

    def __check_init__(self):
        check_fields(self)

    @abc.abstractmethod
    def init(self) -> Carry:
        """Carry at the start of an episode."""

    @abc.abstractmethod
    def act(self, context: PlanningContext, carry: Carry, *, key: Key) -> tuple[Decision, Carry]:
        """Choose an action."""
