"""Linear dynamics with additive Gaussian noise."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist

from ...results import BadInputError
from ...typing import Array, Distribution, Float, Key
from ._validation import check_scale_tril, check_shape


@final
class LinearDynamics(eqx.Module):
    """z' = A z + B u + c + L eps, eps ~ N(0, I).

    Attributes:
        matrix: A, [d, d].
        control: B, [d, a]; a may be zero.
        offset: c, [d].
        scale_tril: L, the lower Cholesky factor of the noise covariance of one step, [d, d].

    References:
        The slides "Inference and learning in an interactive dSprite environment" (representing latent state dynamics).
    """

    matrix: Float[Array, "d d"]
    control: Float[Array, "d a"]
    offset: Float[Array, " d"]
    scale_tril: Float[Array, "d d"]

    def __init__(
        self,
        matrix: Array,
        control: Array | None = None,
        scale_tril: Array | None = None,
        offset: Array | None = None,
    ):
        """Missing parts default to: no control (a = 0), unit noise, no offset.

        Raises:
            BadInputError: shapes do not agree, or `scale_tril` is no Cholesky factor.
        """
        self.matrix = jnp.asarray(matrix)
        if self.matrix.ndim < 1:
            raise BadInputError("Expected a square matrix A, got a number: pass an array of shape (d, d).")
        dim, dtype = self.matrix.shape[-1], self.matrix.dtype
        self.control = jnp.zeros((dim, 0), dtype) if control is None else jnp.asarray(control)
        self.offset = jnp.zeros(dim, dtype) if offset is None else jnp.asarray(offset)
        self.scale_tril = jnp.eye(dim, dtype=dtype) if scale_tril is None else jnp.asarray(scale_tril)
        check_shape("the dynamics matrix A", self.matrix, (dim, dim))
        check_shape("the control matrix B", self.control, (dim, self.control.shape[-1]))
        check_shape("the offset", self.offset, (dim,))
        check_scale_tril("the process noise factor L", self.scale_tril, dim)

    @property
    def dim(self) -> int:
        """Number of state coordinates, d."""
        return self.matrix.shape[-1]

    @property
    def action_dim(self) -> int:
        """Number of action coordinates, a."""
        return self.control.shape[-1]

    def mean(self, state: Float[Array, " d"], action: Array | None = None) -> Float[Array, " d"]:
        """A z + B u + c; no action counts as zero."""
        return self.matrix @ state + self.shift(action)

    def shift(self, action: Array | None = None) -> Float[Array, " d"]:
        """B u + c, what is added to A z."""
        if action is None:
            return self.offset
        action = jnp.asarray(action, self.offset.dtype)
        if action.shape != (self.action_dim,):
            raise BadInputError(
                f"Expected an action of shape {(self.action_dim,)} for the control matrix B of shape "
                f"{self.control.shape}, got {action.shape}."
            )
        return self.control @ action + self.offset

    def __call__(self, state: Float[Array, " d"], action: Array | None = None) -> Distribution:
        """N(A z + B u + c, L L^T)."""
        return dist.MultivariateNormal(self.mean(state, action), scale_tril=self.scale_tril)

    def rollout(self, state: Float[Array, " d"], actions: Array, *, key: Key) -> Float[Array, "time d"]:
        """A sampled trajectory from `state` (its first row) under actions [time - 1, a]."""
        noise = jr.normal(key, (actions.shape[0], self.dim), self.matrix.dtype) @ self.scale_tril.T
        shifts = actions @ self.control.T + self.offset[None, :] + noise

        def step(z, shift):
            z = self.matrix @ z + shift
            return z, z

        return jnp.concatenate([state[None, :], jax.lax.scan(step, state, shifts)[1]])

    @classmethod
    def from_coefficients(
        cls, coefficients: Float[Array, "d k"], scale_tril: Float[Array, "d d"], *, action_dim: int
    ) -> "LinearDynamics":
        """Split regression coefficients [A B c] (the offset's column may be missing) of z' on (z, u, 1)."""
        dim, width = coefficients.shape[-2:]
        if width not in (dim + action_dim, dim + action_dim + 1):
            raise BadInputError(
                f"Expected {dim + action_dim} or {dim + action_dim + 1} columns [A B (c)], got {width}."
            )
        offset = coefficients[..., -1] if width == dim + action_dim + 1 else jnp.zeros(dim, coefficients.dtype)
        return cls(coefficients[..., :dim], coefficients[..., dim : dim + action_dim], scale_tril, offset)
