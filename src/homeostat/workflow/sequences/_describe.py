"""What a user's sequences are, and the units they are worked on in."""

import math
import zlib
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ...data import (
    AbstractSequences,
    Frames,
    PaddedBatch,
    Rolls,
    SequenceFormat,
    SoundSequences,
    Standardization,
    TableColumns,
    require_step_shape,
)
from ...inference import SequenceBatch
from ...results import BadInputError
from ._options import SequencesOptions

GREY_LEVELS = 256
_WITNESSES = 16
_EVEN = 0.05
"""Share of a step by which times may stray from equal distances, and by which the usual durations of two data sets may differ."""


class SequencesDescription(NamedTuple):
    """Sequences in a few numbers; plain, so that a run can keep them.

    Attributes:
        shape: of one step as it is stored.
        event_shape: of one step as the model sees it.
        action_shape: of one action as it is stored; empty without actions.
        acted: whether there are actions.
        likelihood: name of the output density.
        mean: of the training sequences, one number or one for each entry; 0 where nothing is subtracted.
        scale: what numbers are divided by.
        columns: names of the entries, by which they are found in other tables; empty without names.
        timed: whether steps carried times.
        uneven: whether steps differ in duration, which then goes before the actions as a known input.
        time_unit: the usual duration of a step, in the unit of the data; 1 without times.
        fingerprint: of some steps, to know the data again.
    """

    shape: tuple[int, ...]
    event_shape: tuple[int, ...]
    action_shape: tuple[int, ...]
    acted: bool
    likelihood: str
    mean: np.ndarray
    scale: np.ndarray
    columns: tuple[str, ...]
    timed: bool
    uneven: bool
    time_unit: float
    fingerprint: int

    @property
    def action_dim(self) -> int:
        """Known inputs of the model, the duration of a step among them."""
        return (math.prod(self.action_shape) if self.acted else 0) + int(self.uneven)

    @property
    def log_unit_nats(self) -> np.ndarray:
        """log |dx / dx'| of each entry of a step: added to a free energy it gives that of the data in their own unit."""
        units = np.log(self.scale) if self.likelihood == "gaussian" else np.zeros(())
        return np.broadcast_to(units, self.shape).reshape(self.event_shape)

    def mean_log_unit_nats(self, sequences: AbstractSequences) -> float:
        """Mean of the sum of `log_unit_nats` over what was observed of a step, over steps at which something was."""
        units = self.log_unit_nats.reshape(self.shape)
        total, steps = 0.0, 0
        for block in sequences.blocks():
            seen = np.ones(block.values.shape, bool) if block.observed is None else block.observed
            total += float((seen * units).sum())
            steps += int(seen.reshape(len(seen), -1).any(axis=1).sum())
        return total / max(steps, 1)

    def batch(self, padded: PaddedBatch) -> SequenceBatch:
        """Sequences as the model sees them, on the device."""
        kind = jnp.result_type(float)
        stored = padded.values.astype(np.float64)
        values = np.where(padded.observed, (stored - self.mean) / self.scale, 0.0)
        leading = values.shape[:2]
        parts = []
        if self.uneven and padded.elapsed is not None:
            parts.append(padded.elapsed[..., None] / self.time_unit)
        if padded.actions is not None:
            parts.append(padded.actions.reshape(*padded.actions.shape[:2], -1))
        return SequenceBatch(
            jnp.asarray(values.reshape(*leading, *self.event_shape), kind),
            jnp.asarray(np.concatenate(parts, axis=2), kind) if parts else None,
            jnp.asarray(padded.lengths),
            jnp.asarray(padded.observed.reshape(*leading, *self.event_shape)),
        )

    def restore(self, values: np.ndarray) -> np.ndarray:
        """What the model says, in the unit and the shape of the stored steps, whatever the leading axes."""
        leading = values.shape[: values.ndim - len(self.event_shape)]
        return np.asarray(values, np.float64).reshape(*leading, *self.shape) * self.scale + self.mean


