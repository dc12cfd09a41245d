"""Regressions as emissions of discrete states: what is observed is a step of a path that is itself uncertain.

    log p(step | k) = E[log N(z'; W_k v, L_k L_k^T)]

An observation is a square root S of the second moments of one step, S S^T = E[(v, z') (v, z')^T], with regressors v before what is
regressed. The parameter of a state is such a root too: with tria(S_k) = [[G_11, 0], [G_21, G_22]], W_k = G_21 G_11^-1 and
L_k = G_22. Then moments of observations and of a prior add up.
"""

from typing import ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular
from numpyro.distributions import constraints

from ...distributions import positive_tria
from ...typing import Array, Distribution, Float, Int, Observation, Scalar
from ._conjugate_prior import ConjugatePrior, pseudo_observations
from ._state_emissions import AbstractEmissions


@final
class ExpectedRegression(dist.Distribution):
    """exp E[log N(z'; W v, L L^T)] of a root of second moments; up to its name a density of the moments, which is not drawn from.

    Attributes:
        root: lower factor whose blocks give W and L, [n, n].
        dim: number of coordinates of z', the last of the n.
    """

    arg_constraints: ClassVar = {"root": constraints.real_matrix}
    pytree_data_fields = ("root",)
    pytree_aux_fields = ("dim",)

    def __init__(self, root: Array, dim: int, *, validate_args: bool | None = None):
        self.root, self.dim = root, dim
        super().__init__((), root.shape, validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.real_matrix

    def log_prob(self, value: Float[Array, "n n"]) -> Scalar:
        split = self.root.shape[0] - self.dim
        # L^-1 (z' - W v) are the last rows of the inverse factor times (v, z').
        whitened = solve_triangular(self.root, value, lower=True)[split:]
        scales = jnp.sum(jnp.log(jnp.diagonal(self.root)[split:]))
        return -0.5 * jnp.sum(whitened**2) - scales - 0.5 * self.dim * jnp.log(2.0 * jnp.pi)


@final
class RegressionEmissions(AbstractEmissions):
    """z' ~ N(W_k v, L_k L_k^T), of steps given as roots of their second moments (see the module).

    Attributes:
        root: lower factors with a positive diagonal, [K, n, n].
        dim: number of coordinates of z'.
    """

    root: Float[Array, "k n n"]
    dim: int = eqx.field(static=True)

    @property
    def num_states(self) -> int:
        return self.root.shape[0]

    @property
    def coefficients(self) -> Float[Array, "k d m"]:
        """W_k."""
        split = self.root.shape[-1] - self.dim

        def one(root: Array) -> Array:
            return solve_triangular(root[:split, :split], root[split:, :split].T, lower=True, trans=1).T

        return jax.vmap(one)(self.root)

    @property
    def scale_trils(self) -> Float[Array, "k d d"]:
        """L_k."""
        split = self.root.shape[-1] - self.dim
        return self.root[:, split:, split:]

    def __call__(self, state: Int[Array, ""]) -> Distribution:
        return ExpectedRegression(self.root[state], self.dim)

    def maximise(
        self, observations: Observation, weights: Float[Array, "n k"], prior: ConjugatePrior[AbstractEmissions] | None
    ) -> "RegressionEmissions":
        count, centre = pseudo_observations(prior, self)
        assert isinstance(centre, RegressionEmissions)

        def one(weight: Array, own: Array, centre: Array) -> Array:
            total = jnp.sum(weight) + count
            columns = jnp.where(weight[:, None, None] > 0.0, jnp.sqrt(weight)[:, None, None] * observations, 0.0)
            columns = jnp.moveaxis(columns, 0, 1).reshape(own.shape[0], -1)
            found = positive_tria(jnp.concatenate([columns, count**0.5 * centre], axis=1))
            return jnp.where(total > 0.0, found / jnp.sqrt(jnp.where(total > 0.0, total, 1.0)), own)

        return RegressionEmissions(jax.vmap(one, in_axes=(1, 0, 0))(weights, self.root, centre.root), self.dim)

    def centre(self, observations: Observation) -> "RegressionEmissions":
        """The regression of all steps together."""
        known = ~jnp.any(jnp.isnan(observations), axis=(1, 2))
        pooled = self.maximise(
            observations, jnp.broadcast_to(known[:, None], (known.shape[0], self.num_states)) * 1.0, None
        )
        return RegressionEmissions(pooled.root, self.dim)

    def divergence(self, centre: "RegressionEmissions") -> Scalar:
        states = jnp.arange(self.num_states)

        def one(state: Array) -> Scalar:
            at = centre.root[state]
            return centre(state).log_prob(at) - self(state).log_prob(at)

        return jnp.sum(jax.vmap(one)(states))
