"""Linear dynamics in continuous time, discretised exactly for steps of any duration.

    dz = (F z + G u + c) dt + L dW,   u constant during a step of duration t:

    z' = e^{Ft} z + Phi (G u + c) + Q^(1/2) eps,   Phi = int_0^t e^{Fs} ds,   Q = int_0^t e^{Fs} L L^T e^{F^T s} ds

All three come from one scaling and doubling: at h = t / 2^k the exponential is a short Taylor series and Q^(1/2) the columns of a
Gauss-Legendre sum; doubling the step gives e^{2Fh} = e^{Fh} e^{Fh}, Phi_2h = e^{Fh} Phi_h + Phi_h and
Q_2h^(1/2) = tria[e^{Fh} Q_h^(1/2), Q_h^(1/2)]. Q is never formed, so its factor exists for every duration, zero included, and
no inverse of e^{Ft} is needed, which the usual block exponential has and which overflows for stiff systems.

References:
    Van Loan, "Computing integrals involving the matrix exponential", 1978 (the integrals);
    Sarkka and Solin, "Applied Stochastic Differential Equations", 2019, Sec. 6.1.
"""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...distributions import positive_tria
from ...results import BadInputError
from ...typing import Action, Array, Float
from ._linear_dynamics import AbstractLinearDynamics, AffineStep, LinearDynamics
from ._timed_action import TimedAction
from ._validation import check_shape

TERMS = 20
"""Terms of the Taylor series: where |F| h <= 1 the first one left out is below 1 / 20! = 4e-19."""

NODES = 8
"""Gauss-Legendre nodes: exact to rounding in 64-bit for integrands that vary like e^{2 s}, 0 <= s <= 1."""


