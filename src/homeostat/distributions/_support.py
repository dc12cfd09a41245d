"""Whether observations can come from a distribution at all, checked on numbers that are known, before anything is compiled."""

import functools
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.core import Tracer
from numpyro.distributions import constraints

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
    """Where the entries of every head may lie; None where that depends on parameters."""
    if isinstance(distribution, Joint):
        return distribution.map(support_of)
    support = distribution.support
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return None if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(support)) else support


def emission_support(emission: Callable[[Model], Distribution], model: Model) -> PyTree[constraints.Constraint | None]:
    """`support_of(emission(model))`, traced once for each kind of model, and never computed.

    Args:
        emission: a function of a module, not a closure.
        model: whose emission it gives.
    """
    leaves, structure = jax.tree.flatten(model)
    kinds = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if hasattr(leaf, "dtype") else leaf for leaf in leaves]
    return _traced_support(emission, structure, tuple(kinds))


@functools.lru_cache(maxsize=128)
def _traced_support(
    emission: Callable[[Any], Distribution], structure: Hashable, kinds: tuple[Hashable, ...]
) -> PyTree:
    places = [index for index, kind in enumerate(kinds) if isinstance(kind, jax.ShapeDtypeStruct)]
    found: list[PyTree] = [None]

    def trace(arrays: list[Any]) -> None:
        leaves = list(kinds)
        for place, array in zip(places, arrays, strict=True):
            leaves[place] = array
        found[0] = support_of(emission(jax.tree.unflatten(structure, leaves)))

    try:
        jax.eval_shape(trace, [kinds[place] for place in places])
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
    """Raise if an entry that is known and not missing lies outside of the support.

    Args:
        support: of every head, from `support_of` or `emission_support`.
        value: observations, NaN where missing; traced ones are not looked at.
        observed: True where observed; besides NaN.
        axes: what their leading axes are called.

    Raises:
        BadInputError: one does; the message says which.
    """
    named, _ = jax.tree_util.tree_flatten_with_path(value)
    heads = jax.tree.leaves(support, is_leaf=lambda node: node is None or isinstance(node, constraints.Constraint))
    masks = jax.tree.leaves(observed) if observed is not None else [True] * len(named)
    if len(heads) != len(named) or any(isinstance(leaf, Tracer) for leaf in [*masks, *(leaf for _, leaf in named)]):
        return
    for head, (path, leaf), mask in zip(heads, named, masks, strict=True):
        if head is not None:
            _require(head, np.asarray(leaf), np.asarray(mask), jax.tree_util.keystr(path), axes)


def _require(
    support: constraints.Constraint, values: np.ndarray, mask: np.ndarray, name: str, axes: tuple[str, ...]
) -> None:
    fine = np.asarray(support(values)) | np.isnan(values) if values.dtype.kind == "f" else np.asarray(support(values))
    if fine.shape != values.shape or np.all(fine | ~mask):
        return
    index = tuple(int(i) for i in np.unravel_index(int(np.argmin(fine | ~mask)), fine.shape))
    place = [f"{axis} {number}" for axis, number in zip(axes, index, strict=False)]
    rest = index[len(axes) :]
    place += [f"entry {rest[0] if len(rest) == 1 else rest}"] if rest else []
    where = f" at {', '.join(place)} (from 0)" if place else ""
    raise BadInputError(
        f"Expected observations{name} that the model can emit, {_phrase(support)}, got {values[index]}{where}: check the data, or "
        f"mark what is missing (NaN, or `Masked`)."
    )


def _phrase(support: constraints.Constraint) -> str:
    low, high = getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)
    kind = "whole numbers" if support.is_discrete else "numbers"
    span = repr(support) if low is None or high is None else f"{kind} from {low} to {high}"
    return next((phrase for known, phrase in PHRASES if support is known), span)
