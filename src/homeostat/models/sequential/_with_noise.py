"""A model at a step whose measurement brings its own noise."""

from typing import final

import jax.numpy as jnp
import numpyro.distributions as dist

from ...core import AbstractMarkovModel, AbstractSequentialModel
from ...distributions import is_gaussian
from ...results import BadInputError
from ...typing import Action, Array, Carry, Distribution, Float, Observation, State
from ._linear_gaussian import Measurement


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
