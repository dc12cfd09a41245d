"""Models of what follows a first observation, which is given and not scored.

    p(x_2, ..., x_T | x_1) = E_{p(z_1)} [ p(x_2, ..., x_T | h_2) ],   h_2 = next_carry(h_1, z_1, x_1, a_1),   z_1 ~ p(z_1 | h_1)

The first observation only moves the memory of the model: nothing is inferred from it, and the bound has T - 1 terms.
"""

from typing import NamedTuple, final

import jax.numpy as jnp

from ...core import AbstractSequentialModel
from ...typing import Action, Array, Bool, Carry, Distribution, Float, Observation, State


class Given(NamedTuple):
    """What is known between two steps, in the role of an action.

    Attributes:
        values: the step just passed.
        given: whether the model is to remember these values and not what was observed.
    """

    values: Float[Array, "*shape"]
    given: Bool[Array, ""]


@final
class ConditionedOnFirst(AbstractSequentialModel):
    """A model that reads a given first observation from its actions; see `inference.condition_on_first`.

    Attributes:
        model: any sequential model without actions.
    """

    model: AbstractSequentialModel

    def init_carry(self) -> Carry:
        return self.model.init_carry()

    def prior(self, carry: Carry) -> Distribution:
        return self.model.prior(carry)

    def emission_given(self, carry: Carry, state: State) -> Distribution:
        return self.model.emission_given(carry, state)

    def next_carry(self, carry: Carry, state: State, observation: Observation, action: Action) -> Carry:
        seen = jnp.where(action.given, action.values, observation)
        return self.model.next_carry(carry, state, seen, None)
