"""Curvatures of the parts of a path's energy: exact, or positive semi-definite by construction."""

import abc
from collections.abc import Callable
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular

from ..distributions import fisher_information, innermost
from ..typing import Array, Distribution, Float, PyTree, Scalar


class AbstractPathCurvature(eqx.Module):
    """How the second derivative of -log p is taken, for one emission and for one transition."""

    @abc.abstractmethod
    def emission(
        self,
        energy: Callable[[Array], Scalar],
        conditional: Callable[[Array], Distribution],
        state: Float[Array, " d"],
        observed: PyTree | None,
    ) -> Float[Array, "d d"]:
        """Curvature of -log p(x | z) in z.

        Args:
            energy: -log p(x | z), as a function of z.
            conditional: p(x | z), as a function of z.
            state: z.
            observed: which entries of x are known; None if all are.
        """

    @abc.abstractmethod
    def transition(
        self, energy: Callable[[Array], Scalar], conditional: Callable[[Array], Distribution], pair: Float[Array, " k"]
    ) -> Float[Array, "k k"]:
        """Curvature of -log p(z' | z) in (z', z), k = 2 d.

        Args:
            energy: -log p(z' | z), as a function of both side by side.
            conditional: p(z' | z), as a function of z.
            pair: z' and z.
        """


@final
class PathHessian(AbstractPathCurvature):
    """The exact second derivative; indefinite where an energy is not convex."""

    def emission(self, energy, conditional, state, observed):
        return jax.hessian(energy)(state)

    def transition(self, energy, conditional, pair):
        return jax.hessian(energy)(pair)


@final
class PathFisher(AbstractPathCurvature):
    """Fisher information of emissions and Gauss-Newton of transitions: positive semi-definite, exact for linear-Gaussian parts.

    Gaussian transitions give J^T J with J the Jacobian of L^{-1} (z' - f(z)) at fixed L; emissions may be Gaussian, Bernoulli
    or Poisson. Others fall back on the Hessian.

    References:
        Sarkka, "Bayesian Filtering and Smoothing", 2nd ed. 2023, Ch. 13 (Gauss-Newton smoothing).
    """

    def emission(self, energy, conditional, state, observed):
        kind = innermost(conditional(state))
        if isinstance(kind, dist.MultivariateNormal):
            jacobian = jax.jacfwd(lambda z: conditional(z).loc)(state)
            known = jnp.ones(jacobian.shape[0], bool) if observed is None else observed
            rows = jnp.where(known[:, None], kind.scale_tril, 0.0)
            covariance = rows @ rows.T + jnp.diag(jnp.where(known, 0.0, 1.0).astype(rows.dtype))
            whitened = solve_triangular(
                jnp.linalg.cholesky(covariance), jnp.where(known[:, None], jacobian, 0.0), lower=True
            )
            return whitened.T @ whitened
        if isinstance(kind, dist.Poisson):
            rate = jnp.ravel(kind.rate)
            jacobian = jax.jacfwd(lambda z: jnp.ravel(innermost(conditional(z)).rate))(state)
            counted = jnp.ones_like(rate) if observed is None else jnp.ravel(observed).astype(rate.dtype)
            # A rate that underflows takes its derivative with it: zero, not zero times infinity.
            weights = counted / jnp.maximum(rate, jnp.finfo(rate.dtype).tiny)
            return jacobian.T @ (weights[:, None] * jacobian)
        fisher = fisher_information(conditional, state, observed)
        return jax.hessian(energy)(state) if fisher is None else fisher

    def transition(self, energy, conditional, pair):
        later, earlier = jnp.split(pair, 2)
        kind = innermost(conditional(earlier))
        if isinstance(kind, dist.MultivariateNormal):
            root = kind.scale_tril

            def residual(both: Array) -> Array:
                end, start = jnp.split(both, 2)
                return solve_triangular(root, end - conditional(start).loc, lower=True)

        elif isinstance(kind, dist.Normal):
            scale = jnp.broadcast_to(kind.scale, later.shape)

            def residual(both: Array) -> Array:
                end, start = jnp.split(both, 2)
                return (end - innermost(conditional(start)).loc) / scale

        else:
            return jax.hessian(energy)(pair)
        jacobian = jax.jacfwd(residual)(pair)
        return jacobian.T @ jacobian
