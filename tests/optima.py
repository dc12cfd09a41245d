"""The best member of a family for its canonical problem, from closed forms, enumeration or a dense grid; no engine is used."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.optimize
from jax.flatten_util import ravel_pytree

import references
from homeostat.distributions import Categorical, Delta, DiagonalGaussian, FullGaussian, PathGaussian, SquashedGaussian
from homeostat.flows import ConditionalFlow, NormalizingFlow
from problems import Problem


class Optimum(NamedTuple):
    """What an engine should reach.

    Attributes:
        energy_nats: exact E_q[U + log q], as a function of the parameters.
        minimum_nats: its minimum over the family.
        expected_nats: E_q[U], as a function of the parameters; over a thousand draws where it has no formula.
        lowest_nats: minimum of U, on a grid where it has no formula.
    """

    energy_nats: Callable[[Any], jax.Array]
    minimum_nats: float
    expected_nats: Callable[[Any], jax.Array]
    lowest_nats: float


def optimum(case: Problem) -> Optimum:
    """Of a problem from `problems.problem`."""
    family = case.family
    if isinstance(family, PathGaussian):
        return _of_paths(case)
    values, cell = _grid(family)
    energies = _energies(case, values)

    if isinstance(family, Delta):

        @jax.jit
        def at(params: Any) -> jax.Array:
            return case.objective.pointwise(params.loc, case.args, key=jax.random.key(0))

        exact = references.conjugate(case.objective.model, case.args.observation)
        lowest = float(at(type(family.init())(jnp.asarray(exact.mean))))
        return Optimum(at, lowest, at, lowest)

    @jax.jit
    def energy(params: Any) -> jax.Array:
        log_q = jax.vmap(family(params).log_prob)(values)
        weights = cell * jnp.exp(log_q)
        return weights @ (energies + jnp.where(weights > 0.0, log_q, 0.0))

    @jax.jit
    def expected(params: Any) -> jax.Array:
        # By draws: the grid misses a distribution that is narrower than its cells.
        draws = jax.vmap(family(params).sample)(jax.random.split(jax.random.key(0), 1000))
        return jnp.mean(
            jax.vmap(lambda value: case.objective.pointwise(value, case.args, key=jax.random.key(0)))(draws)
        )

    return Optimum(energy, _minimum(case, energy, energies), expected, float(jnp.min(energies)))


def marginals(case: Problem) -> Any:
    """Parameters of the marginals of exp(-U) on a categorical support."""
    values, _ = _grid(case.family)
    energies = _energies(case, values)
    return case.family.fit(values, jax.nn.softmax(-energies))


def _minimum(case: Problem, energy: Callable[[Any], jax.Array], energies: jax.Array) -> float:
    family = case.family
    if isinstance(family, Categorical) and not family.shape:
        return float(-jax.nn.logsumexp(-energies))
    if isinstance(family, Categorical):
        start, unravel = ravel_pytree(family.init())
        slope = jax.jit(jax.value_and_grad(lambda flat: energy(unravel(flat))))
        starts = [start + jax.random.normal(jax.random.key(seed), start.shape) for seed in range(4)]
        found = [
            scipy.optimize.minimize(lambda flat: tuple(map(np.asarray, slope(flat))), at, jac=True, method="L-BFGS-B")
            for at in starts
        ]
        return float(min(one.fun for one in found))
    if isinstance(family, FullGaussian | NormalizingFlow | DiagonalGaussian | ConditionalFlow):
        exact = references.conjugate(case.objective.model, case.args.observation)
        # The posterior is a member; or the best member has its mean and the diagonal of its precision.
        factorised = isinstance(family, DiagonalGaussian | ConditionalFlow)
        loss = np.sum(np.log(np.diag(exact.precision))) - np.linalg.slogdet(exact.precision)[1]
        return -exact.log_evidence + 0.5 * factorised * float(loss)
    optimizer = optax.adam(optax.cosine_decay_schedule(0.1, 500))

    def body(carry: Any, _: None) -> tuple[Any, jax.Array]:
        params, state = carry
        value, gradient = jax.value_and_grad(energy)(params)
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), value

    start = family.init()
    return float(jax.jit(lambda: jax.lax.scan(body, (start, optimizer.init(start)), length=500)[1][-1])())


def _energies(case: Problem, values: jax.Array) -> jax.Array:
    """U at every value."""
    return jax.jit(jax.vmap(lambda value: case.objective.pointwise(value, case.args, key=jax.random.key(0))))(values)


def _grid(family: Any) -> tuple[jax.Array, float]:
    """All points of a finite support, or a dense grid of the plane, and the size of its cells."""
    if isinstance(family, Categorical):
        return family.support(), 1.0
    bound, count = (1.0, 100) if isinstance(family, SquashedGaussian) else (8.0, 100)
    # Midpoints, because a bounded density ends at the bounds.
    axis = bound * ((2.0 * jnp.arange(count) + 1.0) / count - 1.0)
    points = jnp.stack(jnp.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    return points, (2.0 * bound / count) ** 2


def _of_paths(case: Problem) -> Optimum:
    """The energy of a linear Gaussian path is a quadratic form, whose expectation is exact."""
    family, key = case.family, jax.random.key(0)

    @jax.jit
    def energy(params: Any) -> jax.Array:
        return case.objective(family(params), case.args, key=key)

    def expected(params: Any) -> jax.Array:
        return energy(params) + family(params).entropy()

    flat, unravel = ravel_pytree(family.init().loc)

    def at(vector: jax.Array) -> jax.Array:
        return case.objective.pointwise(unravel(vector), case.args, key=key)

    hessian = np.asarray(jax.jit(jax.hessian(at))(flat))
    mode = -np.linalg.solve(hessian, np.asarray(jax.jit(jax.grad(at))(jnp.zeros_like(flat))))
    lowest = float(at(jnp.asarray(mode)))
    log_evidence = -lowest + 0.5 * (flat.size * np.log(2.0 * np.pi) - np.linalg.slogdet(hessian)[1])
    return Optimum(energy, float(-log_evidence), expected, lowest)
