"""Shape, durations, likelihood and units of a user's sequences."""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ...data import (
    GREY_LEVELS,
    AbstractSequences,
    Frames,
    PaddedBatch,
    Rolls,
    SequenceFormat,
    SoundSequences,
    action_moments,
    require_shape,
    sequence_moments,
)
from ...inference import SequenceBatch
from ...results import BadInputError
from .._numbers import COUNTS, Range, Scaling, choose_likelihood, is_binary, is_count, scan_range
from .._tables import Found, column_names, require_categories, require_likelihood, table_columns
from ._options import SequencesOptions

_MOST_SYMBOLS = 4096
_EVEN = 0.05
"""Share of a step by which times may stray from equal distances, and by which the usual durations of two data sets may differ."""


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


def sequence_format(options: SequencesOptions, description: SequencesDescription | None = None) -> SequenceFormat:
    """How files become sequences; tables like the one that a model was fitted to, if there is one."""
    sides = [int(part) for part in options.frame_size.split(",") if part.strip().isdecimal()]
    if options.frame_size and len(sides) != 2:
        raise BadInputError(
            f"Expected the height and width of a frame, as 64,64, got --frame-size {options.frame_size}."
        )
    height, width = sides if sides else (None, None)
    found = None
    if description is not None:
        categories = (*zip(description.columns, description.categories, strict=False), *description.action_columns)
        found = Found(description.columns, categories, description.calendar_unit)
    actions = column_names(options.action_columns)
    table = table_columns(options, found, options.sequence_column, options.time_column, actions)
    return SequenceFormat(table, options.window, Rolls(options.steps_per_beat), Frames(height, width, options.grey))


def describe_sequences(
    sequences: AbstractSequences, train: AbstractSequences, options: SequencesOptions
) -> SequencesDescription:
    """Look at all sequences once: choose a likelihood where none is named, and measure the units of the training sequences.

    Raises:
        BadInputError: numbers that the likelihood cannot explain, or steps that the model cannot take.
    """
    numbers = _range(sequences)
    linear, discrete = options.model == "linear-gaussian", options.model == "hidden-markov"
    fitting = _fitting_states if discrete else _fitting
    name = choose_likelihood(options.likelihood, options.model, linear, lambda: fitting(sequences, numbers))
    _require_range(name, numbers, sequences.name, _MOST_SYMBOLS)
    require_likelihood(sequences, name)
    if name == "categorical" and math.prod(sequences.shape) != 1:
        raise BadInputError(
            f"Expected one column for a categorical likelihood of sequences, got {math.prod(sequences.shape)} in "
            f"{sequences.name}: choose one with --columns."
        )
    if discrete and sequences.action_shape is not None:
        raise BadInputError(
            f"Expected no known inputs for --model hidden-markov, got some in {sequences.name}: leave --action-columns out, or "
            f"choose another model."
        )
    framed = options.model == "svg"
    # One unit for all samples of a sound: they are measured alike.
    entries = () if isinstance(sequences, SoundSequences) else train.shape
    scaling = _scaling(train, entries, name, options.standardize, keep=framed)
    uneven, unit = _durations(sequences)
    if uneven and (linear or discrete):
        raise BadInputError(
            f"Expected steps of one duration for --model {options.model} in {sequences.name}, got different ones: choose a "
            f"deep model, which takes the duration as an input, or leave --time-column empty to count steps only."
        )
    if framed and (len(sequences.shape) not in (2, 3) or sequences.shape[:2] != (64, 64)):
        raise BadInputError(
            f"Expected frames of 64 x 64 for --model svg, got steps of shape {sequences.shape} in {sequences.name}: pass "
            f"--frame-size 64,64, or choose another model."
        )
    shape, actions = tuple(sequences.shape), sequences.action_shape
    return SequencesDescription(
        shape=shape,
        event_shape=shape if framed else () if name == "categorical" else (scaling.size,),
        action_shape=() if actions is None else tuple(actions),
        acted=actions is not None,
        likelihood=name,
        numbers=numbers,
        scaling=scaling,
        inputs=_input_scaling(train, options.standardize),
        columns=sequences.columns,
        categories=sequences.categories,
        action_columns=sequences.action_columns,
        calendar_unit=sequences.calendar.unit if sequences.calendar is not None else "",
        timed=sequences.timed,
        uneven=uneven,
        time_unit=unit,
        fingerprint=sequences.fingerprint(),
    )


