"""Steps of sequences in one table, and the part of them that is held out."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...typing import Bool, Float, Int
from ._choice import FEWEST_ROWS, HELD_OUT, HeldOutParts

_FEWEST_SEQUENCES = 5
"""With so many sequences, whole ones are held out; with fewer, the ends of all."""


class StepTable(NamedTuple):
    """Steps of sequences, one sequence after the other.

    Attributes:
        values: in the unit of the data, NaN where missing.
        inputs: what was known of the way from the last step to this one (actions, duration), NaN at the first step.
        position: number of each step in its sequence, from 0.
    """

    values: Float[np.ndarray, "steps m"]
    inputs: Float[np.ndarray, "steps a"]
    position: Int[np.ndarray, " steps"]

    @staticmethod
    def of(values: Sequence[np.ndarray], inputs: Sequence[np.ndarray] | None = None) -> "StepTable":
        """From each sequence's values (T, m), NaN where missing, and known inputs (T - 1, a) if there are any."""
        known = [np.zeros((len(each) - 1, 0)) for each in values] if inputs is None else inputs
        led = [np.concatenate([np.full((1, each.shape[1]), np.nan), each]) for each in known]
        position = [np.arange(len(each)) for each in values]
        return StepTable(np.concatenate(values).astype(float), np.concatenate(led), np.concatenate(position))

    @property
    def seen(self) -> Bool[np.ndarray, " steps"]:
        """Steps at which something was observed: those that count in an average."""
        return np.any(~np.isnan(self.values), axis=1)

    @property
    def longest(self) -> int:
        """Steps of the longest sequence."""
        return int(self.position.max()) + 1

    def lagged(self, lag: int) -> Float[np.ndarray, "steps m"]:
        """The values so many steps earlier in the same sequence, NaN where there are none."""
        found = np.full_like(self.values, np.nan)
        if lag < len(found):
            found[lag:] = self.values[: len(found) - lag]
        found[self.position < lag] = np.nan
        return found

    def where(self, kept: Bool[np.ndarray, " steps"]) -> "StepTable":
        """Some of the steps: whole sequences, or their beginnings."""
        return StepTable(self.values[kept], self.inputs[kept], self.position[kept])

    def first(self, num: int) -> "StepTable":
        """The first steps of the table."""
        return self.where(np.arange(len(self.position)) < num)


def step_parts(table: StepTable) -> HeldOutParts | None:
    """Whole sequences held out, the last ones, or the ends of all where there are fewer than 5; None with too few steps."""
    seen = table.seen
    if seen.sum() < FEWEST_ROWS:
        return None
    starts = table.position == 0
    number, count = np.cumsum(starts) - 1, int(starts.sum())
    if count >= _FEWEST_SEQUENCES:
        held_out = number >= count - max(1, round(HELD_OUT * count))
        learned, counted = table.where(~held_out), seen[held_out]
        shown = table.where(held_out)
    else:
        lengths = np.bincount(number)
        held_out = table.position >= np.ceil((1.0 - HELD_OUT) * lengths)[number]
        # The past of what is held out may be looked at.
        learned, counted, shown = table.where(~held_out), seen & held_out, table
    if not counted.any() or not learned.seen.any():
        return None
    return HeldOutParts(learned, shown, lambda nats: float(nats[counted].sum() / counted.sum()))
