"""Where learning of a hidden Markov model starts: the best of several clusterings of the observations."""

import warnings

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
from scipy.cluster.vq import kmeans2, vq
from scipy.ndimage import uniform_filter1d

from ....distributions import known_entries
from ....inference import SequenceBatch
from ....models.sequential import AbstractEmissions, CategoricalEmissions, ConjugatePrior, HiddenMarkov
from ....typing import Array, Float, Int, Key, Observation
from ._maximization import learn_states

NUM_STARTS = 8
FIRST_STEPS = 10
"""Starts, and steps of expectation maximisation after which the best of them goes on."""
_MOST_ROWS = 10_000
_CLUSTER_STEPS = 10


def start_states(model: HiddenMarkov, batch: SequenceBatch, *, key: Key) -> HiddenMarkov:
    """The most probable of several models, each after a few steps of expectation maximisation.

    Each starts from the clusters of the observations by k-means, with seeds drawn by k-means++ in standardised units. Observations
    are averaged over 1, 2, 4 or 8 neighbours in time before: single symbols, or zeros and ones, form no clusters.

    References:
        Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding", 2007.
    """
    seen = batch.seen
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
