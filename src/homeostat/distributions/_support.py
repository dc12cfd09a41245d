"""Whether observations can come from a distribution at all, checked on numbers that are known, before anything is compiled."""

import functools
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.core import Tracer
from numpyro.distributions import constraints
from numpyro.distributions.distribution import validation_enabled

from ..results import BadInputError
from ..typing import Distribution, Observation, PyTree
from ._composite import Joint

Model = TypeVar("Model")

PHRASES = (
    (constraints.boolean, "0 or 1"),
    (constraints.real, "finite numbers"),
    (constraints.nonnegative, "numbers from 0"),
    (constraints.positive, "numbers above 0"),
    (constraints.nonnegative_integer, "whole numbers from 0"),
)
"""What messages call a support that is one of a kind."""


def support_of(distribution: Distribution) -> PyTree[constraints.Constraint | None]:
    """Where the entries of every head may lie; None where that depends on parameters, and so perhaps on the state."""
    if isinstance(distribution, Joint):
        return distribution.map(support_of)
    support = distribution.support
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return None if any(isinstance(leaf, jax.Array | np.ndarray) for leaf in jax.tree.leaves(support)) else support


def require_emission(
    emission: Callable[[Model], Distribution],
    model: Model,
    value: Observation,
    observed: PyTree | None = None,
    axes: tuple[str, ...] = (),
) -> None:
    """Raise if an observation that is known and not missing lies outside of what a model can emit.

    Args:
        emission: gives p(x | z) of a model for some z; traced once for each kind of model and never computed, so no closure.
        model: the model.
        value: observations with leading `axes`, NaN where missing; traced ones are not looked at.
        observed: True where observed; besides NaN.
        axes: what the leading axes are called.

    Raises:
        BadInputError: one does; the message says which.
    """
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((value, observed))):
        return
    leaves, structure = jax.tree.flatten(model)
    kinds = tuple((leaf.shape, leaf.dtype) if hasattr(leaf, "dtype") else leaf for leaf in leaves)
    places = tuple(place for place, leaf in enumerate(leaves) if hasattr(leaf, "dtype"))
    require_support(_traced_support(emission, structure, kinds, places), value, observed, axes)


@functools.lru_cache(maxsize=128)
def _traced_support(
    emission: Callable[[Any], Distribution], structure: Hashable, kinds: tuple[Any, ...], places: tuple[int, ...]
) -> PyTree:
    found: list[PyTree] = [None]

    def trace(arrays: list[Any]) -> None:
        leaves = list(kinds)
        for place, array in zip(places, arrays, strict=True):
            leaves[place] = array
        found[0] = support_of(emission(jax.tree.unflatten(structure, leaves)))

    try:
        # Numpyro would run its checks of parameters, one small program for each operation in them.
        with validation_enabled(False):
            jax.eval_shape(trace, [jax.ShapeDtypeStruct(*kinds[place]) for place in places])
    except Exception:
        # What is wrong with a model is said by the verb that runs it.
        return None
    return found[0]


def require_support(
    support: PyTree[constraints.Constraint | None],
    value: Observation,
    observed: PyTree | None = None,
    axes: tuple[str, ...] = (),
) -> None:
    """The same for a support that is known, from `support_of`."""
    leaves = jax.tree.leaves(value)
    heads = jax.tree.leaves(support, is_leaf=lambda node: node is None or isinstance(node, constraints.Constraint))
    masks = jax.tree.leaves(observed) if observed is not None else [True] * len(leaves)
    if len(heads) != len(leaves) or any(isinstance(leaf, Tracer) for leaf in (*leaves, *masks)):
        return
    for number, (head, leaf, mask) in enumerate(zip(heads, leaves, masks, strict=True)):
        if head is None:
            continue
        values = np.asarray(leaf)
        wrong = _outside(head, values) & np.asarray(mask)
        if np.any(wrong):
            name = jax.tree_util.keystr(jax.tree_util.tree_leaves_with_path(value)[number][0])
            raise _refusal(head, values, wrong, name, axes)


def _outside(support: constraints.Constraint, values: np.ndarray) -> np.ndarray:
    fine = np.asarray(support(values))
    if fine.shape != values.shape:
        # A property of a whole vector, such as being a simplex.
        return np.zeros(values.shape, bool)
    return np.asarray(~fine & (values == values))  # NaN is missing.


def _refusal(
    support: constraints.Constraint, values: np.ndarray, wrong: np.ndarray, name: str, axes: tuple[str, ...]
) -> BadInputError:
    index = tuple(int(number) for number in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
    place = [f"{axis} {number}" for axis, number in zip(axes, index, strict=False)]
    rest = index[len(axes) :]
    place += [f"entry {rest[0] if len(rest) == 1 else rest}"] if rest else []
    where = f" at {', '.join(place)} (from 0)" if place else ""
    return BadInputError(
        f"Expected observations{name} that the model can emit, {_phrase(support)}, got {values[index]}{where}: check the data, or "
        f"mark what is missing (NaN, or `Masked`)."
    )


def _phrase(support: constraints.Constraint) -> str:
    low, high = getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)
    kind = "whole numbers" if support.is_discrete else "numbers"
    span = repr(support) if low is None or high is None else f"{kind} from {low} to {high}"
    return next((phrase for known, phrase in PHRASES if support is known), span)