@final
class ContinuousLinearDynamics(AbstractLinearDynamics):
    """dz = (F z + G u + c) dt + L dW; its action is an `TimedAction`, which says how long the step lasts.

    Attributes:
        drift: F, [d, d], in 1 / time.
        control: G, [d, a]; a may be zero.
        offset: c, [d].
        diffusion: L, any root of the spectral density L L^T, [d, n]; n < d for noise that enters through few coordinates.
        num_doublings: k. Exact to rounding up to |F| t = 2^k, less so beyond.
    """

    drift: Float[Array, "d d"]
    control: Float[Array, "d a"]
    offset: Float[Array, " d"]
    diffusion: Float[Array, "d n"]
    num_doublings: int = eqx.field(static=True)

    def __init__(
        self,
        drift: Array,
        control: Array | None = None,
        diffusion: Array | None = None,
        offset: Array | None = None,
        *,
        num_doublings: int = 8,
    ):
        """Missing parts default to: no control (a = 0), unit noise in every coordinate, no offset.

        Raises:
            BadInputError: shapes do not agree, or `num_doublings` is negative.
        """
        self.drift = jnp.asarray(drift)
        if self.drift.ndim < 2:
            raise BadInputError(f"Expected a square drift matrix F of shape (d, d), got shape {self.drift.shape}.")
        dim, dtype = self.drift.shape[-1], self.drift.dtype
        self.control = jnp.zeros((dim, 0), dtype) if control is None else jnp.asarray(control)
        self.offset = jnp.zeros(dim, dtype) if offset is None else jnp.asarray(offset)
        self.diffusion = jnp.eye(dim, dtype=dtype) if diffusion is None else jnp.asarray(diffusion)
        self.num_doublings = num_doublings
        check_shape("the drift matrix F", self.drift, (dim, dim))
        check_shape("the control matrix G", self.control, (dim, self.control.shape[-1]))
        check_shape("the offset", self.offset, (dim,))
        check_shape("the diffusion L", self.diffusion, (dim, self.diffusion.shape[-1]))
        if num_doublings < 0:
            raise BadInputError(f"Expected num_doublings >= 0, got {num_doublings}.")

    @property
    def dim(self) -> int:
        return self.drift.shape[-1]

    @property
    def action_dim(self) -> int:
        return self.control.shape[-1]

    def step(self, action: Action = None) -> AffineStep:
        """e^{Ft}, Phi (G u + c) and Q^(1/2).

        Raises:
            BadInputError: the action is no `TimedAction`, or what was done has another shape than (a,).
        """
        if not isinstance(action, TimedAction):
            raise BadInputError(
                f"Expected an `TimedAction` as the action of dynamics in continuous time, got {type(action).__name__}: say how "
                f"long each step lasts, `TimedAction(duration, action)` or `TimedAction.between(times, actions)`."
            )
        push = self.offset
        if action.action is not None:
            done = jnp.asarray(action.action, self.offset.dtype)
            check_shape("an action", done, (self.action_dim,))
            push = self.control @ done + push
        matrix, integral, root = self._integrals(action.duration.astype(self.drift.dtype))
        return AffineStep(matrix, integral @ push, root)

    def discretise(self, duration: Array | float) -> LinearDynamics:
        """The same dynamics for steps of one duration, as `LinearDynamics` with A, B, c and L."""
        matrix, integral, root = self._integrals(jnp.asarray(duration, self.drift.dtype))
        return LinearDynamics(matrix, integral @ self.control, root, integral @ self.offset)

    def _integrals(
        self, duration: Float[Array, ""]
    ) -> tuple[Float[Array, "d d"], Float[Array, "d d"], Float[Array, "d d"]]:
        """e^{Ft}, Phi and the lower triangular Q^(1/2)."""
        dim, dtype = self.dim, self.drift.dtype
        short = duration / 2.0**self.num_doublings
        powers = [jnp.eye(dim, dtype=dtype)]
        for order in range(1, TERMS):
            powers.append(powers[-1] @ self.drift * (short / order))
        series = jnp.stack(powers)
        orders = np.arange(TERMS)
        matrix = jnp.sum(series, axis=0)
        integral = short * jnp.einsum("j,jab->ab", jnp.asarray(1.0 / (orders + 1.0), dtype), series)
        nodes, weights = np.polynomial.legendre.leggauss(NODES)
        spans = jnp.asarray((0.5 * (nodes + 1.0))[:, None] ** orders[None, :], dtype)
        columns = jnp.einsum("ij,jab,bc->aic", spans, series, self.diffusion)
        # The square root of a duration of zero has no derivative, and a filter pads its last action with zeros.
        length = jnp.where(short > 0.0, jnp.sqrt(jnp.where(short > 0.0, short, 1.0)), 0.0)
        columns = columns * (length * jnp.asarray(np.sqrt(0.5 * weights), dtype))[None, :, None]
        columns = columns.reshape(dim, -1)
        root = positive_tria(jnp.pad(columns, ((0, 0), (0, max(dim - columns.shape[1], 0)))))

        def double(_, parts):
            matrix, integral, root = parts
            root = positive_tria(jnp.concatenate([matrix @ root, root], axis=1))
            return matrix @ matrix, matrix @ integral + integral, root

        return jax.lax.fori_loop(0, self.num_doublings, double, (matrix, integral, root))


@final
class DurationFirst(AbstractLinearDynamics):
    """Dynamics in continuous time whose action is one array: how long the step lasts, then what is done during it.

    Attributes:
        dynamics: in continuous time.
    """

    dynamics: ContinuousLinearDynamics

    @property
    def dim(self) -> int:
        return self.dynamics.dim

    @property
    def action_dim(self) -> int:
        return 1 + self.dynamics.action_dim

    def step(self, action: Action = None) -> AffineStep:
        if action is None:
            raise BadInputError("Expected an action that says how long the step lasts, got none: pass (duration, ...).")
        check_shape("an action", action, (self.action_dim,))
        return self.dynamics.step(TimedAction(action[0], action[1:]))
