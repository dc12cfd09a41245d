"""One time step of a sequential model, as a static model."""

from typing import final

from ...core import AbstractModel, AbstractSequentialModel
from ...typing import Carry, Distribution, State


@final
class Conditioned(AbstractModel):
    """p(z | h) p(x | h, z) at a fixed carry h, so that energies and engines of static models work on one step as they are.

        initial() = prior(h),   emission(z) = emission_given(h, z)

    With it `FreeEnergy(Conditioned(model, h))` is minus the step bound L_t for the past in h.

    Attributes:
        carry: h, of one sequence at one step.

    References:
        Marino (thesis), Eqs. 4.6 and 4.7.
    """

    model: AbstractSequentialModel
    carry: Carry

    def initial(self) -> Distribution:
        return self.model.prior(self.carry)

    def emission(self, state: State) -> Distribution:
        return self.model.emission_given(self.carry, state)
