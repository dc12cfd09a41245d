"""Observations as vectors, and actions of policies as those of a world."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..core import Bounded, map_spec
from ..typing import Action, Array, Float, Observation, PyTree

MOST_ALTERNATIVES = 1000
"""Whole numbers with at most so many values between their bounds are choices, and become indicators."""


def flat_size(spec: PyTree[Bounded]) -> int:
    """Length of `flat_state`."""
    return sum(_size(leaf) for leaf in _leaves(spec))


def flat_state(spec: PyTree[Bounded], observation: Observation) -> Float[Array, " n"]:
    """One vector of an observation, whatever it is made of.

    One whole number between bounds is a choice, and becomes an indicator of each alternative; arrays of 8-bit whole numbers are
    pictures, and come in [0, 1].

    Args:
        spec: of observations.
        observation: one of them.
    """
    parts = jax.tree.leaves(map_spec(_flat, spec, observation))
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts)


def to_action(spec: Bounded, action: Array) -> Action:
    """An action of the world from a policy's: its shape, and whole numbers from the lowest on."""
    if spec.whole:
        return action.astype(jnp.int32) + int(spec.low)
    return action.reshape(spec.shape)


def _flat(spec: Bounded, value: Array) -> Float[Array, " n"]:
    value = jnp.asarray(value)
    if _is_choice(spec):
        return jax.nn.one_hot(value - int(spec.low), _size(spec), dtype=jnp.float32)
    scale = 1.0 / 255.0 if value.dtype == jnp.uint8 else 1.0
    return scale * value.astype(jnp.float32).ravel()


def _is_choice(spec: Bounded) -> bool:
    if not spec.whole or spec.shape or not np.all(np.isfinite([spec.low, spec.high])):
        return False
    return int(spec.high) - int(spec.low) < MOST_ALTERNATIVES


def _size(spec: Bounded) -> int:
    return int(spec.high) - int(spec.low) + 1 if _is_choice(spec) else math.prod(spec.shape)


def _leaves(spec: PyTree[Bounded]) -> list[Any]:
    return jax.tree.leaves(spec, is_leaf=lambda node: isinstance(node, Bounded))