def sequence_format(config: SequencesOptions, columns: tuple[str, ...] = ()) -> SequenceFormat:
    """How files become sequences.

    Args:
        config: the options.
        columns: of a table in the order in which a model was fitted to them; those of the options if empty.

    Raises:
        BadInputError: options that mean nothing.
    """
    sides = [int(part) for part in config.frame_size.split(",") if part.strip().isdecimal()]
    if config.frame_size and len(sides) != 2:
        raise BadInputError(
            f"Expected the height and width of a frame, as 64,64, got --frame-size {config.frame_size}."
        )
    height, width = sides if sides else (None, None)
    return SequenceFormat(
        TableColumns(
            config.sequence_column, config.time_column, columns or _names(config.columns), _names(config.action_columns)
        ),
        config.window,
        Rolls(config.steps_per_beat),
        Frames(height, width, config.grey),
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def describe_sequences(
    sequences: AbstractSequences, train: AbstractSequences, config: SequencesOptions
) -> SequencesDescription:
    """Look at all sequences once: choose a likelihood where none is named, and measure the units of the training sequences.

    Raises:
        BadInputError: numbers that the likelihood cannot explain, or steps that the model cannot take.
    """
    low, high, whole = _range(sequences)
    name = _likelihood(config, sequences, low, high, whole)
    if config.model == "linear-gaussian":
        _require_variation(train)
    mean, scale = np.zeros(()), np.ones(())
    if name == "discretized-gaussian":
        scale = np.asarray(float(GREY_LEVELS))
    elif name == "gaussian" and config.standardize:
        # One unit for all samples of a sound: they are measured alike.
        overall = isinstance(sequences, SoundSequences)
        found = Standardization.overall(train) if overall else Standardization.by_entry(train)
        mean, scale = np.asarray(found.mean), np.asarray(found.scale)
    uneven, unit = _durations(sequences)
    if uneven and config.model == "linear-gaussian":
        raise BadInputError(
            f"Expected steps of one duration for --model linear-gaussian in {sequences.name}, got different ones: choose a "
            f"deep model, which takes the duration as an input, or leave --time-column empty to count steps only."
        )
    framed = config.model == "svg"
    if framed and (len(sequences.shape) not in (2, 3) or sequences.shape[:2] != (64, 64)):
        raise BadInputError(
            f"Expected frames of 64 x 64 for --model svg, got steps of shape {sequences.shape} in {sequences.name}: pass "
            f"--frame-size 64,64, or choose another model."
        )
    return SequencesDescription(
        shape=tuple(sequences.shape),
        event_shape=tuple(sequences.shape) if framed else (math.prod(sequences.shape),),
        action_shape=() if sequences.action_shape is None else tuple(sequences.action_shape),
        acted=sequences.action_shape is not None,
        likelihood=name,
        mean=mean,
        scale=scale,
        columns=sequences.columns,
        timed=sequences.timed,
        uneven=uneven,
        time_unit=unit,
        fingerprint=sequences_fingerprint(sequences),
    )


def check_sequences(sequences: AbstractSequences, observations: SequencesDescription, *, of: str) -> None:
    """Check that new sequences can be explained by a model that was fitted to others.

    Raises:
        BadInputError: other steps or actions, times that are missing, steps of other durations, or impossible numbers.
    """
    require_step_shape(sequences, observations.shape, of=of)
    given = None if sequences.action_shape is None else tuple(sequences.action_shape)
    wanted = observations.action_shape if observations.acted else None
    if given != wanted:
        raise BadInputError(
            f"Expected actions of shape {wanted}, as {of} was made for, got {given} in {sequences.name}."
        )
    if observations.uneven and not sequences.timed:
        raise BadInputError(f"Expected times, which {of} was made for, got none in {sequences.name}.")
    if not observations.uneven:
        _require_duration(sequences, observations, of)
    low, high, whole = _range(sequences)
    _require_range(observations.likelihood, low, high, whole, sequences.name)


def sequences_fingerprint(sequences: AbstractSequences) -> int:
    """A checksum of lengths and of some steps, to tell whether a file is still the same."""
    mark = zlib.crc32(np.ascontiguousarray(sequences.lengths).tobytes())
    for index in np.unique(np.linspace(0, len(sequences) - 1, _WITNESSES).astype(np.int64)).tolist():
        part = sequences.read(index, 0, min(_WITNESSES, int(sequences.lengths[index])))
        mark = zlib.crc32(np.ascontiguousarray(part.values).tobytes(), mark)
    return mark


def _require_duration(sequences: AbstractSequences, observations: SequencesDescription, of: str) -> None:
    """Steps as long as those that a model without durations was fitted to."""
    uneven, unit = _durations(sequences)
    if uneven:
        raise BadInputError(
            f"Expected steps of one duration, as {of} was fitted to, got different ones in {sequences.name}: a model takes "
            f"durations only if it was fitted to such data."
        )
    known = observations.timed and sequences.timed
    if known and abs(unit - observations.time_unit) > _EVEN * observations.time_unit:
        raise BadInputError(
            f"Expected steps of the duration {observations.time_unit:.6g}, as {of} was fitted to, got {unit:.6g} in "
            f"{sequences.name}: resample the data, or give the times in the same unit."
        )


def _require_variation(train: AbstractSequences) -> None:
    """Numbers of which each varies: the likelihood of one that does not has no bound."""
    low, high = np.full(train.shape, np.inf), np.full(train.shape, -np.inf)
    for block in train.blocks():
        missing = np.zeros((), bool) if block.observed is None else ~block.observed
        low = np.minimum(low, np.where(missing, np.inf, block.values).min(axis=0))
        high = np.maximum(high, np.where(missing, -np.inf, block.values).max(axis=0))
    # Up to the rounding of the numbers.
    still = np.flatnonzero((high - low <= 1e-6 * np.maximum(np.abs(high), 1e-30)).reshape(-1)).tolist()
    if still:
        called = ", ".join(train.columns[entry] if train.columns else f"entry {entry}" for entry in still[:5])
        more = f" and {len(still) - 5} more" if len(still) > 5 else ""
        raise BadInputError(
            f"Expected numbers that vary for --model linear-gaussian, got a constant, or nothing, in {called}{more} of the "
            f"training sequences of {train.name}: leave it out, or choose a deep model."
        )


def _range(sequences: AbstractSequences) -> tuple[float, float, bool]:
    """Least and greatest observed number, and whether all are whole. What is missing counts as 0, which is always allowed."""
    low, high, whole = math.inf, -math.inf, True
    for block in sequences.blocks():
        low, high = min(low, float(block.values.min())), max(high, float(block.values.max()))
        whole = whole and (block.values.dtype.kind in "bui" or bool(np.all(block.values == np.floor(block.values))))
    largest = max(-low, high)
    if largest > float(np.finfo(np.float32).max):
        raise BadInputError(
            f"Expected numbers that 32 bits can hold, up to 3.4e38, got {largest:g} in {sequences.name}: choose another unit, "
            f"or look whether this number stands for a missing one."
        )
    return low, high, whole


def _likelihood(config: SequencesOptions, sequences: AbstractSequences, low: float, high: float, whole: bool) -> str:
    name = config.likelihood
    if config.model == "linear-gaussian" and name not in ("auto", "gaussian"):
        raise BadInputError(f"Expected a gaussian likelihood for --model linear-gaussian, got {name}: leave it out.")
    if name == "auto":
        if config.model == "linear-gaussian":
            return "gaussian"
        if whole and low >= 0.0 and high <= 1.0:
            return "bernoulli"
        return "discretized-gaussian" if sequences.dtype == np.uint8 else "gaussian"
    _require_range(name, low, high, whole, sequences.name)
    return name


def _require_range(name: str, low: float, high: float, whole: bool, where: str) -> None:
    limits = {"bernoulli": 1.0, "discretized-gaussian": GREY_LEVELS - 1.0}
    if name in limits and not (whole and low >= 0.0 and high <= limits[name]):
        raise BadInputError(
            f"Expected whole numbers from 0 to {limits[name]:g} for a {name} likelihood, got numbers from {low:g} to "
            f"{high:g} in {where}: choose another likelihood."
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
