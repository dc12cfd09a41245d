"""Hidden Markov models: learned by the algorithm of Baum and Welch, filtered exactly."""

import math
from typing import Any, ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ....core import AbstractBelief, AbstractSequentialModel
from ....data import AbstractSequences
from ....inference import ForwardBackward, ModelWithFilter, SequenceBatch, filter, viterbi
from ....inference.filters import CategoricalBelief, Filtered, Forward
from ....metrics import FilterOutputs
from ....models.sequential import (
    AbstractEmissions,
    BernoulliEmissions,
    CategoricalEmissions,
    GaussianEmissions,
    HiddenMarkov,
    PoissonEmissions,
    TransitionMatrix,
)
from ....runs import RunContext
from ....typing import Array, Float, Key
from ..._numbers import Range, is_binary
from .._description import SequencesDescription
from .._options import SequencesOptions
from ._maximization import AbstractMaximizedModel, states_step
from ._named import MakeBatch, SequencesSystem
from ._state_figures import plot_states
from ._state_starts import FIRST_STEPS, NUM_STARTS, start_states

_STAY = 0.5
"""Added to the probability that a state stays, at the start."""


@final
class HiddenMarkovModel(AbstractMaximizedModel):
    """`hidden-markov`."""

    name: ClassVar[str] = "hidden-markov"
    likelihoods: ClassVar[tuple[str, ...]] = ("gaussian", "bernoulli", "poisson", "categorical")
    size_option: ClassVar[str] = "states"
    takes_inputs: ClassVar[bool] = False
    real_state: ClassVar[bool] = False
    improve = staticmethod(states_step)

    def fitting(self, sequences: AbstractSequences, numbers: Range) -> str:
        if sequences.categories and math.prod(sequences.shape) == 1:
            return "categorical"
        return "bernoulli" if is_binary(numbers) else "gaussian"

    def numbers_held(self, options: SequencesOptions, description: SequencesDescription, padded_steps: int) -> int:
        # Every state has a covariance of its own.
        states, entries = int(options.states), math.prod(description.shape)
        return padded_steps * (states * entries**2 + 2 * states**2)

    def announce(self, options: SequencesOptions) -> list[str]:
        return [f"start: the best of {NUM_STARTS}, each after {FIRST_STEPS} steps"]

    def build(self, options: SequencesOptions, description: SequencesDescription, *, key: Key) -> ModelWithFilter[Any]:
        """States that are all alike; `begin` tells them apart."""
        count = int(options.states)
        matrix = _STAY * jnp.eye(count) + (1.0 - _STAY) / count
        transitions = TransitionMatrix(jnp.log(matrix))
        return ModelWithFilter(HiddenMarkov(jnp.zeros(count), transitions, _emissions(count, description)), Forward())

    def begin(self, system: SequencesSystem, together: MakeBatch, run: Any, *, key: Key) -> SequencesSystem:
        model, method = system.learned.model, system.learned.filter

        def start(key: Key) -> HiddenMarkov:
            return start_states(model, together(), key=key)

        return system._replace(learned=ModelWithFilter(run.stage("start", start, key=key, like=model), method))

    def beliefs(self, learned: ModelWithFilter[Any], found: Filtered, batch: SequenceBatch) -> dict[str, Array]:
        """Probabilities of the states after each step, and given all steps; and the most probable path."""
        model = learned.model
        return {
            "probabilities": _probabilities(found.beliefs),
            "smoothed": ForwardBackward()(model, found).beliefs.probabilities,
            "states": viterbi(model, batch.observations, mask=batch.mask, length=batch.lengths).states,
        }

    def outputs(
        self, learned: ModelWithFilter[Any], alone: SequenceBatch, num_samples: int, *, key: Key
    ) -> FilterOutputs:
        """Exact sums over states; of symbols they are the probabilities of each, and of states likewise."""
        assert alone.mask is not None
        found = filter(
            learned.filter, learned.model, alone.observations[0], key=jr.key(0), mask=alone.mask[0], throw=False
        )
        means, variances = emission_moments(learned.model)

        def mixture(probabilities: Array) -> tuple[Array, Array]:
            mean = probabilities @ means
            between = (means[None] - mean[:, None]) ** 2
            return mean, jnp.sqrt(probabilities @ variances + jnp.einsum("tk,tkm->tm", probabilities, between))

        beliefs, predictions = _probabilities(found.beliefs), _probabilities(found.predictions)
        spread = jnp.sqrt(beliefs * (1.0 - beliefs))
        return FilterOutputs(*mixture(predictions[1:]), *mixture(beliefs[1:]), beliefs, spread)

    def symbols_ahead(
        self, learned: ModelWithFilter[Any], batch: SequenceBatch, horizon: int
    ) -> Float[Array, "batch horizon v"]:
        return _symbols_ahead(learned, batch, horizon)

    def report(self, system: SequencesSystem, sequences: AbstractSequences, context: RunContext, *, key: Key) -> None:
        """Emissions, transitions, and the probabilities of the states along the first sequence."""
        learned = system.learned

        def along(batch: SequenceBatch) -> tuple[Array, Array]:
            alone = jax.tree.map(lambda leaf: leaf[0], batch)
            found = filter(learned.filter, learned.model, alone.observations, key=key, mask=alone.mask, throw=False)
            arrays = self.beliefs(learned, found, alone)
            return arrays["smoothed"], arrays["states"]

        moments, matrix = emission_moments(learned.model), transition_matrix(learned.model)
        plot_states(system.description, moments, matrix, eqx.filter_jit(along), sequences, context)


