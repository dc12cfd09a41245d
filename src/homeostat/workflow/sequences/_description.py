"""What a fit keeps of a user's sequences: shape, durations, likelihood and units."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ...data import AbstractSequences, PaddedBatch
from ...inference import SequenceBatch
from .._numbers import Range, Scaling


class SequencesDescription(NamedTuple):
    """Sequences in a few numbers; plain, so that a run can keep them.

    Attributes:
        shape: of one step as it is stored.
        event_shape: of one step as the model sees it, without the entries that never vary.
        action_shape: of one action as it is stored; empty without actions.
        numbers: their range, by which the likelihood was chosen.
        scaling: of the entries of a step to the unit of the model, by the training sequences.
        inputs: of the entries of an action likewise.
        columns: names of the entries, by which they are found in other tables; empty without names.
        categories: what the whole numbers of each entry stand for; empty where entries are numbers.
        action_columns: columns of known inputs in tables, with their categories.
        calendar_unit: what times count, where they were dates; otherwise empty.
        uneven: whether steps differ in duration, which then goes before the actions as a known input.
        time_unit: the usual duration of a step, in the unit of the data; 1 without times.
        fingerprint: of some steps, to know the data again.
    """

    shape: tuple[int, ...]
    event_shape: tuple[int, ...]
    action_shape: tuple[int, ...]
    acted: bool
    likelihood: str
    numbers: Range
    scaling: Scaling
    inputs: Scaling
    columns: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    action_columns: tuple[tuple[str, tuple[str, ...]], ...]
    calendar_unit: str
    timed: bool
    uneven: bool
    time_unit: float
    fingerprint: int

    @property
    def action_dim(self) -> int:
        """Known inputs of the model, the duration of a step among them."""
        return (self.inputs.size if self.acted else 0) + int(self.uneven)

    @property
    def num_symbols(self) -> int:
        """Categories of the only entry, for a categorical likelihood."""
        return len(self.categories[0]) if self.categories else int(self.numbers.high) + 1

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the entries of an action, flat; empty without names."""
        return tuple(
            f"{column}={value}" if value is not None else column
            for column, values in self.action_columns
            for value in (values or (None,))
        )

    @property
    def discrete(self) -> bool:
        """Whether the likelihood gives probabilities, not densities."""
        return self.likelihood != "gaussian"

    @property
    def log_unit_nats(self) -> np.ndarray:
        """log |dx / dx'| of each entry that the model sees: added to a free energy it gives that of the data in their own unit."""
        units = np.log(self.scaling.unit) if not self.discrete else np.zeros(self.scaling.size)
        return units.reshape(self.event_shape)

    def mean_log_unit_nats(self, sequences: AbstractSequences) -> float:
        """Mean of the sum of `log_unit_nats` over what was observed of a step, over steps at which something was."""
        units, total, steps = self.log_unit_nats.reshape(-1), 0.0, 0
        for block in sequences.blocks():
            seen = np.ones(block.values.shape, bool) if block.observed is None else block.observed
            seen = self.scaling.keep(seen.reshape(len(seen), -1))
            total += float((seen * units[None, :]).sum())
            steps += int(seen.any(axis=1).sum())
        return total / max(steps, 1)

    def batch(self, padded: PaddedBatch) -> SequenceBatch:
        """Sequences as the model sees them, in arrays of NumPy."""
        kind = np.dtype(jnp.result_type(float))
        output = np.dtype(np.int32) if self.likelihood == "categorical" else kind
        leading = padded.values.shape[:2]
        seen = self.scaling.keep(padded.observed.reshape(*leading, -1))
        values = np.where(seen, self.scaling.apply(padded.values.reshape(*leading, -1).astype(np.float64)), 0.0)
        actions = self.actions(padded.actions, padded.elapsed, padded.steps[:, 1:])
        shape = (*leading, *self.event_shape)
        return SequenceBatch(
            values.reshape(shape).astype(output),
            None if actions is None else actions.astype(kind),
            padded.lengths,
            seen.reshape(shape),
        )

    def actions(
        self, given: np.ndarray | None, elapsed: np.ndarray | None, inside: np.ndarray | None = None
    ) -> np.ndarray | None:
        """Known inputs as the model takes them, [count, time, inputs]: the duration of a step first, where it is an input.

        Args:
            given: as stored, [count, time, ...].
            elapsed: durations of the steps, in the unit of the data, [count, time].
            inside: which steps lead to another, [count, time]; inputs of the others are 0 in the model's unit.
        """
        parts = [] if elapsed is None or not self.uneven else [elapsed[..., None] / self.time_unit]
        if given is not None and self.inputs.size:
            scaled = self.inputs.apply(given.reshape(*given.shape[:2], -1).astype(np.float64))
            parts.append(scaled if inside is None else np.where(inside[..., None], scaled, 0.0))
        return np.concatenate(parts, axis=2) if parts else None

    def restore(self, values: np.ndarray) -> np.ndarray:
        """What the model says, in the unit and the shape of the stored steps, whatever the leading axes."""
        leading = values.shape[: values.ndim - len(self.event_shape)]
        flat = np.asarray(values, np.float64).reshape(*leading, -1)
        return self.scaling.restore(flat).reshape(*leading, *self.shape)
