"""Training, validation and test rows, kept apart by construction."""

from dataclasses import dataclass, fields
from typing import NamedTuple, final

import numpy as np

from ..results import BadInputError
from ._order import permutation
from ._rows import AbstractRows, ArrayRows, SparseRows

SPLIT_SEED = 0
"""Seed of the validation rows where the official data has none."""


@final
@dataclass(frozen=True, eq=False)
class SplitIndices:
    """Row numbers of three splits; no row is in two of them, or twice in one.

    Attributes:
        train: for learning.
        validation: for every choice: when to stop, which setting.
        test: for the final figure alone.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def __post_init__(self):
        together = np.concatenate([self.train, self.validation, self.test])
        numbers, times = np.unique(together, return_counts=True)
        if numbers.size != together.size:
            raise BadInputError(
                f"Expected every row in one split at most, but row {int(numbers[np.argmax(times)])} is there "
                f"{int(times.max())} times: draw the splits with split_rows."
            )

    @staticmethod
    def consecutive(sizes: tuple[int, int, int]) -> "SplitIndices":
        """Rows in their order: so many for training, validation and test."""
        return SplitIndices(*np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:2]))


def split_rows(num_rows: int, *, validation: float = 0.1, test: float = 0.1, seed: int) -> SplitIndices:
    """Divide rows at random: the same way for the same number of rows and seed, on every machine.

    Args:
        validation: share of the rows, in [0, 1); rounded to whole rows.

    Returns:
        Row numbers in rising order.
    """
    num_validation, num_test = round(validation * num_rows), round(test * num_rows)
    if validation < 0 or test < 0 or num_validation + num_test >= num_rows:
        raise BadInputError(
            f"Expected shares of at least 0 that leave rows to train on, got validation={validation} and test={test} "
            f"of {num_rows} rows."
        )
    order = permutation(num_rows, seed)
    return SplitIndices(
        np.sort(order[num_validation + num_test :]),
        np.sort(order[num_test : num_validation + num_test]),
        np.sort(order[:num_test]),
    )


class Split(NamedTuple):
    """One split of a data set.

    Attributes:
        observations: one row an observation, as stored (pixels uint8); word counts are sparse and become dense by
            `read`.
        labels: the class of each row, or `None` if the data has none. For evaluation; no model here needs them.
    """

    observations: np.ndarray | SparseRows
    labels: np.ndarray | None

    @property
    def rows(self) -> AbstractRows:
        """The observations as rows that stream in batches."""
        return self.observations if isinstance(self.observations, SparseRows) else ArrayRows(self.observations)


class Source(NamedTuple):
    """Where a data set came from.

    Attributes:
        place: the folder of the copy, or the address of the official files.
        complete: whether all official rows are there.
        reference: whom to cite.
        note: what is special about this copy or division.
    """

    place: str
    complete: bool
    licence: str
    reference: str
    note: str


@final
@dataclass(frozen=True, eq=False)
class Splits:
    """A data set in three named splits. Choose with `validation`; look at `test` once, for the figure you report.

    Attributes:
        train: for learning.
        validation: for every choice.
        test: for the final figure alone.
        indices: which rows of the official data they are, numbered through: first the official training rows, then the
            official test rows.
        vocabulary: the word of each column, for word counts.
        class_names: what the labels stand for, where they have names.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    indices: SplitIndices
    source: Source
    vocabulary: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()

    def __post_init__(self):
        for field in fields(self.indices):
            split: Split = getattr(self, field.name)
            count = getattr(self.indices, field.name).size
            lengths = {len(split.observations)} | (set() if split.labels is None else {len(split.labels)})
            if lengths != {count}:
                raise BadInputError(
                    f"Expected {count} rows in the split {field.name} of {self.name}, as its row numbers say, got "
                    f"{sorted(lengths)}."
                )

    @property
    def complete(self) -> bool:
        """Whether all official rows are there; if not, `source.note` says what is missing."""
        return self.source.complete


class Official(NamedTuple):
    """The official division, before validation rows are set apart."""

    train: np.ndarray | SparseRows
    train_labels: np.ndarray | None
    test: np.ndarray | SparseRows
    test_labels: np.ndarray | None


def divide(
    name: str,
    official: Official,
    num_validation: int,
    source: Source,
    *,
    vocabulary: tuple[str, ...] = (),
    class_names: tuple[str, ...] = (),
) -> Splits:
    """Set `num_validation` of the official training rows apart: drawn once and for all, with the seed 0."""
    num_train = len(official.train)
    if not 0 <= num_validation < num_train:
        raise BadInputError(
            f"Expected from 0 to {num_train - 1} validation rows out of the {num_train} training rows of {name}, got "
            f"num_validation={num_validation}."
        )
    order = permutation(num_train, SPLIT_SEED)
    train, validation = np.sort(order[num_validation:]), np.sort(order[:num_validation])
    labels = official.train_labels
    learning = (
        Split(take(official.train, some), None if labels is None else labels[some]) for some in (train, validation)
    )
    test = Split(official.test, official.test_labels)
    indices = SplitIndices(train, validation, num_train + np.arange(len(official.test)))
    return Splits(name, *learning, test, indices, source, vocabulary, class_names)


def take(observations: np.ndarray | SparseRows, indices: np.ndarray) -> np.ndarray | SparseRows:
    """Some rows, as a copy."""
    if not isinstance(observations, SparseRows):
        return observations[indices]
    lengths = np.diff(observations.starts)[indices]
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    stored = np.arange(starts[-1]) - np.repeat(starts[:-1] - observations.starts[indices], lengths)
    return SparseRows(
        starts, observations.words[stored], observations.counts[stored], observations.num_columns, observations.name
    )
