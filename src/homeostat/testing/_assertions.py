"""Assertions on trees of arrays, and the transform laws: one trace, vmap = loop, jit = no jit, same structure."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..typing import Array, Float, PyTree
from ._tolerances import Tolerances


def assert_close(got: PyTree, expected: PyTree, tolerance: float, law: str) -> None:
    """Two trees have the same structure and the same numbers up to `tolerance * max(1, |number|)`.

    Args:
        got: the tree to check.
        expected: what it should be.
        tolerance: relative above one, absolute below. A leaf of lower precision gets 64 of its rounding errors, unless the
            tolerance is zero.
        law: the sentence that is being checked; it opens the message.
    """
    assert_same_structure(got, expected, law)
    for path, a, b in _pairs(got, expected):
        allowed = max(tolerance, 64.0 * _rounding(b)) if tolerance > 0.0 else 0.0
        error = np.abs(_numeric(a) - _numeric(b)) / np.maximum(1.0, np.abs(_numeric(b)))
        # Equal infinities and two NaNs in one place agree; the laws on finiteness are apart.
        agree = (error <= allowed) | (a == b) | ((a != a) & (b != b))
        if not np.all(agree):
            # A number beside a NaN differs by NaN.
            worst = float(np.max(np.where(agree, 0.0, error)))
            raise AssertionError(f"{law}: expected agreement to {allowed:g}, got a difference of {worst:g}{path}.")


def assert_finite(tree: PyTree, law: str) -> None:
    """Every floating-point leaf is finite."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(eqx.filter(tree, eqx.is_inexact_array))[0]:
        if not np.all(np.isfinite(leaf)):
            count = int(np.sum(~np.isfinite(leaf)))
            raise AssertionError(
                f"{law}: expected finite numbers, got {count} of {leaf.size} non-finite{_where(path)}."
            )


def assert_same_structure(got: PyTree, expected: PyTree, law: str) -> None:
    """Two trees have the same containers, and leaves of the same shapes and data types."""
    if jax.tree.structure(got) != jax.tree.structure(expected):
        raise AssertionError(
            f"{law}: expected the structure {jax.tree.structure(expected)}, got {jax.tree.structure(got)}."
        )
    expected_leaves = jax.tree.leaves(expected)
    for (path, a), b in zip(jax.tree_util.tree_flatten_with_path(got)[0], expected_leaves, strict=True):
        if eqx.is_array_like(b) and (jnp.shape(a), jnp.result_type(a)) != (jnp.shape(b), jnp.result_type(b)):
            raise AssertionError(
                f"{law}: expected shape {jnp.shape(b)} and type {jnp.result_type(b)}, got {jnp.shape(a)} and "
                f"{jnp.result_type(a)}{_where(path)}."
            )


def assert_zero_mean(samples: Float[Array | np.ndarray, "n ..."], standard_errors: float, law: str) -> None:
    """The mean of independent samples is zero within `standard_errors` of its standard errors, entry by entry."""
    values = np.asarray(samples, np.float64)
    mean = values.mean(0)
    error = values.std(0, ddof=1) / np.sqrt(values.shape[0])
    # Rounding: an entry that is identically zero in theory has neither mean nor error beyond it.
    rounding = np.finfo(np.asarray(samples).dtype).eps * np.abs(values).max(initial=1.0)
    excess = np.abs(mean) - standard_errors * error - rounding
    if not np.all(excess <= 0.0):
        index = int(np.argmax(excess))
        raise AssertionError(
            f"{law}: expected zero within {standard_errors:g} standard errors, got {mean.ravel()[index]:g} +- "
            f"{error.ravel()[index]:g} at entry {index}."
        )


def check_transforms(
    function: Callable[..., PyTree],
    arguments: tuple[PyTree, ...],
    other: tuple[PyTree, ...],
    tolerances: Tolerances,
    name: str,
) -> Callable[..., PyTree]:
    """The same arguments give the same numbers, one trace serves two calls, vmap = loop, and jit = no jit.

    Args:
        function: takes positional trees of arrays and returns a tree of arrays.
        arguments: where it is evaluated.
        other: arguments of the same structure and shapes with other values.
        name: what the function is, for messages.

    Returns:
        The compiled function.
    """
    traces = 0

    def counted(*inputs: PyTree) -> PyTree:
        nonlocal traces
        traces += 1
        return function(*inputs)

    compiled = eqx.filter_jit(counted)
    first, second = compiled(*arguments), compiled(*other)
    assert_close(compiled(*arguments), first, 0.0, f"{name}: the same arguments give the same numbers")
    if traces != 1:
        raise AssertionError(f"{name}: expected one trace for two calls with the same shapes, got {traces}.")
    if tolerances.eager is not None:
        assert_close(first, function(*arguments), tolerances.eager, f"{name}: jit = no jit")
        assert_close(second, function(*other), tolerances.eager, f"{name}: jit = no jit")

    @eqx.filter_jit
    def mapped(a: tuple[PyTree, ...], b: tuple[PyTree, ...]) -> PyTree:
        return eqx.filter_vmap(function, in_axes=(eqx.if_array(0),) * len(a))(*jax.tree.map(_stack, a, b))

    looped = jax.tree.map(_stack_outside, first, second)
    assert_close(mapped(arguments, other), looped, tolerances.algebra, f"{name}: vmap = loop")
    return compiled


def is_key(leaf: Any) -> bool:
    """Whether a leaf is a typed random key."""
    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _raw(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if is_key(leaf) else leaf, tree)


def _stack(a: Any, b: Any) -> Any:
    return jnp.stack([a, b]) if eqx.is_array(a) else a


def _stack_outside(a: Any, b: Any) -> Any:
    """As `_stack`, without a program to compile."""
    return _stack(a, b) if is_key(a) or not eqx.is_array(a) else np.stack([a, b])


def _rounding(leaf: np.ndarray) -> float:
    return float(jnp.finfo(leaf.dtype).eps) if jnp.issubdtype(leaf.dtype, jnp.inexact) else 0.0


def _numeric(leaf: Any) -> np.ndarray:
    return np.asarray(leaf, np.float64)


def _pairs(got: PyTree, expected: PyTree) -> list[tuple[str, np.ndarray, np.ndarray]]:
    got, expected = _raw(got), _raw(expected)
    pairs = zip(jax.tree_util.tree_flatten_with_path(got)[0], jax.tree.leaves(expected), strict=True)
    return [(_where(path), np.asarray(a), np.asarray(b)) for (path, a), b in pairs if eqx.is_array_like(b)]


def _where(path: tuple[Any, ...]) -> str:
    text = jax.tree_util.keystr(path)
    return f" at {text}" if text else ""
