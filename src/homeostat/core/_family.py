"""A family maps unconstrained parameters to a distribution; it is what an engine moves.

    params --__call__--> q(z; params)        samples, weights --fit--> params        (the M-projection)

Engines need nothing else: gradient engines differentiate through `__call__`, sampling engines ask only for `fit`.
"""

import abc
from typing import Generic

import equinox as eqx

from ..typing import Array, Distribution, Float, Params, PyTree
from ._check import check_fields


class AbstractFamily(eqx.Module, Generic[Params]):
    """A parametric family of distributions over arrays of one fixed shape, with unconstrained parameters.

    Attributes:
        reparameterized: whether a draw is a differentiable function of the parameters. Draws of a discrete family are not.
    """

    reparameterized: eqx.AbstractClassVar[bool]

    def __check_init__(self):
        check_fields(self)

    @abc.abstractmethod
    def init(self) -> Params:
        """Parameters of a standard member of the family, where inference starts by default."""

    @abc.abstractmethod
    def __call__(self, params: Params) -> Distribution:
        """The member of the family at `params`."""

    @abc.abstractmethod
    def fit(self, samples: Float[Array, "samples ..."], weights: Float[Array, " samples"]) -> Params:
        """M-projection of weighted samples: argmax over params of sum_i w_i log q(x_i; params).

        Args:
            samples: points in the support, one per row.
            weights: non-negative and summing to one.
        """

    def given(self, args: PyTree) -> "AbstractFamily[Params]":
        """The family beside what a problem depends on; itself, unless its members are built from that.

        `infer` and `unroll` ask for it, so that nobody else has to. Asking twice changes nothing.

        Args:
            args: of the objective, such as an `Evidence` with its prior, or a prior itself (`Ladder` reads it).
        """
        return self
