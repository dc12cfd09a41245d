"""A controller turns a belief into an action; what it must remember between steps is its carry."""

import abc
from typing import Generic, NamedTuple, TypeVar

import equinox as eqx

from ..typing import Action, Key, PyTree
from ._filter import AbstractBelief
from ._model import AbstractModel

Carry = TypeVar("Carry")


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

    @abc.abstractmethod
    def init(self) -> Carry:
        """Carry at the start of an episode."""

    @abc.abstractmethod
    def act(self, model: AbstractModel, belief: AbstractBelief, carry: Carry, *, key: Key) -> tuple[Decision, Carry]:
        """Choose an action."""
