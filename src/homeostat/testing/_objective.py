"""Laws of objectives: energies in nats, lower is better."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ..core import AbstractFamily, AbstractObjective
from ..typing import Array, Key, PyTree
from ._assertions import assert_close, assert_finite, assert_zero_mean, check_transforms
from ._tolerances import Tolerances


def check_objective(
    objective: AbstractObjective,
    family: AbstractFamily,
    args: PyTree,
    *,
    key: Key,
    params: PyTree | None = None,
    tolerances: Tolerances = Tolerances(),
) -> None:
    """Run the laws that every `AbstractObjective` obeys.

    Laws: `pointwise` and the objective are finite scalars that obey the transform laws; the gradient in the parameters
    of the distribution, and in a real value, is finite; the curvature of an objective that has one is symmetric.

    Args:
        objective: what to check.
        family: gives the distributions.
        args: what the objective depends on.
        params: where to check; `family.init()` by default.
    """
    name = type(objective).__name__
    params = eqx.filter_jit(family.init)() if params is None else params
    first, second = jr.split(key)
    other, value = eqx.filter_jit(lambda p, k: (jax.tree.map(lambda leaf: leaf + 0.1, p), family(p).sample(k)))(
        params, second
    )

    def point(p: PyTree, k: Key) -> Array:
        return objective.pointwise(family(p).sample(k), args, key=k)

    def functional(p: PyTree, k: Key) -> Array:
        return objective(family(p), args, key=k)

    for label, function in (("pointwise", point), ("expectation", functional)):
        compiled = check_transforms(function, (params, first), (other, second), tolerances, f"{name}: {label}")
        energy = compiled(params, first)
        if jnp.shape(energy) != ():
            raise AssertionError(f"{name}: expected a scalar {label} in nats, got shape {jnp.shape(energy)}.")
        assert_finite(energy, f"{name}: {label}")
    assert_finite(eqx.filter_jit(jax.grad(functional))(params, first), f"{name}: gradient in the parameters")
    if not jnp.issubdtype(value.dtype, jnp.inexact):
        return
    assert_finite(
        eqx.filter_jit(jax.grad(lambda z: objective.pointwise(z, args, key=first)))(value),
        f"{name}: gradient of the pointwise energy",
    )
    curved = getattr(objective, "curvature", None)
    if curved is not None and value.ndim == 1:
        curvature = eqx.filter_jit(lambda z: curved(z, args, key=first))(value)
        assert_finite(curvature, f"{name}: curvature")
        assert_close(np.asarray(curvature).T, curvature, tolerances.algebra, f"{name}: the curvature is symmetric")


def check_expectation(
    objective: AbstractObjective,
    family: AbstractFamily,
    args: PyTree,
    *,
    key: Key,
    params: PyTree | None = None,
    num_samples: int = 4096,
    tolerances: Tolerances = Tolerances(),
) -> None:
    """The functional is the expectation of its parts: objective(q) = E_q[pointwise + log q], within standard errors.

    Bounds that are tighter than their expectation, such as an importance-weighted one, do not obey it; see
    `check_tightening`.

    Raises:
        AssertionError: the two differ by more than their Monte Carlo error.
    """
    gap = _gap(objective, family, args, key, params, num_samples)
    law = f"{type(objective).__name__}: objective(q) = E_q[U + log q]"
    assert_zero_mean(gap, tolerances.standard_errors, law)


def check_tightening(
    objective: AbstractObjective,
    family: AbstractFamily,
    args: PyTree,
    *,
    key: Key,
    params: PyTree | None = None,
    num_samples: int = 4096,
    tolerances: Tolerances = Tolerances(),
) -> None:
    """The functional is no looser than the expectation of its parts: objective(q) <= E_q[pointwise + log q].

    Raises:
        AssertionError: it lies above the expectation by more than the Monte Carlo error.
    """
    gap = _gap(objective, family, args, key, params, num_samples)
    mean, error = float(np.mean(gap)), float(np.std(gap) / np.sqrt(num_samples))
    if mean > tolerances.standard_errors * error + tolerances.algebra:
        raise AssertionError(
            f"{type(objective).__name__}: expected objective(q) <= E_q[U + log q], got {mean:g} +- {error:g} nats above."
        )


def _gap(
    objective: AbstractObjective, family: AbstractFamily, args: PyTree, key: Key, params: PyTree | None, count: int
) -> Array:
    """Independent draws of objective(q) - (U(z) + log q(z)), z ~ q."""
    params = eqx.filter_jit(family.init)() if params is None else params

    def draw(k: Key) -> Array:
        q = family(params)
        sample_key, point_key, objective_key = jr.split(k, 3)
        value = q.sample(sample_key)
        direct = objective.pointwise(value, args, key=point_key) + q.log_prob(value)
        return objective(q, args, key=objective_key) - direct

    return eqx.filter_jit(lambda k: jax.lax.map(draw, jr.split(k, count), batch_size=64))(key)
