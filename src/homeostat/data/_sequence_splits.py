"""Training, validation and test sequences: whole sequences, named, never mixed."""

from dataclasses import dataclass, fields
from typing import final

import numpy as np

from ..results import BadInputError
from ..typing import Any
from ._scaled import Standardization
from ._sequences import AbstractSequences
from ._splits import Source, SplitIndices, split_rows


@final
@dataclass(frozen=True, eq=False)
class SequenceSplits:
    """A set of sequences in three named splits. Choose with `validation`; look at `test` once, for the figure you report.

    Attributes:
        indices: which of all sequences they are, numbered through.
        source: where they came from, or `None` for a user's own.
        standardization: how values were made from stored numbers, with the statistics of the training sequences; `None`
            where they are as stored.
    """

    name: str
    train: AbstractSequences
    validation: AbstractSequences
    test: AbstractSequences
    indices: SplitIndices
    source: Source | None = None
    standardization: Standardization | None = None

    def __post_init__(self):
        for field in fields(self.indices):
            split, count = getattr(self, field.name), getattr(self.indices, field.name).size
            if len(split) != count:
                raise BadInputError(
                    f"Expected {count} sequences in the split {field.name} of {self.name}, as its numbers say, got "
                    f"{len(split)}."
                )

    @property
    def complete(self) -> bool:
        """Whether all official sequences are there; if not, `source.note` says what is missing."""
        return self.source is None or self.source.complete


def split_sequences(
    sequences: AbstractSequences, *, validation: float = 0.1, test: float = 0.1, seed: int, groups: Any = None
) -> SequenceSplits:
    """Divide sequences at random: the same way for the same number and seed, on every machine.

    Args:
        validation: share of the sequences, or of the groups, in [0, 1); rounded to whole ones.
        groups: what each sequence belongs to (a person, an animal, a day), one a sequence; the sequences of a group stay
            together. Without it a group is one sequence.

    Raises:
        BadInputError: shares that leave nothing to train on, or groups that do not fit.
    """
    count = len(sequences)
    members = np.arange(count) if groups is None else np.asarray(groups)
    if members.shape != (count,):
        raise BadInputError(
            f"Expected {count} groups, one a sequence of {sequences.name}, got the shape {members.shape}."
        )
    names, number = np.unique(members, return_inverse=True)
    chosen = split_rows(names.size, validation=validation, test=test, seed=seed)
    parts = (np.flatnonzero(np.isin(number, getattr(chosen, field.name))) for field in fields(chosen))
    return select_splits(sequences.name, sequences, SplitIndices(*parts), None)


def select_splits(
    name: str, sequences: AbstractSequences, indices: SplitIndices, source: Source | None
) -> SequenceSplits:
    """Splits of one collection, as views."""
    parts = (sequences.select(getattr(indices, field.name)) for field in fields(indices))
    return SequenceSplits(name, *parts, indices, source)  # pyright: ignore[reportArgumentType]


def standardized(splits: SequenceSplits, standardization: Standardization) -> SequenceSplits:
    """The same splits with every value less the mean, divided by the scale; usually those of the training sequences."""
    parts = (standardization.apply(part) for part in (splits.train, splits.validation, splits.test))
    return SequenceSplits(splits.name, *parts, splits.indices, splits.source, standardization)
