"""An optimiser for models with Cholesky factors: it moves the logarithms of their diagonals.

    L_ii <- max(floor, L_ii exp(step_ii)),    L_ij <- L_ij + step_ij  for i > j,    steps from gradients in log L_ii and L_ij

so that a noise changes by a share of itself, however small it is, and its factor stays one of a positive definite covariance.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import GetAttrKey, KeyPath

from ...results import BadInputError
from ...typing import Array, PyTree

FACTOR = "scale_tril"
"""How the names of fields end that hold Cholesky factors of covariances, throughout the library."""


def keep_factors(optimizer: optax.GradientTransformation, floor: float = 1e-3) -> optax.GradientTransformation:
    """The optimiser, with every field whose name ends in `scale_tril` moved as a Cholesky factor (see the module).

    Args:
        optimizer: of the unconstrained numbers.
        floor: least diagonal entry of a factor, which is the least standard deviation of a coordinate given those before it, in
            units of the model. The likelihood of data that a model can explain without noise has no bound.

    Raises:
        BadInputError: the floor is not positive.
    """
    if not floor > 0.0:
        raise BadInputError(f"Expected a positive least deviation of a noise, got floor={floor}.")

    def init(params: PyTree) -> optax.OptState:
        return optimizer.init(_at_factors(_free, params))

    def update(updates: PyTree, state: optax.OptState, params: PyTree = None) -> tuple[PyTree, optax.OptState]:
        gradient = _at_factors(_chain_rule, updates, params)
        steps, state = optimizer.update(gradient, state, _at_factors(_free, params))
        return _at_factors(lambda step, old: _moved(step, old, floor) - old, steps, params), state

    return optax.GradientTransformation(init, update)


def _at_factors(function: Callable[..., Array], tree: PyTree, *rest: PyTree) -> PyTree:
    def one(path: KeyPath, leaf: Array, *others: Array) -> Array:
        named = bool(path) and isinstance(path[-1], GetAttrKey) and path[-1].name.endswith(FACTOR)
        return function(leaf, *others) if named else leaf

    return jax.tree_util.tree_map_with_path(one, tree, *rest)


def _split(factor: Array) -> tuple[Array, Array]:
    """What is below the diagonal, and the diagonal, as square matrices."""
    return jnp.tril(factor, -1), jnp.tril(jnp.triu(factor))


def _free(factor: Array) -> Array:
    """Logarithms on the diagonal; a singular factor starts at the least number."""
    below, diagonal = _split(factor)
    least = jnp.finfo(factor.dtype).tiny
    eye = jnp.broadcast_to(jnp.eye(factor.shape[-1], dtype=bool), factor.shape)
    return below + jnp.where(eye, jnp.log(jnp.maximum(diagonal, least)), 0.0)


def _chain_rule(gradient: Array, factor: Array) -> Array:
    (below, diagonal), (_, scales) = _split(gradient), _split(factor)
    return below + diagonal * scales


def _moved(step: Array, factor: Array, floor: float) -> Array:
    (below, change), (old, scales) = _split(step), _split(factor)
    eye = jnp.broadcast_to(jnp.eye(factor.shape[-1], dtype=bool), factor.shape)
    return old + below + jnp.where(eye, jnp.maximum(scales * jnp.exp(change), floor), 0.0)
