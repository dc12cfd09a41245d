"""Sequences whose first step is given and not scored, as in the experiments of chapter 4.

    p(x_2, ..., x_T | x_1) = E_{p(z_1)} [ p(x_2, ..., x_T | h_2) ],   h_2 = next_carry(h_1, z_1, x_1, a_1),   z_1 ~ p(z_1 | h_1)

The first frame only moves the memory of the model: nothing is inferred from it, and the bound has T - 1 terms.
"""

from typing import NamedTuple, final

import jax.numpy as jnp

from ...core import AbstractSequentialModel
from ...inference import SequenceBatch
from ...typing import Action, Array, Bool, Carry, Distribution, Float, Int, Observation, State


class Given(NamedTuple):
    """What is known between two steps, in the place of an action.

    Attributes:
        values: the step just passed.
        given: whether the model is to remember these values and not what was observed.
    """

    values: Float[Array, "*shape"]
    given: Bool[Array, ""]


@final
class ConditionedOnFirst(AbstractSequentialModel):
    """A model that takes a first step which is given from its actions; see `primed`.

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


def primed(values: Float[Array, "batch time *shape"], lengths: Int[Array, " batch"]) -> SequenceBatch:
    """Sequences for a `ConditionedOnFirst` model: the first step is hidden from inference and handed on as an action.

    Args:
        values: padded sequences.
        lengths: steps of each, at least 2.
    """
    num, time = values.shape[:2]
    mask = jnp.broadcast_to(jnp.arange(time)[None, :] > 0, (num, time))
    given = jnp.broadcast_to(jnp.arange(time - 1)[None, :] == 0, (num, time - 1))
    return SequenceBatch(values, Given(values[:, :-1], given), lengths, _like(mask, values))


def _like(mask: Bool[Array, "batch time"], values: Array) -> Bool[Array, "batch time *shape"]:
    return jnp.broadcast_to(mask.reshape(mask.shape + (1,) * (values.ndim - 2)), values.shape)


def scored_steps(lengths: Array) -> Float[Array, " batch"]:
    """T - 1: by what a free energy of a sequence is divided, where the published code divides by T."""
    return jnp.asarray(lengths, jnp.result_type(float)) - 1.0
