"""`scan`: a loop over time or iterations whose carry may hold modules, and that says what a body changed in it."""

from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

from .results import BadInputError
from .typing import PyTree

Carry = TypeVar("Carry")


class _OtherTypeError(Exception):
    """The body returned a carry of other data types than it was given."""

    def __init__(self, dtypes: list[Any]):
        super().__init__()
        self.dtypes = dtypes


def scan(
    body: Callable[[Carry, Any], tuple[Carry, Any]],
    init: Carry,
    xs: PyTree = None,
    *,
    length: int | None = None,
    unroll: int = 1,
    name: str = "the carry of a loop",
    hint: str = "give the carry its final structure before the loop; numbers that change must be arrays.",
) -> tuple[Carry, PyTree]:
    """`jax.lax.scan` with a carry of any tree: what is no array in it stays as it is at the start.

    A start without weak types; if the body returns other data types than it is given, the start is cast to them.

    Args:
        body: maps a carry and an entry of `xs` to the next carry and an output.
        init: the first carry.
        xs: arrays with a leading axis to loop over.
        length: number of steps, where `xs` is None.
        unroll: steps that are compiled one after the other instead of in a loop.
        name: what a message calls the carry.
        hint: end of that message: what to do.

    Raises:
        BadInputError: the body changes the structure of the carry or a shape in it.
    """
    start, static = eqx.partition(init, eqx.is_array)

    def run(arrays: PyTree, attempts: int) -> tuple[PyTree, PyTree]:
        before = [leaf.dtype for leaf in jax.tree.leaves(arrays)]

        def one(arrays: PyTree, x: Any) -> tuple[PyTree, Any]:
            after, output = body(eqx.combine(arrays, static), x)
            moved = eqx.filter(after, eqx.is_array)
            _require_same(arrays, moved, name, hint)
            dtypes = [leaf.dtype for leaf in jax.tree.leaves(moved)]
            if dtypes != before:
                raise _OtherTypeError(dtypes)
            return strong(moved), output

        try:
            return jax.lax.scan(one, arrays, xs, length=length, unroll=unroll)
        except _OtherTypeError as error:
            after = error.dtypes
        if not attempts:
            raise BadInputError(f"Expected {name} to keep data types, got {before}, then {after}; {hint}")
        leaves, structure = jax.tree.flatten(arrays)
        cast = [leaf.astype(dtype) for leaf, dtype in zip(leaves, after, strict=True)]
        return run(jax.tree.unflatten(structure, cast), attempts - 1)

    # One type may depend on another, which has to be cast before it.
    arrays, outputs = run(strong(start), attempts=2)
    return eqx.combine(arrays, static), outputs


def strong(tree: PyTree) -> PyTree:
    """The tree with no array of a weak type, which would change after the first step of a loop."""

    def one(leaf: Any) -> Any:
        known = eqx.is_array(leaf) and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return jax.lax.convert_element_type(leaf, leaf.dtype) if known else leaf

    return jax.tree.map(one, tree)


def _require_same(before: PyTree, after: PyTree, name: str, hint: str) -> None:
    """Refuse a carry whose structure or shapes have changed.

    Raises:
        BadInputError: in one sentence, what changed first.
    """
    paths, structure = jax.tree_util.tree_flatten_with_path(before)
    others, other = jax.tree_util.tree_flatten_with_path(after)
    described = [
        [f"{jax.tree_util.keystr(path)} of shape {jnp.shape(leaf)}" for path, leaf in leaves]
        for leaves in (paths, others)
    ]
    if structure == other and described[0] == described[1]:
        return
    changes = [f"{a} became {b}" for a, b in zip(*described, strict=False) if a != b]
    what = changes[0] if changes else f"{structure} became {other}"
    raise BadInputError(f"Expected {name} to keep its structure, got a change: {what}; {hint}")
