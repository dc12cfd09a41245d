"""What figures of sequences share: which steps of which sequence, on which axis of time, and under which names."""

import numpy as np

from ...data import AbstractSequences, ContinuedSequences, FullLength, PaddedBatch, SoundSequences, sequence_batches
from ...viz import literal
from ._description import SequencesDescription

STEPS = 200
WARM_STEPS = 500
"""Steps that a filter sees before those that are drawn, where these are not the first."""
_ENTRIES = 3


def is_sound(sequences: AbstractSequences) -> bool:
    """Whether steps are windows of a sound."""
    while hasattr(sequences, "sequences"):
        sequences = getattr(sequences, "sequences")  # noqa: B009 - views hold what they are views of
    return isinstance(sequences, SoundSequences)


def shown_steps(sequences: AbstractSequences, steps: int) -> tuple[int, int]:
    """First step and step after the last that are drawn: the beginning, or what comes after the beginning that is known."""
    length = int(sequences.lengths[0])
    if not isinstance(sequences, ContinuedSequences):
        return 0, min(steps, length)
    start = min(int(sequences.known[0]) - 1, length - 2)
    return start, min(start + steps, length)


def first_sequence(sequences: AbstractSequences, start: int, stop: int) -> PaddedBatch:
    """Some steps of the first sequence."""
    length = int(sequences.lengths[0])
    whole = next(iter(sequence_batches(sequences.select([0]), FullLength((length,)), 1, seed=0)))
    return whole._replace(
        values=whole.values[:, start:stop],
        observed=whole.observed[:, start:stop],
        lengths=np.full(1, stop - start),
        times=None if whole.times is None else whole.times[:, start:stop],
        actions=None if whole.actions is None else whole.actions[:, start : stop - 1],
    )


def time_axis(
    padded: PaddedBatch, start: int, description: SequencesDescription, sequences: AbstractSequences
) -> tuple[np.ndarray, str]:
    """Dates, or times where steps differ in duration, else numbers of steps from 1; `start` is the number of the first, from 0."""
    if sequences.calendar is not None and padded.times is not None:
        return sequences.calendar.dates(padded.times[0]), "date"
    if description.uneven and padded.times is not None:
        return padded.times[0] - padded.times[0, 0], "time since the first step, in the unit of the data"
    return start + np.arange(1.0, padded.values.shape[1] + 1.0), "step"


def most_varied(seen: np.ndarray) -> np.ndarray:
    """Numbers of the entries that vary most, rising; NaN is missing."""
    count = np.maximum(np.isfinite(seen).sum(axis=0), 1)
    centred = seen - np.nansum(seen, axis=0) / count
    variance = np.nansum(centred**2, axis=0) / count
    return np.sort(np.argsort(-variance, kind="stable")[:_ENTRIES])


def entry_name(description: SequencesDescription, entry: int) -> str:
    """The name of the column, or the number of the entry."""
    return literal(description.columns[entry]) if description.columns else f"entry {entry}"


def last_dates(sequences: AbstractSequences, steps: int, horizon: int, duration: float) -> np.ndarray | None:
    """Dates of the last steps of the first sequence and of those to come, which are a usual `duration` apart; None without dates."""
    times = sequences.times(0)
    if sequences.calendar is None or times is None:
        return None
    ahead = times[-1] + duration * np.arange(1, horizon + 1)
    return sequences.calendar.dates(np.concatenate([times[-steps:], ahead]))


def symbol_names(description: SequencesDescription) -> list[str]:
    """Names of the categories, or their numbers."""
    return [*description.categories[0]] if description.categories else [*map(str, range(description.num_symbols))]
