"""Engines for whole paths: natural gradients and Newton steps, which keep a block-tridiagonal precision and cost O(T).

Both move a `PathGaussian` on a `PathFreeEnergy`. With b = Lambda mu, g = E_q[grad U] and H = E_q[curvature of U], the natural
gradient of F is

    b <- (1 - alpha) b + alpha (H mu - g),      Lambda <- (1 - alpha) Lambda + alpha H.

Where the prior is linear and Gaussian, with natural parameters (b_0, Lambda_0), every iterate that starts there is the prior
times one Gaussian site for each observation,

    Lambda = Lambda_0 + sum_t site_t,   site_t <- (1 - alpha) site_t + alpha E_q[-grad^2 log p(x_t | z_t)],

since the prior's own share of g and H does not change: that is conjugate-computation variational inference, and solving for mu
and the marginals is a Kalman smoother on sites. Where the model is linear and Gaussian, one step with alpha = 1 is exact.
"""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp

from ...core import AbstractEngine, AbstractObjective, StepInfo
from ...distributions import BlockPrecision, BlockTridiagonal, BlockTridiagonalParams, PathNatural, require_path
from ...objectives import (
    AbstractPathCurvature,
    AbstractPathExpectation,
    Neighbours,
    PathFisher,
    PathFreeEnergy,
    PathHessian,
    PathPoints,
    at_paths,
    within,
)
from ...results import BadInputError
from ...typing import Array, Bool, Coefficient, Float, Scalar

_HALVINGS = 20
"""After so many halvings a step is a millionth of what it was, and left out."""
_TRIALS = 10
"""Lengths that a Newton step tries, each half of the one before."""


@final
class PathNaturalGradient(AbstractEngine[BlockTridiagonalParams, None]):
    """Natural-gradient variational inference of a whole path (see the module).

    A step after which F would be higher, or the precision not positive definite, is halved until that is no longer so. A small rise
    is let through: with approximate expectations the fixed point of the natural gradient is not quite the minimum of F. The same
    points serve both values of F where they are random.

    Attributes:
        rate: alpha in (0, 1].
        expectation: points of q at which U is differentiated.
        curvature: of U; the Fisher information by default, which keeps the precision positive definite.
        rise: share of 1 + |F| by which a step may raise F.

    References:
        Khan and Lin, "Conjugate-computation variational inference", AISTATS 2017, Algorithm 1; Khan and Rue, "The Bayesian
        learning rule", arXiv 2107.04562.
    """

    rate: Coefficient = 1.0
    expectation: AbstractPathExpectation = Neighbours()
    curvature: AbstractPathCurvature = PathFisher()
    rise: float = 1e-3

    def __check_init__(self):
        if isinstance(self.rate, float | int) and not 0.0 < self.rate <= 1.0:
            raise BadInputError(f"Expected a rate in (0, 1], got {self.rate}.")

    def init(self, objective, family, params, args):
        require_path(family)
        _require_energy(objective)

    def step(self, objective, family, params, args, state, *, key):
        paths, energy = require_path(family), _require_energy(objective)
        energy = PathFreeEnergy(energy.model, self.expectation)
        q = within(paths(params), args)
        points = jax.lax.stop_gradient(self.expectation.points(q, key=key))
        found = energy.derivatives(points, args, self.curvature)
        before = found.energy_nats - q.entropy()
        natural = q.natural
        target = PathNatural(found.curvature.times(q.loc) - found.gradient, found.curvature)
        arrays, rest = eqx.partition((energy, args, natural, target, before), eqx.is_array)
        fixed_energy, fixed_args, *ends, bound = eqx.combine(jax.lax.stop_gradient(arrays), rest)
        bound += self.rise * (1.0 + jnp.abs(bound))

        def refused(carry: tuple[Scalar, Scalar]) -> Bool[Array, ""]:
            rate, count = carry
            trial = BlockTridiagonal.from_natural(_between(*ends, rate), paths.recursion)
            # NaN, where there is no Cholesky factor, compares as false.
            return ~(fixed_energy(trial, fixed_args, key=key) <= bound) & (count < _HALVINGS)

        start = (jnp.asarray(self.rate, q.loc.dtype), jnp.zeros((), jnp.int32))
        start = jax.lax.stop_gradient(start)
        rate, count = jax.lax.while_loop(refused, lambda carry: (0.5 * carry[0], carry[1] + 1), start)
        rate = jnp.where(count < _HALVINGS, rate, 0.0)
        return paths.from_natural(_between(natural, target, rate)), None, StepInfo(before)


