"""An objective is an energy in nats over a variable; lower is better.

    objective(q) = E_{z ~ q}[ pointwise(z) + log q(z) ]

`pointwise` is all that gradient-free engines may ask for; the expectation is what variational engines descend. `args` is
what the problem depends on, apart from what is optimised: an observation and its prior, or a belief to plan from.
"""

import abc
from typing import Generic, TypeVar

import equinox as eqx

from ..results import BadInputError
from ..typing import Array, Distribution, Energy, Key
from ._check import check_fields
from ._family import AbstractFamily

Args = TypeVar("Args")


class AbstractObjective(eqx.Module, Generic[Args]):
    """A functional of a distribution, and the energy of a point under it; `Args` is what its problem depends on."""

    def __check_init__(self):
        check_fields(self)

    @property
    def pathwise(self) -> bool:
        """Whether derivatives in the parameters of q run through draws from q.

        False where the expectation is a sum over the support, or where the score carries the derivative. An objective that does
        not say so is taken to be pathwise, and families that are not reparameterized are refused.
        """
        return True

    def check(self, args: Args) -> None:
        """Refuse what the energy cannot be evaluated for, where its numbers are known; called before anything is compiled.

        Raises:
            BadInputError: an observation that the model cannot emit, for instance.
        """

    @abc.abstractmethod
    def pointwise(self, value: Array, args: Args, *, key: Key) -> Energy:
        """Energy U(z) of one point, in nats."""

    @abc.abstractmethod
    def __call__(self, distribution: Distribution, args: Args, *, key: Key) -> Energy:
        """E_q[U(z) + log q(z)], in nats."""


def check_differentiable(objective: AbstractObjective, family: AbstractFamily) -> None:
    """Refuse what has a gradient that is silently wrong: an expectation over draws that do not carry one.

    Called by whatever differentiates an objective in the parameters of a family.

    Raises:
        BadInputError: the family is not reparameterized, and the objective needs it to be.
    """
    if objective.pathwise and not family.reparameterized:
        raise BadInputError(
            f"Expected a reparameterized family, got {type(family).__name__}: no gradient of {type(objective).__name__} flows "
            f"through its draws. Take the expectation by `Enumeration()` or `ScoreFunction()`, or use an engine without "
            f"gradients, such as `CrossEntropy`."
        )