def _emissions(count: int, description: SequencesDescription) -> AbstractEmissions:
    size = description.scaling.size
    match description.likelihood:
        case "gaussian":
            return GaussianEmissions(jnp.zeros((count, size)), jnp.broadcast_to(jnp.eye(size), (count, size, size)))
        case "bernoulli":
            return BernoulliEmissions(jnp.zeros((count, size)))
        case "poisson":
            return PoissonEmissions(jnp.zeros((count, size)))
        case _:
            return CategoricalEmissions(jnp.zeros((count, description.num_symbols)))


def _probabilities(belief: AbstractBelief) -> Float[Array, "time k"]:
    assert isinstance(belief, CategoricalBelief)
    return belief.probabilities


def transition_matrix(model: AbstractSequentialModel) -> Float[Array, "k k"]:
    """p(z' | z), [z, z']."""
    assert isinstance(model, HiddenMarkov)
    return jnp.exp(model.transitions.log_matrix(None))


def emission_moments(model: HiddenMarkov) -> tuple[Float[Array, "k m"], Float[Array, "k m"]]:
    """Mean and variance of the output in each state; of symbols, of the indicator of each."""
    if isinstance(model.observation, CategoricalEmissions):
        shares = jax.nn.softmax(model.observation.logits, axis=-1)
        return shares, shares * (1.0 - shares)

    def moments(state: Array) -> tuple[Array, Array]:
        emission = model.observation(state)
        return emission.mean, emission.variance

    return jax.vmap(moments)(jnp.arange(model.num_states))


@eqx.filter_jit
def _symbols_ahead(
    learned: ModelWithFilter[Any], batch: SequenceBatch, horizon: int
) -> Float[Array, "batch horizon v"]:
    """Exact."""
    matrix, (shares, _) = transition_matrix(learned.model), emission_moments(learned.model)

    def ahead(x: Array, mask: Array, length: Array) -> Array:
        found = filter(learned.filter, learned.model, x, key=jr.key(0), mask=mask, throw=False)

        def step(now: Array, _: None) -> tuple[Array, Array]:
            after = now @ matrix
            return after, after @ shares

        return jax.lax.scan(step, _probabilities(found.beliefs)[length - 1], None, length=horizon)[1]

    return jax.vmap(ahead)(batch.observations, batch.mask, jnp.asarray(batch.lengths))