@final
class PathNewton(AbstractEngine[BlockTridiagonalParams, Scalar]):
    """Newton's method on the path, and the curvature at its end as precision: the Laplace approximation.

        mu <- mu - (H + delta I)^{-1} grad U(mu),      Lambda = H + delta I

    Of the whole step, half of it, a quarter and so on, the one with the lowest U is taken. If none lowers U, or there is no Cholesky
    factor, the path stays and delta is raised tenfold; it is lowered tenfold after every step that is taken. It starts at zero, so
    a quadratic energy is solved by one step.

    Attributes:
        curvature: H; the exact Hessian by default.
        first_damping: delta after the first refused step, in units of precision. The engine's state is delta.

    References:
        Marquardt 1963 for the damping; Paninski et al., "A new look at state-space models for neural data", Journal of
        Computational Neuroscience 29 (2010), for Newton steps on a block-tridiagonal Hessian.
    """

    curvature: AbstractPathCurvature = PathHessian()
    first_damping: float = 1e-3

    def init(self, objective, family, params, args):
        require_path(family)
        _require_energy(objective)
        return jnp.zeros((), params.loc.dtype)

    def step(self, objective, family, params, args, state, *, key):
        paths, energy = require_path(family), _require_energy(objective)
        q = within(paths(params), args)
        found = energy.derivatives(_point(q.loc), args, self.curvature)
        eye = jnp.eye(q.loc.shape[1], dtype=q.loc.dtype)
        precision = BlockPrecision(found.curvature.diagonal + state * eye[None], found.curvature.coupling)
        step = BlockTridiagonal.from_natural(PathNatural(found.gradient, precision), paths.recursion)
        lengths = 0.5 ** jnp.arange(_TRIALS, dtype=q.loc.dtype)
        trials = q.loc[None] - lengths[:, None, None] * step.loc[None]
        energies = jax.vmap(lambda path: energy.pointwise(path, args, key=key))(trials)
        best = jnp.argmin(jnp.where(jnp.isnan(energies), jnp.inf, energies))
        loc = trials[best]
        taken = energies[best] <= found.energy_nats + _slack(found.energy_nats)
        proposed = paths.params_of(
            BlockTridiagonal(loc, step.diagonal, step.coupling, paths.recursion, validate_args=False)
        )
        params = jax.tree.map(lambda new, old: jnp.where(taken, new, old), proposed, params)
        lowered = jnp.where(state > 1e-3 * self.first_damping, 0.1 * state, 0.0)
        raised = jnp.maximum(10.0 * state, self.first_damping)
        damping = jnp.where(taken, lowered, raised).astype(loc.dtype)
        return params, damping, StepInfo(energy(q, args, key=key))


def _between(old: PathNatural, new: PathNatural, rate: Coefficient) -> PathNatural:
    return jax.tree.map(lambda a, b: a + rate * (b - a), old, new)


def _slack(energy: Scalar) -> Scalar:
    """By how much an energy may rise through rounding."""
    return 16.0 * jnp.finfo(energy.dtype).eps * (1.0 + jnp.abs(energy))


def _point(path: Float[Array, "time d"]) -> PathPoints:
    return at_paths(path[None], jnp.ones(1, path.dtype))


def _require_energy(objective: AbstractObjective) -> PathFreeEnergy:
    if not isinstance(objective, PathFreeEnergy):
        raise BadInputError(
            f"Expected a PathFreeEnergy, got {type(objective).__name__}: this engine differentiates the energy of a path step by "
            f"step."
        )
    return objective
