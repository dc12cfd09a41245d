"""Trees taken apart into what a file can hold: NumPy arrays, and a description in plain JSON.

A tree may hold arrays, typed random keys, Python numbers, strings and None. Containers made of tuples, lists, dicts
with string names and `NamedTuple`s are described completely and come back by themselves, where the module of the
`NamedTuple` is loaded. Anything else (an `eqx.Module`, an optimiser's state with functions in it) comes back only into a
tree of the same structure, `like`.
"""

import inspect
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ..results import CheckpointError
from ..typing import PyTree


def pack_tree(tree: PyTree) -> tuple[list[np.ndarray], dict[str, Any]]:
    """The numeric leaves of a tree in order, and a description in plain JSON.

    `leaves` has one record for each leaf: its path, kind, shape and data type. `skeleton` describes the containers; it is None
    if some container cannot be described.
    """
    arrays: list[np.ndarray] = []
    leaves: list[dict[str, Any]] = []
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        record = {"path": jax.tree_util.keystr(path), **_describe(leaf)}
        if "dtype" in record:
            array = np.asarray(jax.random.key_data(leaf) if record["kind"] == "key" else leaf)
            record |= {"index": len(arrays), "data_shape": list(array.shape), "data_dtype": str(array.dtype)}
            arrays.append(array)
        leaves.append(record)
    return arrays, {"leaves": leaves, "skeleton": _skeleton(tree)}


def unpack_tree(
    arrays: list[np.ndarray],
    leaves: list[dict[str, Any]],
    skeleton: Any,
    like: PyTree | Callable[[], PyTree] | None = None,
) -> PyTree:
    """Put together what `pack_tree` took apart; `like` as for `load_checkpoint`.

    Raises:
        CheckpointError: the structure differs from `like`, or there is no `like` and no skeleton.
    """
    values = [_restore(record, arrays) for record in leaves]
    if like is None:
        if skeleton is None:
            raise CheckpointError(
                "Expected a structure to restore into, got none, and this checkpoint holds modules or other containers "
                "that a file cannot describe. Pass `like=`: a tree of the same structure, or a function that builds it."
            )
        return _rebuild(skeleton, iter(values))
    # A module may be callable too, so "callable" would not tell a builder from a tree.
    builds = inspect.isroutine(like) or isinstance(like, partial)
    pairs, treedef = jax.tree_util.tree_flatten_with_path(eqx.filter_eval_shape(like) if builds else like)
    _compare([{"path": jax.tree_util.keystr(path), **_describe(leaf)} for path, leaf in pairs], leaves)
    merged = [
        leaf if record["kind"] == "static" else value
        for record, value, (_, leaf) in zip(leaves, values, pairs, strict=True)
    ]
    return jax.tree_util.tree_unflatten(treedef, merged)


def is_self_describing(tree: PyTree) -> bool:
    """Whether a checkpoint of the tree comes back without `like`."""
    return _skeleton(tree) is not None


def _describe(leaf: Any) -> dict[str, Any]:
    if isinstance(leaf, jax.Array | jax.ShapeDtypeStruct) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        # A ShapeDtypeStruct of keys has no values, but its data type knows the implementation.
        return {"kind": "key", "shape": list(leaf.shape), "dtype": str(leaf.dtype)}
    if isinstance(leaf, np.ndarray | np.generic):
        return {"kind": "numpy", "shape": list(leaf.shape), "dtype": str(leaf.dtype)}
    if isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        return {"kind": "array", "shape": list(leaf.shape), "dtype": str(leaf.dtype)}
    if isinstance(leaf, bool | int | float | str):
        return {"kind": "plain", "type": type(leaf).__name__, "value": leaf}
    return {"kind": "static", "type": f"{type(leaf).__module__}.{type(leaf).__qualname__}"}


def _restore(record: dict[str, Any], arrays: list[np.ndarray]) -> Any:
    if record["kind"] == "plain":
        return {"bool": bool, "int": int, "float": float}.get(record["type"], str)(record["value"])
    if record["kind"] == "static":
        return None
    array = arrays[record["index"]]
    if record["kind"] == "numpy":
        return array
    if record["kind"] == "key":
        # The data type prints as key<fry>; the tag between the brackets is not the name, so look the name up.
        return jax.random.wrap_key_data(jax.numpy.asarray(array), impl=_implementation(record["dtype"]))
    return jax.numpy.asarray(array)


def _implementation(dtype: str) -> str:
    for name in ("threefry2x32", "rbg", "unsafe_rbg"):
        if str(jax.eval_shape(lambda name=name: jax.random.key(0, impl=name)).dtype) == dtype:
            return name
    raise CheckpointError(f"Expected a random key of a kind that JAX knows, got {dtype}. Run the experiment again.")


def _compare(expected: list[dict[str, Any]], stored: list[dict[str, Any]]) -> None:
    advice = "The checkpoint belongs to another configuration or another version of the code: start a new run."
    if len(expected) != len(stored):
        raise CheckpointError(f"Expected a checkpoint with {len(expected)} leaves, got {len(stored)}. {advice}")
    for want, have in zip(expected, stored, strict=True):
        same_kind = want["kind"] == have["kind"] or {want["kind"], have["kind"]} == {"numpy", "array"}
        same_array = want.get("shape") == have.get("shape") and want.get("dtype") == have.get("dtype")
        if want["path"] != have["path"] or not same_kind or not same_array:
            raise CheckpointError(f"Expected the leaf {_show(want)}, got {_show(have)}. {advice}")


def _show(record: dict[str, Any]) -> str:
    what = f"{record['dtype']}{record['shape']}" if "dtype" in record else record.get("type", record["kind"])
    return f"{record['path'] or '(the tree itself)'}: {what}"


def _skeleton(tree: Any) -> Any:
    if tree is None:
        return {"kind": "none"}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        kind = type(tree)
        if "<locals>" in kind.__qualname__:
            return None
        return _container({"kind": "record", "class": f"{kind.__module__}:{kind.__qualname__}"}, tree)
    if type(tree) is tuple:
        return _container({"kind": "tuple"}, tree)
    if type(tree) is list:
        return _container({"kind": "list"}, tree)
    if type(tree) is dict:
        if not all(isinstance(name, str) for name in tree):
            return None
        names = sorted(tree)  # JAX flattens dicts in sorted order.
        return _container({"kind": "dict", "names": names}, [tree[name] for name in names])
    return {"kind": "leaf"} if _describe(tree)["kind"] != "static" else None


def _container(head: dict[str, Any], items: Any) -> Any:
    inner = [_skeleton(item) for item in items]
    return None if any(item is None for item in inner) else head | {"items": inner}


def _rebuild(skeleton: Any, values: Any) -> Any:
    kind = skeleton["kind"]
    if kind == "none":
        return None
    if kind == "leaf":
        return next(values)
    items = [_rebuild(item, values) for item in skeleton["items"]]
    if kind == "record":
        return _record_class(skeleton["class"])._make(items)
    if kind == "dict":
        return dict(zip(skeleton["names"], items, strict=True))
    return tuple(items) if kind == "tuple" else items


def _record_class(name: str) -> Any:
    """A class that is loaded already: a file must not be able to run code by naming a module."""
    module, _, qualified = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in qualified.split("."):
        found = getattr(found, part, None)
    if not (isinstance(found, type) and issubclass(found, tuple) and hasattr(found, "_fields")):
        raise CheckpointError(
            f"Expected {name}, which this checkpoint was written with, to be a loaded NamedTuple class, got {found!r}. "
            "Use the version of homeostat that wrote it, or start a new run."
        )
    return found
