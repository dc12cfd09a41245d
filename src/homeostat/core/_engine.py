"""An engine moves the parameters of a distribution downhill on an energy. It knows no domain.

    params_{k+1}, state_{k+1} = step(objective, family, params_k, args, state_k)

The same classes infer latent states (with a free energy) and choose actions (with a control energy).
"""

import abc
from typing import Generic, NamedTuple, TypeVar

import equinox as eqx

from ..typing import Energy, Key, Params, PyTree
from ._check import check_fields
from ._family import AbstractFamily
from ._objective import AbstractObjective

EngineState = TypeVar("EngineState")


class StepInfo(NamedTuple):
    """What one step measured.

    Attributes:
        energy_nats: E_q[U + log q] at the parameters *before* the step, the functional of the objective, as estimated from the
            points that the engine evaluated. (Engines that read `pointwise` only give this value for a tightened bound, too.)
        gradient: its gradient there, a constant of the parameters' structure; None where the engine has not computed one.
    """

    energy_nats: Energy
    gradient: PyTree = None


class AbstractEngine(eqx.Module, Generic[Params, EngineState]):
    """An optimiser of distributions. Learnable numbers (an encoder, an update network) are leaves."""

    def __check_init__(self):
        check_fields(self)

    @abc.abstractmethod
    def init(self, objective: AbstractObjective, family: AbstractFamily, params: Params, args: PyTree) -> EngineState:
        """State before the first step."""

    @abc.abstractmethod
    def step(
        self,
        objective: AbstractObjective,
        family: AbstractFamily,
        params: Params,
        args: PyTree,
        state: EngineState,
        *,
        key: Key,
    ) -> tuple[Params, EngineState, StepInfo]:
        """One update."""
