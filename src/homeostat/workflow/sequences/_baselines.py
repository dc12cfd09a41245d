"""A model of sequences beside its baselines."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ...data import GREY_LEVELS, AbstractSequences, ContinuedSequences
from ...metrics import (
    Baseline,
    SequenceEvaluation,
    StepTable,
    binary_sequence_baselines,
    level_sequence_baselines,
    most_rows,
    rate_sequence_baselines,
    ratio_over_blocks,
    ratio_with_error,
    real_sequence_baselines,
    symbol_sequence_baselines,
)
from .._baselines import baseline_numbers, finite
from ._description import SequencesDescription

_FEWEST_SEQUENCES = 8
"""With fewer, the error of a gain is that over blocks of steps."""


def compare_sequences(
    description: SequencesDescription,
    train: AbstractSequences,
    sequences: AbstractSequences,
    scores: SequenceEvaluation,
    step_energies: Callable[[], list[np.ndarray]],
    *,
    estimate: str,
) -> dict[str, Any]:
    """The gain of the model over the best baseline in nats a step, and all baselines; steps count as in `SequenceEvaluation`.

    The error is that over sequences, or with fewer than eight over about 16 blocks of steps (`ratio_over_blocks`).

    Args:
        scores: of the sequences under the model, in the unit of the data.
        step_energies: gives the free energy of each step of each sequence, where blocks are needed.
        estimate: what the model's number is, in words.
    """
    baselines = _learned(description, _training_table(description, train))
    first = sequences.known if isinstance(sequences, ContinuedSequences) else np.zeros(len(sequences), int)
    totals, best, seen = np.zeros((len(baselines), len(sequences))), [], []
    for index in range(len(sequences)):
        # What is known of a sequence is where a baseline goes on from.
        table, known = _table(description, sequences, index), int(first[index])
        nats = [baseline.log_densities(table)[known:] for baseline in baselines]
        totals[:, index] = [each.sum() for each in nats]
        best.append(nats[0])
        seen.append(table.seen[known:])
    gain = ratio_with_error(-finite(scores.free_energy_nats) - totals[0], scores.num_steps)
    if len(sequences) < _FEWEST_SEQUENCES:
        differences = [-finite(energy) - each for energy, each in zip(step_energies(), best, strict=True)]
        gain = gain._replace(stderr=ratio_over_blocks(differences, seen).stderr)
    means = (totals.sum(axis=1) / np.asarray(scores.num_steps).sum()).tolist()
    return baseline_numbers(baselines, means, gain, per="step", estimate=estimate)


def _training_table(description: SequencesDescription, train: AbstractSequences) -> StepTable:
    """As many training steps as baselines are learned from, in the order of the sequences."""
    parts, left = [], most_rows(int(np.prod(description.shape)))
    for index in range(len(train)):
        if left < 2:
            break
        parts.append(_table(description, train, index, left))
        left -= len(parts[-1].position)
    return StepTable(*map(np.concatenate, zip(*parts, strict=True)))


def _table(
    description: SequencesDescription, sequences: AbstractSequences, index: int, most: int | None = None
) -> StepTable:
    """The steps of one sequence; the duration of a step is an input as it is for the model."""
    length = int(sequences.lengths[index])
    found = sequences.read(index, 0, length if most is None else min(length, most))
    values = found.values.astype(np.float64)
    if found.observed is not None:
        values[~found.observed] = np.nan
    inputs = [np.diff(found.times)[:, None]] if description.uneven and found.times is not None else []
    if found.actions is not None:
        inputs.append(found.actions.reshape(len(found.actions), -1).astype(np.float64))
    known = [np.concatenate(inputs, axis=1)] if inputs else None
    return StepTable.of([description.scaling.keep(values.reshape(len(values), -1))], known)


def _learned(description: SequencesDescription, table: StepTable) -> tuple[Baseline, ...]:
    match description.likelihood:
        case "gaussian":
            return real_sequence_baselines(table)
        case "bernoulli":
            return binary_sequence_baselines(table)
        case "poisson" | "negative-binomial":
            return rate_sequence_baselines(table)
        case "categorical":
            return symbol_sequence_baselines(table, description.num_symbols)
        case _:
            return level_sequence_baselines(table, GREY_LEVELS)
