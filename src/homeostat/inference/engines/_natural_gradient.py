"""Natural-gradient variational inference with natural momentum, for Gaussian families.

In the natural parameters eta = (mu tau, -tau/2) the natural gradient of F(q) = E_q[U] + E_q[log q] is the ordinary
gradient with respect to the expectation parameters. Written with b = Lambda mu and Lambda (see `NaturalParams`), with
g = E_q[grad U] and H = E_q[curvature of U], one update is

    Delta b_k      = alpha (H mu - g - b)      + beta Delta b_{k-1}
    Delta Lambda_k = alpha (H - Lambda)        + beta Delta Lambda_{k-1}

which is the slides' Delta eta_k = alpha_t natgrad F + beta_t Delta eta_{k-1} (their F is the evidence lower bound, to be
ascended). With alpha = 1, beta = 0 and a quadratic U the first step lands on the exact posterior.
"""

import abc
from collections.abc import Callable
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ...core import AbstractEngine, AbstractFamily, AbstractObjective, StepInfo
from ...distributions import AbstractExpectation, AbstractGaussianFamily, Cubature, NaturalParams
from ...objectives import AbstractPredictive
from ...results import BadInputError
from ...typing import Array, Coefficient, Distribution, Float, Int, Key, Params, PyTree, Scalar

Schedule = Callable[[Int[Array, ""]], Scalar]
"""Step number -> coefficient, as in `optax.schedules`."""


class AbstractCurvature(eqx.Module):
    """How E_q[hessian of U] is estimated from the points of q."""

    @abc.abstractmethod
    def __call__(
        self,
        objective: AbstractObjective,
        distribution: Distribution,
        value: Float[Array, " d"],
        gradient: Float[Array, " d"],
        args: PyTree,
        *,
        key: Key,
    ) -> Float[Array, "d d"]:
        """The estimate from one point `value` with its gradient of U."""


@final
class Fisher(AbstractCurvature):
    """The objective's own curvature (Fisher information or Gauss-Newton): positive semi-definite. Else the Hessian."""

    def __call__(self, objective, distribution, value, gradient, args, *, key):
        if isinstance(objective, AbstractPredictive):
            return objective.curvature(value, args, key=key)
        return Hessian()(objective, distribution, value, gradient, args, key=key)


@final
class Hessian(AbstractCurvature):
    """The exact Hessian (Price's theorem); indefinite where U is not convex."""

    def __call__(self, objective, distribution, value, gradient, args, *, key):
        return jax.hessian(lambda z: objective.pointwise(z, args, key=key))(value)


@final
class Stein(AbstractCurvature):
    """Sigma^-1 (z - mu) grad U(z)^T, symmetrised: unbiased by Stein's lemma, from gradients alone, for rough energies.

    References:
        Khan et al., "Fast and scalable Bayesian deep learning by weight-perturbation in Adam", ICML 2018;
        Lin, Khan and Schmidt, "Stein's lemma for the reparameterization trick", 2019.
    """

    def __call__(self, objective, distribution, value, gradient, args, *, key):
        score = -jax.grad(distribution.log_prob)(value)
        outer = score[:, None] * gradient[None, :]
        return 0.5 * (outer + outer.T)


class NaturalGradientState(NamedTuple):
    """Delta eta_{k-1} and the number of steps taken."""

    change: NaturalParams
    count: Int[Array, ""]


@final
class NaturalGradient(AbstractEngine[Params, NaturalGradientState]):
    """Natural-gradient variational inference with natural momentum (see the module).

    A step that would remove more than 1 - `keep` of the precision in some direction is shortened to that bound, so the
    precision stays positive definite; the shortened change is what the momentum remembers.

    Attributes:
        rate: alpha, or a schedule of it.
        momentum: beta, or a schedule of it.
        expectation: points of q at which U is evaluated.
        curvature: estimator of H.
        keep: smallest share of the precision that survives one step, in (0, 1).

    References:
        The slides "Inference and learning in an interactive dSprite environment"; Khan and Rue, "The Bayesian learning
        rule", arXiv 2107.04562, Sec. 2.
    """

    rate: Coefficient | Schedule = 0.5
    momentum: Coefficient | Schedule = 0.0
    expectation: AbstractExpectation = Cubature()
    curvature: AbstractCurvature = Fisher()
    keep: Coefficient = 0.1

    def __check_init__(self):
        if isinstance(self.rate, float | int) and not 0.0 < self.rate <= 1.0:
            raise BadInputError(f"Expected a rate in (0, 1], got {self.rate}.")
        if isinstance(self.momentum, float | int) and not 0.0 <= self.momentum < 1.0:
            raise BadInputError(f"Expected a momentum in [0, 1), got {self.momentum}.")
        if isinstance(self.keep, float | int) and not 0.0 < self.keep < 1.0:
            raise BadInputError(f"Expected keep in (0, 1), got {self.keep}.")

    def init(self, objective, family, params, args):
        natural = _require_gaussian(family).natural(params)
        return NaturalGradientState(jax.tree.map(jnp.zeros_like, natural), jnp.zeros((), jnp.int32))

    def step(self, objective, family, params, args, state, *, key):
        family = _require_gaussian(family)
        points_key, energy_key, curvature_key = jr.split(key, 3)
        q = family(params)
        points = jax.tree.map(jax.lax.stop_gradient, self.expectation.points(q, key=points_key))

        def evaluate(value):
            energy, gradient = jax.value_and_grad(lambda z: objective.pointwise(z, args, key=energy_key))(value)
            curvature = self.curvature(objective, q, value, gradient, args, key=curvature_key)
            return energy, gradient, curvature

        energies, gradients, curvatures = jax.vmap(evaluate)(points.values)
        gradient = points.weights @ gradients
        curvature = family.structured(jnp.tensordot(points.weights, curvatures, axes=1))

        natural = family.natural(params)
        mean = q.mean
        rate, momentum = _at(self.rate, state.count), _at(self.momentum, state.count)
        proposed = NaturalParams(
            rate * (family.multiply(curvature, mean) - gradient - natural.shift) + momentum * state.change.shift,
            rate * (curvature - natural.precision) + momentum * state.change.precision,
        )
        length = family.longest_step(natural.precision, proposed.precision, self.keep)
        change = jax.tree.map(lambda leaf: length * leaf, proposed)
        params = family.from_natural(jax.tree.map(jnp.add, natural, change))
        energy = points.weights @ energies - q.entropy()
        return params, NaturalGradientState(change, state.count + 1), StepInfo(energy)


def _at(coefficient: Coefficient | Schedule, count: Int[Array, ""]) -> Coefficient:
    return coefficient(count) if callable(coefficient) else coefficient


def _require_gaussian(family: AbstractFamily) -> AbstractGaussianFamily:
    if not isinstance(family, AbstractGaussianFamily):
        raise BadInputError(
            f"Expected a Gaussian family (DiagonalGaussian or FullGaussian) for NaturalGradient, got "
            f"{type(family).__name__}: use another family, or `Gradient`."
        )
    return family
