"""Checks of sequences, before anything is computed from them."""

from collections.abc import Sequence as Listed
from typing import NamedTuple

import numpy as np

from ..results import BadInputError
from ..typing import Any

_BLOCK_BYTES = 1 << 25


class SequenceParts(NamedTuple):
    """Sequences as one array each.

    Attributes:
        values: arrays of shape (T_i, *shape).
        observed: booleans of shape (T_i, *shape) or (T_i,), or `None`.
        times: arrays of shape (T_i,), or `None`.
        actions: arrays of shape (T_i - 1, *action_shape), or `None`.
    """

    name: str
    values: tuple[np.ndarray, ...]
    observed: tuple[np.ndarray, ...] | None
    times: tuple[np.ndarray, ...] | None
    actions: tuple[np.ndarray, ...] | None
    labels: tuple[str, ...]

    @staticmethod
    def of(
        name: str,
        values: np.ndarray | Listed[Any],
        lengths: Any,
        observed: Any,
        times: Any,
        actions: Any,
        labels: Listed[str] | None,
    ) -> "SequenceParts":
        """Cut padded arrays into sequences, and see that there are as many of everything."""
        count = len(values)
        if count == 0:
            raise BadInputError(f"Expected at least one sequence in {name}, got none: pass some data.")
        called = tuple(str(number) for number in range(count)) if labels is None else tuple(labels)
        if len(called) != count:
            raise BadInputError(f"Expected {count} labels for {name}, one a sequence, got {len(called)}: pass as many.")
        if isinstance(values, np.ndarray):
            cut = _cut_padded(name, values, lengths, observed, times, actions)
            return SequenceParts(name, *cut, called)
        if lengths is not None:
            raise BadInputError(
                f"Expected no lengths beside a list of arrays in {name}, whose lengths are its own: leave them out, or "
                f"pass one padded array."
            )
        others = [None if more is None else tuple(map(np.asanyarray, more)) for more in (observed, times, actions)]
        for what, more in zip(("masks", "arrays of times", "arrays of actions"), others, strict=True):
            if more is not None and len(more) != count:
                raise BadInputError(f"Expected {count} {what} in {name}, one for each sequence, got {len(more)}.")
        masks, moments, inputs = others
        inputs = None if inputs is None else tuple(map(_columns, inputs))
        return SequenceParts(name, tuple(map(_columns, map(np.asanyarray, values))), masks, moments, inputs, called)


def _columns(array: np.ndarray) -> np.ndarray:
    """Single numbers become vectors of one, so that a step always has a shape."""
    return array[:, None] if array.ndim == 1 else array


def _cut_padded(name: str, values: np.ndarray, lengths: Any, observed: Any, times: Any, actions: Any) -> tuple:
    if values.ndim < 2:
        raise BadInputError(
            f"Expected a padded array of shape (sequences, steps, ...) in {name}, or a list of arrays, got the shape "
            f"{values.shape}: reshape it."
        )
    count, longest = values.shape[:2]
    mask = None if observed is None else np.asarray(observed)
    if mask is not None and mask.shape not in ((count, longest), values.shape):
        raise BadInputError(
            f"Expected a mask of shape {(count, longest)} or {values.shape} in {name}, got the shape {mask.shape}: make it like "
            f"the values, true where a number was observed."
        )
    sizes = _lengths(name, count, longest, lengths, mask)
    moments = None
    if times is not None:
        moments = np.asarray(times)
        if moments.shape == (longest,):
            moments = np.broadcast_to(moments, (count, longest))
        if moments.shape != (count, longest):
            raise BadInputError(
                f"Expected times of shape {(count, longest)} or {(longest,)} in {name}, got the shape {np.shape(times)}: pass "
                f"one time for each step."
            )
    inputs = None if actions is None else np.asanyarray(actions)
    if inputs is not None and inputs.shape[:2] != (count, longest - 1):
        raise BadInputError(
            f"Expected actions of shape {(count, longest - 1)} and further axes in {name}, one between every two steps, got "
            f"the shape {inputs.shape}: leave out the action after the last step."
        )

    def cut(array: np.ndarray | None, ends: np.ndarray = sizes) -> tuple[np.ndarray, ...] | None:
        return None if array is None else tuple(one[:end] for one, end in zip(array, ends, strict=True))

    inputs = cut(inputs, np.maximum(sizes - 1, 0))
    inputs = None if inputs is None else tuple(map(_columns, inputs))
    return tuple(map(_columns, cut(values) or ())), cut(mask), cut(moments), inputs


def _lengths(name: str, count: int, longest: int, lengths: Any, mask: np.ndarray | None) -> np.ndarray:
    seen = None if mask is None else mask.reshape(count, longest, -1).astype(bool).any(axis=2)
    if lengths is None:
        if seen is None:
            return np.full(count, longest)
        # The last step of which anything was observed; 0 where nothing was.
        return np.where(np.any(seen, axis=1), longest - np.argmax(np.flip(seen, axis=1), axis=1), 0)
    sizes: np.ndarray = np.asarray(lengths)
    whole = sizes.shape == (count,) and sizes.dtype.kind in "iuf" and bool(np.all(sizes == np.floor(sizes)))
    if not whole or sizes.min() < 0 or sizes.max() > longest:
        raise BadInputError(
            f"Expected {count} lengths in {name}, whole numbers up to the {longest} steps of the padded array, got "
            f"{sizes.dtype} of shape {sizes.shape}"
            + (f" from {sizes.min()} to {sizes.max()}." if sizes.size and sizes.dtype.kind in "iuf" else ".")
        )
    if seen is not None:
        outside: np.ndarray = np.arange(longest)[None, :] >= sizes.reshape(-1, 1)
        beyond = seen & outside
        if beyond.any():
            row, step = np.argwhere(beyond)[0]
            raise BadInputError(
                f"Expected a mask that is false beyond the lengths in {name}, but sequence {row} (from 0) has "
                f"{int(sizes[row])} steps and step {step} counts as observed: correct the mask or the lengths."
            )
    return sizes.astype(np.int64)


