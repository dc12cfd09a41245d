"""Linear dynamics with additive Gaussian noise."""

import abc
from typing import ClassVar, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ...results import BadInputError
from ...typing import Action, Array, Distribution, Float, Key
from ._timed_action import TimedAction
from ._validation import check_noise_tril, check_shape, normal_unchecked


class AffineStep(NamedTuple):
    """One step z' = A z + b + L eps.

    Attributes:
        matrix: A, [d, d].
        shift: b, all that is added to A z, [d].
        scale_tril: L, [d, d].
    """

    matrix: Float[Array, "d d"]
    shift: Float[Array, " d"]
    scale_tril: Float[Array, "d d"]


class AbstractLinearDynamics(eqx.Module):
    """Gaussian dynamics that are linear in the state, z' = A(a) z + b(a) + L(a) eps; what an exact filter can run on.

    Attributes:
        changes: whether A and L depend on the action.
    """

    changes: ClassVar[bool] = True

    @property
    @abc.abstractmethod
    def dim(self) -> int:
        """Number of state coordinates, d."""

    @property
    @abc.abstractmethod
    def action_dim(self) -> int:
        """Number of action coordinates, a."""

    @abc.abstractmethod
    def step(self, action: Action = None) -> AffineStep:
        """A, b and L of one step under `action`."""

    def mean(self, state: Float[Array, " d"], action: Action = None) -> Float[Array, " d"]:
        """A z + b."""
        matrix, shift, _ = self.step(action)
        return matrix @ state + shift

    def __call__(self, state: Float[Array, " d"], action: Action = None) -> Distribution:
        """N(A z + b, L L^T)."""
        matrix, shift, scale_tril = self.step(action)
        return normal_unchecked(matrix @ state + shift, scale_tril)

    def rollout(self, state: Float[Array, " d"], actions: Action, *, key: Key) -> Float[Array, "time d"]:
        """A sampled trajectory from `state` (its first row) under actions with a leading axis of length time - 1."""
        leaves = jax.tree.leaves(actions)
        if not leaves:
            raise BadInputError("Expected actions with a leading time axis, got None: pass an array [time - 1, a].")
        noise = jr.normal(key, (leaves[0].shape[0], self.dim), state.dtype)

        def step(z, inputs):
            action, eps = inputs
            matrix, shift, scale_tril = self.step(action)
            z = matrix @ z + shift + scale_tril @ eps
            return z, z

        return jnp.concatenate([state[None, :], jax.lax.scan(step, state, (actions, noise))[1]])


@final
class LinearDynamics(AbstractLinearDynamics):
    """z' = A z + B u + c + L eps, eps ~ N(0, I).

    L may be singular (zeros on its diagonal): exact, extended, unscented and ensemble filters and samples need no density
    of the noise. The density `log_prob` of a step is then not finite, which rules out what scores transitions (guided
    particle filters, and learning by gradient on sampled paths).

    Attributes:
        matrix: A, [d, d].
        control: B, [d, a]; a may be zero.
        offset: c, [d].
        scale_tril: L, the lower Cholesky factor of the noise covariance of one step, [d, d].

    References:
        The slides "Inference and learning in an interactive dSprite environment" (representing latent state dynamics).
    """

    changes: ClassVar[bool] = False
    matrix: Float[Array, "d d"]
    control: Float[Array, "d a"]
    offset: Float[Array, " d"]
    scale_tril: Float[Array, "d d"]

    def __init__(
        self, matrix: Array, control: Array | None = None, scale_tril: Array | None = None, offset: Array | None = None
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
        check_noise_tril("the process noise factor L", self.scale_tril, dim)

    @property
    def dim(self) -> int:
        return self.matrix.shape[-1]

    @property
    def action_dim(self) -> int:
        return self.control.shape[-1]

    def step(self, action: Action = None) -> AffineStep:
        return AffineStep(self.matrix, self.shift(action), self.scale_tril)

    def shift(self, action: Action = None) -> Float[Array, " d"]:
        """B u + c, what is added to A z; no action counts as zero."""
        if action is None:
            return self.offset
        if isinstance(action, TimedAction):
            raise BadInputError(
                "Expected an array as the action of LinearDynamics, whose steps all last equally long, got TimedAction: use "
                "`ContinuousLinearDynamics` for irregular times."
            )
        action = jnp.asarray(action, self.offset.dtype)
        if action.shape != (self.action_dim,):
            raise BadInputError(
                f"Expected an action of shape {(self.action_dim,)} for the control matrix B of shape "
                f"{self.control.shape}, got {action.shape}."
            )
        return self.control @ action + self.offset

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
