"""Hidden Markov models: a discrete state with any emission."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from ...core import AbstractMarkovModel
from ...distributions import known_entries, partial_log_prob
from ...results import BadInputError
from ...typing import Action, Array, Callable, Distribution, Float, Int, Observation
from ._state_emissions import AbstractEmissions
from ._transitions import AbstractTransitions, TransitionMatrix, log_distribution
from ._validation import check_shape


@final
class HiddenMarkov(AbstractMarkovModel):
    """z_1 ~ Categorical(pi),  p(z' | z, a) a matrix,  x ~ p(x | z); z is one of 0, ..., K - 1.

    Attributes:
        initial_logits: unnormalised log pi, [K].
        transitions: p(z' | z, a): `TransitionMatrix`, `ControlledTransitions` or `JumpProcess`.
        observation: maps a state to the distribution of the observation: one of the `AbstractEmissions`, or any function.
    """

    initial_logits: Float[Array, " k"] = eqx.field(converter=jnp.asarray)
    transitions: AbstractTransitions
    observation: AbstractEmissions | Callable[[Array], Distribution]

    def __check_init__(self):
        count = self.transitions.num_states
        check_shape("the initial logits", self.initial_logits, (count,))
        if isinstance(self.observation, AbstractEmissions) and self.observation.num_states != count:
            raise BadInputError(
                f"Expected emissions for {count} states, as there are in the transitions, got "
                f"{self.observation.num_states}."
            )

    @classmethod
    def from_probabilities(
        cls, initial: Array, matrix: Array, observation: AbstractEmissions | Callable[[Array], Distribution]
    ) -> "HiddenMarkov":
        """From pi [K] and p(z' | z) [K, K], whose rows sum to one.

        Raises:
            BadInputError: they do not, or the parts disagree about the number of states.
        """
        transitions = TransitionMatrix.from_probabilities(matrix)
        return cls(log_distribution("the initial distribution", initial), transitions, observation)

    @property
    def num_states(self) -> int:
        """K."""
        return self.initial_logits.shape[-1]

    def initial(self) -> Distribution:
        return dist.CategoricalLogits(self.initial_logits)

    def transition(self, state: Int[Array, ""], action: Action = None) -> Distribution:
        return dist.CategoricalLogits(self.transitions.log_matrix(action)[state])

    def emission(self, state: Int[Array, ""]) -> Distribution:
        return self.observation(state)

    def log_likelihoods(self, observation: Observation) -> Float[Array, " k"]:
        """log p(x | z) for every state; missing entries (NaN, or those of a `Masked`) are integrated out."""
        value, observed = known_entries(observation)
        return jax.vmap(lambda state: partial_log_prob(self.observation(state), value, observed))(
            jnp.arange(self.num_states)
        )
