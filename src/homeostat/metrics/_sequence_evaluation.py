"""Free energies of whole sequences: per sequence, per step and per observed number."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ..core import AbstractFilter, AbstractSequentialModel
from ..distributions import known_entries
from ..inference import SequenceBatch, filter, length_mask, masked
from ..models.sequential import Measurement
from ..results import BadInputError
from ..typing import Array, Float, Int, Key, Scalar
from ._likelihood import mean_with_error
from ._statistics import Estimated, ratio_with_error


class SequenceEvaluationMeans(NamedTuple):
    """Averages over sequences, steps and observed numbers, with standard errors over sequences.

    Attributes:
        elbo_nats: bound on log p(x) of a sequence; log p(x) itself for an exact filter.
        free_energy_per_step_nats: free energy of a step at which something was observed.
        bits_per_dimension: free energy of an observed number in bits; a code length where the emission gives probabilities.
        failed: share of the sequences whose free energy is not finite.
    """

    elbo_nats: Estimated
    free_energy_per_step_nats: Estimated
    bits_per_dimension: Estimated
    failed: Scalar


class SequenceEvaluation(NamedTuple):
    """Free energies of sequences; a leading axis over sequences everywhere, so that evaluations can be concatenated.

    Attributes:
        free_energy_nats: sum over the steps of each sequence.
        num_steps: steps of each at which something was observed.
        num_observed: observed numbers of each.
    """

    free_energy_nats: Float[Array, " sequences"] | Float[np.ndarray, " sequences"]
    num_steps: Int[Array, " sequences"] | Int[np.ndarray, " sequences"]
    num_observed: Int[Array, " sequences"] | Int[np.ndarray, " sequences"]

    def per_step(self) -> Estimated:
        """Free energy per step over all steps of all sequences, in nats; no error (NaN) for a single sequence."""
        return ratio_with_error(self.free_energy_nats, self.num_steps)

    def means(self) -> SequenceEvaluationMeans:
        """Averages with their standard errors; NaN as soon as one sequence failed."""
        energies = np.asarray(self.free_energy_nats, float)
        return SequenceEvaluationMeans(
            mean_with_error(jnp.asarray(-energies)),
            self.per_step(),
            ratio_with_error(energies / np.log(2.0), self.num_observed),
            jnp.mean(~jnp.isfinite(jnp.asarray(energies))),
        )


@eqx.filter_jit
def evaluate_sequences(
    method: AbstractFilter,
    model: AbstractSequentialModel,
    sequences: SequenceBatch,
    *,
    key: Key,
    numbers: Int[Array, " sequences"] | None = None,
    batch_size: int = 8,
) -> SequenceEvaluation:
    """Filter whole sequences from their first step to their last, and sum up free energies.

    Args:
        method: any filter.
        model: the model it believes in.
        sequences: leading axes [sequences, time]; padded with `lengths`, or with a mask; NaN where missing.
        key: folded with each sequence's number.
        numbers: of the sequences, by which results do not depend on the batch; 0, 1, 2, ... by default.
        batch_size: sequences worked on at once.

    Raises:
        BadInputError: no sequences, or models of their own.
    """
    if sequences.models is not None:
        raise BadInputError("Expected sequences of one model, got a model for each: evaluate them one by one.")
    num, time = jax.tree.leaves(sequences.observations)[0].shape[:2]
    numbers = jnp.arange(num) if numbers is None else numbers
    within = jnp.ones((num, time), bool) if sequences.lengths is None else length_mask(sequences.lengths, time)
    observations = jax.vmap(masked)(sequences.observations, within)
    if sequences.mask is not None:
        observations = jax.vmap(masked)(observations, sequences.mask)

    def one(inputs: tuple) -> Float[Array, ""]:
        values, actions, number = inputs
        return filter(method, model, values, actions, key=jr.fold_in(key, number), throw=False).free_energy_nats

    energies = jax.lax.map(one, (observations, sequences.actions, numbers), batch_size=min(batch_size, num))
    # The noise that a measurement brings was not observed.
    known = known_entries(observations.value if isinstance(observations, Measurement) else observations)
    flags = [leaf.reshape(num, time, -1) for leaf in jax.tree.leaves(known.observed)]
    at_steps = jnp.concatenate(flags, axis=2).any(axis=2)
    return SequenceEvaluation(energies, at_steps.sum(axis=1), jnp.concatenate(flags, axis=2).sum(axis=(1, 2)))


def lead(better: SequenceEvaluation, worse: SequenceEvaluation) -> Estimated:
    """By how much less free energy per step the first has than the second on the same sequences, with its paired error."""
    difference = np.asarray(worse.free_energy_nats, float) - np.asarray(better.free_energy_nats, float)
    return ratio_with_error(difference, better.num_steps)
