"""Hidden Markov models of sequences: their parts by name, where learning starts, and what the exact filter says."""

import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from scipy.cluster.vq import kmeans2, vq
from scipy.ndimage import uniform_filter1d

from ...core import AbstractBelief, AbstractSequentialModel
from ...distributions import known_entries
from ...inference import ForwardBackward, ModelWithFilter, SequenceBatch, filter, viterbi
from ...inference.filters import CategoricalBelief, Filtered, Forward
from ...metrics import FilterOutputs
from ...models.sequential import (
    AbstractEmissions,
    BernoulliEmissions,
    CategoricalEmissions,
    ConjugatePrior,
    GaussianEmissions,
    HiddenMarkov,
    PoissonEmissions,
    TransitionMatrix,
)
from ...typing import Array, Float, Int, Key, Observation
from ._describe import SequencesDescription
from ._maximization import learn_states, seen_observations
from ._options import SequencesOptions

NUM_STARTS = 8
FIRST_STEPS = 10
"""Starts, and steps of expectation maximisation after which the best of them goes on."""
_STAY = 0.5
"""Added to the probability that a state stays, at the start."""
_MOST_ROWS = 10_000
_CLUSTER_STEPS = 10


def states(options: SequencesOptions, description: SequencesDescription, *, key: Key) -> ModelWithFilter:
    """States that are all alike, with the exact filter; `start_states` tells them apart."""
    count = int(options.states)
    matrix = _STAY * jnp.eye(count) + (1.0 - _STAY) / count
    transitions = TransitionMatrix(jnp.log(matrix))
    return ModelWithFilter(HiddenMarkov(jnp.zeros(count), transitions, _emissions(count, description)), Forward())


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


def start_states(model: HiddenMarkov, batch: SequenceBatch, *, key: Key) -> HiddenMarkov:
    """The most probable of several models, each after a few steps of expectation maximisation.

    Each starts from the clusters of the observations by k-means, with seeds drawn by k-means++ in standardised units. Observations
    are averaged over 1, 2, 4 or 8 neighbours in time before: single symbols, or zeros and ones, form no clusters.

    References:
        Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding", 2007.
    """
    seen = seen_observations(batch)
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), seen)
    emissions = model.observation
    assert isinstance(emissions, AbstractEmissions)
    centre, features = emissions.centre(flat), _features(seen, emissions)
    inside = np.arange(features.shape[1])[None, :] < np.asarray(batch.lengths)[:, None]
    generator = np.random.default_rng(int(jr.randint(key, (), 0, 1 << 30)))
    best, highest = model, -np.inf
    for number in range(NUM_STARTS):
        smooth = uniform_filter1d(features, 2 ** (number // 2), axis=1, mode="nearest")
        labels = np.zeros(inside.shape, np.int64)
        labels[inside] = _clusters(smooth[inside], model.num_states, generator)
        weights = jax.nn.one_hot(labels.reshape(-1), model.num_states)
        emissions = _emissions_of(centre, flat, weights * inside.reshape(-1, 1))
        found = learn_states(HiddenMarkov(model.initial_logits, model.transitions, emissions), batch, FIRST_STEPS)
        assert found.log_prior_nats is not None
        nats = float(found.log_evidence_nats[-1] + found.log_prior_nats[-1])
        if nats > highest:
            best, highest = found.model, nats
    return best


@eqx.filter_jit
def _emissions_of(
    centre: AbstractEmissions, observations: Observation, weights: Float[Array, "n k"]
) -> AbstractEmissions:
    """Emissions of observations that belong to each state with a weight."""
    return centre.maximise(observations, weights, ConjugatePrior(centre))


def _features(seen: Observation, emissions: AbstractEmissions) -> Float[np.ndarray, "sequences time d"]:
    """Observations in deviations from the mean of each column, 0 where missing; symbols as indicators of each."""
    value, observed = (np.asarray(part) for part in known_entries(seen))
    if isinstance(emissions, CategoricalEmissions):
        value, observed = np.eye(emissions.logits.shape[1])[np.where(observed, value, 0)], observed[..., None]
    value = np.where(observed, value, 0.0).astype(np.float64)
    count = np.maximum(observed.sum(axis=(0, 1)), 1)
    centred = np.where(observed, value - value.sum(axis=(0, 1)) / count, 0.0)
    scale = np.sqrt((centred**2).sum(axis=(0, 1)) / count)
    return centred / np.where(scale > 0.0, scale, 1.0)


def _clusters(rows: Float[np.ndarray, "n d"], count: int, generator: np.random.Generator) -> Int[np.ndarray, " n"]:
    """The cluster of each row; centres are learned from 10,000 at most."""
    some = rows if len(rows) <= _MOST_ROWS else rows[generator.choice(len(rows), _MOST_ROWS, replace=False)]
    centres = some[generator.integers(len(some))][None]
    while len(centres) < count:
        distances = ((some[:, None] - centres[None]) ** 2).sum(axis=2).min(axis=1)
        total = distances.sum()
        drawn = generator.choice(len(some), p=distances / total if total > 0.0 else None)
        centres = np.concatenate([centres, some[drawn][None]])
    with warnings.catch_warnings():
        # A cluster may be empty: its state then starts like all observations together.
        warnings.simplefilter("ignore")
        centres, _ = kmeans2(some, centres, iter=_CLUSTER_STEPS, minit="matrix")
    return vq(rows, centres)[0]


def state_arrays(model: HiddenMarkov, found: Filtered, x: Array, mask: Array, length: Array) -> dict[str, Array]:
    """Probabilities of the states of one padded sequence after each step, and given all steps; and the most probable path."""
    return {
        "probabilities": _probabilities(found.beliefs),
        "smoothed": ForwardBackward()(model, found).beliefs.probabilities,
        "states": viterbi(model, x, mask=mask, length=length).states,
    }


def state_outputs(learned: ModelWithFilter[Any], batch: SequenceBatch) -> FilterOutputs:
    """Moments of the outputs before and after each update of the only sequence of a batch, exact sums over states.

    Of symbols they are the probabilities of each; of states likewise.
    """
    assert batch.mask is not None
    found = filter(learned.filter, learned.model, batch.observations[0], key=jr.key(0), mask=batch.mask[0], throw=False)
    means, variances = emission_moments(learned.model)

    def mixture(probabilities: Array) -> tuple[Array, Array]:
        mean = probabilities @ means
        between = (means[None] - mean[:, None]) ** 2
        return mean, jnp.sqrt(probabilities @ variances + jnp.einsum("tk,tkm->tm", probabilities, between))

    beliefs, predictions = _probabilities(found.beliefs), _probabilities(found.predictions)
    spread = jnp.sqrt(beliefs * (1.0 - beliefs))
    return FilterOutputs(*mixture(predictions[1:]), *mixture(beliefs[1:]), beliefs, spread)


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
def forecast_symbols(
    learned: ModelWithFilter[Any], batch: SequenceBatch, horizon: int
) -> Float[Array, "batch horizon v"]:
    """Probabilities of the symbols of the steps that follow the end of every sequence, exact."""
    matrix, (shares, _) = transition_matrix(learned.model), emission_moments(learned.model)

    def ahead(x: Array, mask: Array, length: Array) -> Array:
        found = filter(learned.filter, learned.model, x, key=jr.key(0), mask=mask, throw=False)

        def step(now: Array, _: None) -> tuple[Array, Array]:
            after = now @ matrix
            return after, after @ shares

        return jax.lax.scan(step, _probabilities(found.beliefs)[length - 1], None, length=horizon)[1]

    return jax.vmap(ahead)(batch.observations, batch.mask, jnp.asarray(batch.lengths))