def check_parts(parts: SequenceParts, columns: Listed[str] = ()) -> None:
    """Check every sequence, reading every number once; `columns` are names of the entries, for messages."""
    first = parts.values[0]
    for number, values in enumerate(parts.values):
        where = f"sequence {parts.labels[number]!r} (number {number} from 0) of {parts.name}"
        if values.dtype.kind not in "buif":
            raise BadInputError(f"Expected numbers in {where}, got the type {values.dtype}: convert them.")
        if values.shape[1:] != first.shape[1:] or values.dtype != first.dtype:
            raise BadInputError(
                f"Expected steps of one shape and type in {parts.name}, {first.shape[1:]} and {first.dtype} as in its "
                f"first sequence, got {values.shape[1:]} and {values.dtype} in {where}."
            )
        if len(values) < 2 or values.size == 0:
            raise BadInputError(
                f"Expected at least two steps of at least one number in every sequence, got the shape {values.shape} in "
                f"{where}: one step alone says nothing about change. Leave the sequence out."
            )
        _check_values(where, values, None if parts.observed is None else parts.observed[number], columns)
        if parts.times is not None:
            check_times(where, parts.times[number], len(values))
        if parts.actions is not None:
            _check_actions(where, parts.actions[number], parts.actions[0], len(values))


def _check_values(where: str, values: np.ndarray, observed: np.ndarray | None, columns: Listed[str]) -> None:
    if observed is not None:
        if observed.shape not in (values.shape[:1], values.shape):
            raise BadInputError(
                f"Expected a mask of shape {values.shape} or {values.shape[:1]} for {where}, got {observed.shape}: make it "
                f"like the values, true where a number was observed."
            )
        if observed.dtype != bool and not bool(np.all((observed == 0) | (observed == 1))):
            raise BadInputError(f"Expected a mask of booleans for {where}, got {observed.dtype} that are not 0 or 1.")
    any_seen = False
    most = max(1, _BLOCK_BYTES // max(1, values[0].nbytes))
    for start in range(0, len(values), most):
        block = values[start : start + most]
        seen = None if observed is None else observed[start : start + most].astype(bool)
        if seen is not None:
            seen = np.broadcast_to(seen.reshape(seen.shape + (1,) * (block.ndim - seen.ndim)), block.shape)
        if block.dtype.kind == "f":
            # Without a mask NaN says that a number is missing.
            wrong = np.isinf(block) if seen is None else ~np.isfinite(block) & seen
            if wrong.any():
                place = np.argwhere(wrong)[0]
                step, entry = start + int(place[0]), ", ".join(map(str, place[1:].tolist()))
                at = (
                    f"{step} (from 0), column {columns[place[1]]}"
                    if columns
                    else f"{step}, entry {entry} (both from 0)"
                )
                mark = "leave the cell empty" if columns else "mark it as missing (NaN without a mask, false in a mask)"
                raise BadInputError(
                    f"Expected finite numbers where something was observed, got {block[tuple(place)]:g} in step {at} of {where}: "
                    f"correct it, or {mark}."
                )
            seen = ~np.isnan(block) if seen is None else seen
        any_seen = any_seen or seen is None or bool(seen.any())
    if not any_seen:
        raise BadInputError(
            f"Expected at least one observed number in every sequence, got none in {where}: leave the sequence out."
        )


def check_times(where: str, times: np.ndarray, length: int) -> None:
    """Check that times are finite and rise strictly."""
    if times.shape != (length,) or times.dtype.kind not in "iuf":
        raise BadInputError(
            f"Expected {length} times for {where}, one a step, got {times.dtype} of shape {times.shape}."
        )
    if not np.isfinite(times).all():
        step = int(np.argmax(~np.isfinite(times)))
        raise BadInputError(f"Expected finite times, got {times[step]} in step {step} (from 0) of {where}: correct it.")
    # Compared, not subtracted: the difference of unsigned numbers never is negative.
    falls = times[1:] <= times[:-1]
    if falls.any():
        step = int(np.argmax(falls)) + 1
        again = times[step] == times[step - 1]
        raise BadInputError(
            f"Expected times that rise from step to step, got {times[step]:g} after {times[step - 1]:g} in step {step} "
            f"(from 0) of {where}: "
            + ("two steps have the same time; join them or drop one." if again else "sort the steps by time.")
        )


def _check_actions(where: str, actions: np.ndarray, first: np.ndarray, length: int) -> None:
    if actions.ndim < 2 or len(actions) != length - 1:
        raise BadInputError(
            f"Expected {length - 1} actions, vectors or larger, for {where}, one between every two of its {length} steps, "
            f"got the shape {actions.shape}: leave out the action after the last step."
        )
    if actions.dtype.kind not in "buif" or actions.shape[1:] != first.shape[1:] or actions.dtype != first.dtype:
        raise BadInputError(
            f"Expected actions of shape {first.shape[1:]} and type {first.dtype}, as in the first sequence, for {where}, "
            f"got {actions.shape[1:]} and {actions.dtype}."
        )
    if not np.isfinite(actions).all():
        place = np.argwhere(~np.isfinite(actions))[0]
        raise BadInputError(
            f"Expected known actions, got {actions[tuple(place)]:g} in the action after step {int(place[0])} (from 0) of "
            f"{where}: fill it in. (What was not known belongs to the observations.)"
        )
