"""One time step of a sequential model, as a static model."""

from typing import final

from ...core import AbstractModel, AbstractSequentialModel
from ...results import BadInputError
from ...typing import Action, Carry, Distribution, State


@final
class Conditioned(AbstractModel):
    """p(z | h) p(x | h, z) at a fixed carry h, so that energies and engines of static models work on one step as they are.

        initial() = prior(h),   emission(z) = likelihood(h, z)

    With it `FreeEnergy(Conditioned(model, h))` is minus the step bound L_t for the past in h.

    Attributes:
        model: any sequential model.
        carry: h, of one sequence at one step.

    References:
        Marino (thesis), Eqs. 4.6 and 4.7.
    """

    model: AbstractSequentialModel
    carry: Carry

    def initial(self) -> Distribution:
        return self.model.prior(self.carry)

    def transition(self, state: State, action: Action) -> Distribution:
        raise BadInputError(
            "Expected a model with dynamics, got one step of it (`Conditioned`): use `advance` of the whole model."
        )

    def emission(self, state: State) -> Distribution:
        return self.model.likelihood(self.carry, state)
