"""Look at a user's sequences: their shape, durations, likelihood and units, and whether others are like them."""

import math

import numpy as np

from ...data import (
    GREY_LEVELS,
    AbstractSequences,
    Frames,
    Rolls,
    SequenceFormat,
    SoundSequences,
    action_moments,
    require_shape,
    sequence_moments,
)
from ...results import BadInputError
from .._numbers import COUNTS, Range, Scaling, is_count, scan_range
from .._tables import Found, column_names, require_categories, require_likelihood, table_columns
from ._description import SequencesDescription
from ._options import SequencesOptions
from .models import AbstractNamedModel, named_model

_MOST_SYMBOLS = 4096
_EVEN = 0.05
"""Share of a step by which times may stray from equal distances, and by which the usual durations of two data sets may differ."""


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
    numbers, model = _range(sequences), named_model(options)
    name = model.fitting(sequences, numbers) if options.likelihood == "auto" else options.likelihood
    _require_range(name, numbers, sequences.name, _MOST_SYMBOLS)
    require_likelihood(sequences, name)
    uneven, unit = _durations(sequences)
    _require_steps(model, sequences, name, uneven)
    # One unit for all samples of a sound: they are measured alike.
    entries = () if isinstance(sequences, SoundSequences) else train.shape
    scaling = _scaling(train, entries, name, options.standardize, keep=model.framed)
    shape, actions = tuple(sequences.shape), sequences.action_shape
    return SequencesDescription(
        shape=shape,
        event_shape=shape if model.framed else () if name == "categorical" else (scaling.size,),
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


def _require_steps(model: AbstractNamedModel, sequences: AbstractSequences, likelihood: str, uneven: bool) -> None:
    """Steps that the model can take."""
    if likelihood == "categorical" and math.prod(sequences.shape) != 1:
        raise BadInputError(
            f"Expected one column for a categorical likelihood of sequences, got {math.prod(sequences.shape)} in "
            f"{sequences.name}: choose one with --columns."
        )
    if sequences.action_shape is not None and not model.takes_inputs:
        raise BadInputError(
            f"Expected no known inputs for --model {model.name}, got some in {sequences.name}: leave --action-columns out, or "
            f"choose another model."
        )
    if uneven and not model.takes_durations:
        raise BadInputError(
            f"Expected steps of one duration for --model {model.name} in {sequences.name}, got different ones: choose "
            f"--model continuous or a deep model, which take durations, or leave --time-column empty to count steps only."
        )
    if model.framed and (len(sequences.shape) not in (2, 3) or sequences.shape[:2] != (64, 64)):
        raise BadInputError(
            f"Expected frames of 64 x 64 for --model {model.name}, got steps of shape {sequences.shape} in {sequences.name}: pass "
            f"--frame-size 64,64, or choose another model."
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
