"""Models around a sequential model: one step of it, the steps after a given first observation, and other noise.

    p(x_2, ..., x_T | x_1) = E_{p(z_1)} [ p(x_2, ..., x_T | h_2) ],   h_2 = next_carry(h_1, z_1, x_1, a_1),   z_1 ~ p(z_1 | h_1)

A first observation that is given only moves the memory of the model: nothing is inferred from it, and the bound has T - 1 terms.
"""

from typing import NamedTuple, final

import jax.numpy as jnp
import numpyro.distributions as dist

from ...core import AbstractMarkovModel, AbstractModel, AbstractSequentialModel
from ...distributions import is_gaussian
from ...results import BadInputError
from ...typing import Action, Array, Bool, Carry, Distribution, Float, Observation, State
from ._linear_gaussian import Measurement


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


@final
class WithNoise(AbstractSequentialModel):
    """The same model with another observation noise: p(x | h, z) = N(E[x | h, z], R).

    Filters wrap a model in it for one step when they are given a `Measurement`.

    Attributes:
        model: any sequential model with Gaussian observations.
        scale_tril: lower Cholesky factor of R, [m, m].
    """

    model: AbstractSequentialModel
    scale_tril: Float[Array, "m m"]

    def init_carry(self) -> Carry:
        return self.model.init_carry()

    def prior(self, carry: Carry) -> Distribution:
        return self.model.prior(carry)

    def emission_given(self, carry: Carry, state: State) -> Distribution:
        # A Markov model's emission does not read the carry, which filters then need not have.
        model = self.model
        own = model.emission(state) if isinstance(model, AbstractMarkovModel) else model.emission_given(carry, state)
        return measured(own, self.scale_tril)

    def next_carry(self, carry: Carry, state: State, observation: Observation, action: Action) -> Carry:
        return self.model.next_carry(carry, state, observation, action)


def with_own_noise(
    model: AbstractSequentialModel, observation: Observation
) -> tuple[AbstractSequentialModel, Observation]:
    """The model with the noise of a `Measurement` of one step, and the value of the latter; other observations as they are."""
    if not isinstance(observation, Measurement):
        return model, observation
    value, scale_tril = observation.value, observation.scale_tril
    # Where there is no value the factor may be NaN as well; it must not spread to what is drawn in place of the value.
    usable = ~jnp.isnan(value)[:, None] | jnp.isfinite(scale_tril)
    eye = jnp.eye(value.shape[0], dtype=scale_tril.dtype)
    return WithNoise(model, jnp.where(usable, scale_tril, eye)), value


def measured(emission: Distribution, scale_tril: Float[Array, "m m"]) -> Distribution:
    """The Gaussian around the mean of `emission` with a noise factor of its own.

    Raises:
        BadInputError: the emission is not a Gaussian over one vector of m entries.
    """
    shape = tuple(emission.event_shape)
    if not is_gaussian(emission) or shape != scale_tril.shape[:1]:
        raise BadInputError(
            f"Expected a model with Gaussian observations of {scale_tril.shape[0]} entries for measurements that bring their own "
            f"noise, got {type(emission).__name__} with event shape {shape}: pass plain observations to this model."
        )
    return dist.MultivariateNormal(emission.mean, scale_tril=scale_tril, validate_args=False)