def check_sequences(sequences: AbstractSequences, description: SequencesDescription, *, of: str) -> None:
    """Check that new sequences can be explained by a model that was fitted to others.

    Raises:
        BadInputError: other steps or actions, times that are missing, steps of other durations, or impossible numbers.
    """
    require_shape(sequences, description.shape, of=of)
    given = None if sequences.action_shape is None else tuple(sequences.action_shape)
    wanted = description.action_shape if description.acted else None
    if given != wanted:
        raise BadInputError(
            f"Expected actions of shape {wanted}, as {of} was made for, got {given} in {sequences.name}."
        )
    # Of a table times are asked for: they might be left out by mistake.
    needed = description.uneven or (description.timed and bool(sequences.columns))
    if needed and not sequences.timed:
        raise BadInputError(f"Expected times, which {of} was made for, got none in {sequences.name}.")
    unit = sequences.calendar.unit if sequences.calendar is not None else ""
    if description.timed and sequences.timed and unit != description.calendar_unit:
        raise BadInputError(
            f"Expected times in {description.calendar_unit or 'numbers'}, as {of} was made for, got {unit or 'numbers'} in "
            f"{sequences.name}: pass data of the same frequency."
        )
    require_categories(sequences, description.categories, of)
    if not description.uneven:
        _require_duration(sequences, description, of)
    symbols = description.num_symbols if description.likelihood == "categorical" else 0
    _require_range(description.likelihood, _range(sequences), sequences.name, symbols)


def _require_duration(sequences: AbstractSequences, description: SequencesDescription, of: str) -> None:
    """Steps as long as those that a model without durations was fitted to."""
    uneven, unit = _durations(sequences)
    if uneven:
        raise BadInputError(
            f"Expected steps of one duration, as {of} was fitted to, got different ones in {sequences.name}: a model takes "
            f"durations only if it was fitted to such data."
        )
    known = description.timed and sequences.timed
    if known and abs(unit - description.time_unit) > _EVEN * description.time_unit:
        raise BadInputError(
            f"Expected steps of the duration {description.time_unit:.6g}, as {of} was fitted to, got {unit:.6g} in "
            f"{sequences.name}: resample the data, or give the times in the same unit."
        )


def _scaling(
    train: AbstractSequences, entries: tuple[int, ...], likelihood: str, standardize: bool, *, keep: bool
) -> Scaling:
    """Units of the entries of a step; real numbers that never vary are left out, unless a frame must keep its shape.

    Raises:
        BadInputError: nothing varies.
    """
    size = math.prod(train.shape)
    if likelihood != "gaussian":
        plain = Scaling.none(size, float(GREY_LEVELS) if likelihood == "discretized-gaussian" else 1.0)
        return (
            plain._replace(loc=sequence_moments(train, train.shape).mean.reshape(-1)) if likelihood in COUNTS else plain
        )
    scaling = Scaling.of(sequence_moments(train, entries), standardize, size=size)
    if not scaling.size:
        raise BadInputError(
            f"Expected numbers that vary, got the same at all steps of the training sequences of {train.name}: a model has nothing "
            f"to learn."
        )
    return scaling._replace(varies=np.ones(size, bool)) if keep else scaling


def _input_scaling(train: AbstractSequences, standardize: bool) -> Scaling:
    """Units of the known inputs; those that never vary in the training sequences teach nothing and are left out."""
    return Scaling.none(0) if train.action_shape is None else Scaling.of(action_moments(train), standardize)


def _range(sequences: AbstractSequences) -> Range:
    """Range of the observed numbers. What is missing counts as 0, which is always allowed."""
    return scan_range((block.values for block in sequences.blocks()), sequences.name, "choose another unit")


def _fitting(sequences: AbstractSequences, numbers: Range) -> str:
    """The likelihood that fits the numbers."""
    if is_binary(numbers):
        return "bernoulli"
    return "discretized-gaussian" if sequences.dtype == np.uint8 else "gaussian"


def _fitting_states(sequences: AbstractSequences, numbers: Range) -> str:
    """The same for emissions of discrete states."""
    if sequences.categories and math.prod(sequences.shape) == 1:
        return "categorical"
    return "bernoulli" if is_binary(numbers) else "gaussian"


def _require_range(name: str, numbers: Range, where: str, num_symbols: int) -> None:
    limits = {"bernoulli": 1.0, "discretized-gaussian": GREY_LEVELS - 1.0, "categorical": num_symbols - 1.0}
    limits |= dict.fromkeys(COUNTS, np.inf)
    if name in limits and not (is_count(numbers) and numbers.high <= limits[name]):
        raise BadInputError(
            f"Expected whole numbers from 0 to {limits[name]:g} for a {name} likelihood, got numbers from {numbers.low:g} to "
            f"{numbers.high:g} in {where}: choose another likelihood."
        )


def _durations(sequences: AbstractSequences) -> tuple[bool, float]:
    """Whether steps differ in duration, and the usual duration: the mean where they do not, the median where they do.

    Times are compared with a clock that ticks evenly from the first to the last, so that those which were rounded, as the
    milliseconds of a video, count as even, while a step that was left out does not.
    """
    if not sequences.timed:
        return False, 1.0
    every = [np.asarray(sequences.times(index), np.float64) for index in range(len(sequences))]
    gaps = np.concatenate([np.diff(times) for times in every])
    mean, usual = float(gaps.mean()), float(np.median(gaps))
    for times in every:
        clock = np.linspace(times[0], times[-1], len(times))
        own = (times[-1] - times[0]) / (len(times) - 1)
        if np.abs(times - clock).max() > _EVEN * usual or abs(own - mean) > _EVEN * mean:
            return True, usual
    return False, mean
