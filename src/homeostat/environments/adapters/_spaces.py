"""Gymnasium spaces for specs, specs for spaces, and values between the two sides."""

from typing import Any

import gymnasium
import jax
import numpy as np

from ...core import Bounded, map_spec
from ...results import BadInputError
from ...typing import PyTree


def space_of(spec: PyTree[Bounded]) -> gymnasium.Space:
    """The Gymnasium space of a spec.

    Whole numbers between bounds become `Discrete` or `MultiDiscrete`, counted from zero; other numbers a `Box`; a named tuple or a
    dictionary a `Dict`, any other tuple or list a `Tuple`.
    """
    if not isinstance(spec, Bounded):
        parts = _children(spec)
        if isinstance(parts, dict):
            return gymnasium.spaces.Dict({name: space_of(part) for name, part in parts.items()})
        return gymnasium.spaces.Tuple(tuple(space_of(part) for part in parts))
    low, high = _bounds(spec)
    if not spec.whole:
        return gymnasium.spaces.Box(low.astype(np.float32), high.astype(np.float32), spec.shape, np.float32)
    if not _counted(spec):
        ends = np.iinfo(np.int64)
        whole = [np.clip(end, -(2.0**62), 2.0**62).astype(np.int64) for end in (low, high)]
        whole = [
            np.where(np.isfinite(a), b, end) for a, b, end in zip((low, high), whole, (ends.min, ends.max), strict=True)
        ]
        return gymnasium.spaces.Box(whole[0], whole[1], spec.shape, np.int64)
    levels = (high - low).astype(np.int64) + 1
    return gymnasium.spaces.MultiDiscrete(levels) if spec.shape else gymnasium.spaces.Discrete(int(levels))


def spec_of(space: gymnasium.Space) -> PyTree[Bounded]:
    """The spec of a Gymnasium space, with the space's own values (a `Discrete` counts from its start).

    Raises:
        BadInputError: the space has no fixed shape (text, graphs, sequences).
    """
    match space:
        case gymnasium.spaces.Dict():
            return {name: spec_of(part) for name, part in space.spaces.items()}
        case gymnasium.spaces.Tuple():
            return tuple(spec_of(part) for part in space.spaces)
        case gymnasium.spaces.Box():
            if np.issubdtype(space.dtype, np.floating):
                return Bounded(space.shape, _bound(space.low), _bound(space.high))
            ends = np.iinfo(space.dtype)
            low = np.where(space.low == ends.min, -np.inf, space.low) if ends.bits > 16 else space.low
            high = np.where(space.high == ends.max, np.inf, space.high) if ends.bits > 16 else space.high
            return Bounded(space.shape, _bound(low), _bound(high), True)
        case gymnasium.spaces.Discrete():
            return Bounded((), int(space.start), int(space.start + space.n) - 1, True)
        case gymnasium.spaces.MultiDiscrete():
            return Bounded(space.shape, _bound(space.start), _bound(space.start + space.nvec - 1), True)
        case gymnasium.spaces.MultiBinary():
            return Bounded(space.shape, 0, 1, True)
        case _:
            raise BadInputError(f"Expected a space of arrays of fixed shape, or of such spaces, got {space}.")


def decode_action(action: Any, space: gymnasium.Space, spec: PyTree[Bounded]) -> PyTree:
    """From a member of the space to the world's action: whole numbers are counted from `spec.low` again.

    Raises:
        BadInputError: the action is not in the space.
    """
    if not isinstance(spec, Bounded):
        parts, spaces = _children(spec), space.spaces  # pyright: ignore[reportAttributeAccessIssue]
        names = list(parts) if isinstance(parts, dict) else list(range(len(parts)))
        try:
            chosen = [decode_action(action[name], spaces[name], parts[name]) for name in names]
        except (KeyError, IndexError, TypeError) as error:
            raise BadInputError(f"Expected an action in {space}, got {action!r}.") from error
        structure = jax.tree.structure(spec, is_leaf=lambda node: isinstance(node, Bounded))
        return jax.tree.unflatten(structure, jax.tree.leaves(chosen))
    value, (low, high) = None, _bounds(spec)
    try:
        value = np.asarray(action)
        kind = np.integer if spec.whole else np.number
        first, last = (np.zeros_like(low), high - low) if _counted(spec) else (low, high)
        fits = value.shape == spec.shape and np.issubdtype(value.dtype, kind)
        fits = fits and bool(np.all((value >= first) & (value <= last)))
    except (TypeError, ValueError):
        fits = False
    if value is None or not fits:
        note = " (0, 1, 2 mean -1, 0, +1)" if spec.whole and (spec.low, spec.high) == (-1, 1) else ""
        raise BadInputError(f"Expected an action in {space}{note}, got {action!r}.")
    shift = low.astype(np.int64) if _counted(spec) else 0
    return np.asarray(value + shift, np.int32) if spec.whole else np.asarray(value, np.float32)


def to_world(action: PyTree, spec: PyTree[Bounded]) -> PyTree:
    """`decode_action` without checks, for arrays that may be traced."""
    return map_spec(lambda one, a: a + _bounds(one)[0].astype(np.int32) if _counted(one) else a, spec, action)


def to_space(observation: PyTree, spec: PyTree[Bounded], *, copy: bool = True) -> Any:
    """A member of the space from an observation: NumPy arrays, dictionaries for named tuples, whole numbers from zero.

    Args:
        observation: arrays, possibly with leading axes.
        copy: whether to return writable copies. Without, arrays are read-only, and large ones cost nothing.
    """
    if not isinstance(spec, Bounded):
        parts, values = _children(spec), _children(observation)
        if isinstance(parts, dict):
            return {name: to_space(values[name], part, copy=copy) for name, part in parts.items()}
        return tuple(to_space(value, part, copy=copy) for value, part in zip(values, parts, strict=True))
    convert = np.array if copy else np.asarray
    if not spec.whole:
        return convert(observation, np.float32)
    value = np.array(observation, np.int64)
    return value - _bounds(spec)[0].astype(np.int64) if _counted(spec) else value


def by_name(record: Any) -> Any:
    """A dictionary of the fields of a named tuple; anything else as it is."""
    return record._asdict() if hasattr(record, "_asdict") else record


def to_rgb(picture: jax.Array) -> np.ndarray:
    """A picture in [0, 1] as 8-bit red, green and blue."""
    grey = np.asarray(picture, np.float32)
    colour = grey if grey.ndim == 3 else np.repeat(grey[:, :, None], 3, axis=2)
    return np.rint(255 * np.clip(colour, 0, 1)).astype(np.uint8)


def _children(node: Any) -> Any:
    named = by_name(node)
    # The order of a dictionary's leaves in a tree is that of its sorted keys.
    return {name: node[name] for name in sorted(node)} if isinstance(node, dict) else named


def _bounds(spec: Bounded) -> tuple[np.ndarray, np.ndarray]:
    low, high = (np.broadcast_to(np.asarray(end, np.float64), spec.shape) for end in (spec.low, spec.high))
    return low, high


def _counted(spec: Bounded) -> bool:
    """Whether elements are whole numbers between two bounds."""
    return spec.whole and all(bool(np.all(np.isfinite(end))) for end in _bounds(spec))


def _bound(values: np.ndarray) -> Any:
    """One number where all are equal, else nested tuples."""
    values = np.asarray(values)
    if values.size and np.all(values == values.flat[0]):
        return values.flat[0].item()
    return _nested(values.tolist())


def _nested(values: Any) -> Any:
    return tuple(_nested(value) for value in values) if isinstance(values, list) else values
