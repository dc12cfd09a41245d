"""Gymnasium spaces for actions and observations, and the way between the two sides."""

from typing import Any

import gymnasium
import jax
import numpy as np

from ...results import BadInputError
from ...typing import PyTree
from .._specs import Bounded


def space_of(spec: PyTree[Bounded]) -> gymnasium.Space:
    """The Gymnasium space of a specification.

    Whole numbers become `Discrete` or `MultiDiscrete`, counted from zero; real ones a `Box`; a named tuple a `Dict`.
    """
    if not isinstance(spec, Bounded):
        return gymnasium.spaces.Dict({name: space_of(part) for name, part in by_name(spec).items()})
    if not spec.whole:
        return gymnasium.spaces.Box(float(spec.low), float(spec.high), spec.shape, np.float32)
    levels = int(spec.high - spec.low) + 1
    if not spec.shape:
        return gymnasium.spaces.Discrete(levels)
    return gymnasium.spaces.MultiDiscrete(np.full(spec.shape, levels))


def by_name(record: Any) -> dict[str, Any]:
    """The fields of a named tuple."""
    return record._asdict()


def decode_action(action: Any, space: gymnasium.Space, spec: Bounded) -> np.ndarray:
    """From a member of the space to the world's action: whole numbers are counted from `spec.low` again.

    Raises:
        BadInputError: the action is not in the space.
    """
    value = None
    try:
        value = np.asarray(action)
        if spec.whole and np.issubdtype(value.dtype, np.integer):
            fits = value.shape == spec.shape and bool(np.all((value >= 0) & (value <= spec.high - spec.low)))
        else:
            is_number = np.issubdtype(value.dtype, np.number) and not spec.whole
            fits = is_number and value.shape == spec.shape and bool(np.all((value >= spec.low) & (value <= spec.high)))
    except (TypeError, ValueError):
        fits = False
    if value is None or not fits:
        note = " (0, 1, 2 mean -1, 0, +1)" if spec.whole and (spec.low, spec.high) == (-1, 1) else ""
        raise BadInputError(f"Expected an action in {space}{note}, got {action!r}.")
    return np.asarray(value + int(spec.low), np.int32) if spec.whole else np.asarray(value, np.float32)


def to_numpy(observation: PyTree, *, copy: bool = True) -> Any:
    """NumPy arrays of an observation; a named tuple becomes a dictionary.

    Args:
        observation: an array or a named tuple of arrays.
        copy: whether to return writable copies. Without, arrays are read-only, and large ones cost nothing.
    """
    if isinstance(observation, tuple):
        return {name: to_numpy(part, copy=copy) for name, part in by_name(observation).items()}
    return np.array(observation, np.float32) if copy else np.asarray(observation, np.float32)


def facts_to_numpy(facts: dict[str, jax.Array]) -> dict[str, np.ndarray]:
    """New arrays for an `info` dictionary."""
    return {name: np.array(value) for name, value in facts.items()}


def to_rgb(picture: jax.Array) -> np.ndarray:
    """A picture in [0, 1] as 8-bit red, green and blue."""
    grey = np.asarray(picture, np.float32)
    colour = grey if grey.ndim == 3 else np.repeat(grey[:, :, None], 3, axis=2)
    return np.rint(255 * np.clip(colour, 0, 1)).astype(np.uint8)
