"""Stationary linear-Gaussian models in continuous time, by unconstrained parameters.

A stable system dz = F z dt + L dW has a stationary covariance P with F P + P F^T + L L^T = 0. In the basis in which P = I and L is
diagonal this says

    F = K - L^2 / 2,   K = -K^T,

so that any K and any L are one stable system, and every system whose noise reaches all its coordinates is one of these. Then
z_1 ~ N(0, I), and over a step of any duration Q = I - e^{Ft} e^{F^T t}.

References:
    Sarkka and Solin, "Applied Stochastic Differential Equations", 2019, Sec. 6.2 (the stationary covariance).
"""

import math
from typing import final

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ...results import BadInputError
from ...typing import Array, Float, Key
from ._continuous_dynamics import ContinuousLinearDynamics
from ._linear_gaussian import LinearGaussian
from ._model_parameters import AbstractModelParameters, exp_diagonal, least_noise

_FASTEST, _SLOWEST = 1.0, 100.0
"""Times in which states forget at the start, evenly on the scale of logarithms, in the unit of time."""


@final
class ContinuousParameters(AbstractModelParameters):
    """dz = ((K - L^2 / 2) z + G u) dt + L dW,  x = C z + d + R^(1/2) eps,  z_1 ~ N(0, I).

    Attributes:
        log_diffusion: log of the diagonal of L, [d].
        rotation: K below its diagonal, row by row, [d (d - 1) / 2].
        control: G, [d, a].
        emission_matrix: C, [m, d].
        emission_offset: d, [m].
        emission_scale_tril: R^(1/2) with the logarithm of its diagonal, [m, m].
        duration: of every step, which makes the model one of `LinearDynamics`; None where actions say it.
    """

    log_diffusion: Float[Array, " d"]
    rotation: Float[Array, " k"]
    control: Float[Array, "d a"]
    emission_matrix: Float[Array, "m d"]
    emission_offset: Float[Array, " m"]
    emission_scale_tril: Float[Array, "m m"]
    duration: float | None = eqx.field(static=True, default=None)

    @classmethod
    def start(
        cls, dim: int, size: int, action_dim: int = 0, *, duration: float | None = None, key: Key
    ) -> "ContinuousParameters":
        """A start for data with a deviation of one: states that forget at different rates, seen through random directions.

        Args:
            dim: d, state coordinates.
            size: m, outputs.
            action_dim: a, known inputs besides the duration.
            duration: of every step, or None.
            key: random key.
        """
        if dim < 1 or size < 1 or action_dim < 0:
            raise BadInputError(f"Expected dim, size >= 1 and action_dim >= 0, got {dim}, {size} and {action_dim}.")
        times = np.geomspace(_FASTEST, _SLOWEST, dim + 2)[1:-1]
        emission_key, rotation_key = jr.split(key)
        return cls(
            0.5 * jnp.log(2.0 / jnp.asarray(times, jnp.result_type(float))),
            0.1 * jr.normal(rotation_key, (dim * (dim - 1) // 2,)),
            jnp.zeros((dim, action_dim)),
            jr.normal(emission_key, (size, dim)) / math.sqrt(dim),
            jnp.zeros(size),
            math.log(0.5) * jnp.eye(size),
            duration,
        )

    def model(self) -> LinearGaussian:
        dim = self.log_diffusion.shape[0]
        diffusion = jnp.exp(self.log_diffusion)
        lower = jnp.zeros((dim, dim), diffusion.dtype).at[np.tril_indices(dim, -1)].set(self.rotation)
        drift = lower - lower.T - 0.5 * jnp.diag(diffusion**2)
        dynamics = ContinuousLinearDynamics(drift, self.control, jnp.diag(diffusion))
        return LinearGaussian(
            jnp.zeros(dim, diffusion.dtype),
            jnp.eye(dim, dtype=diffusion.dtype),
            dynamics if self.duration is None else dynamics.discretise(self.duration),
            self.emission_matrix,
            exp_diagonal(self.emission_scale_tril),
            self.emission_offset,
        )

    def lowest(self) -> "ContinuousParameters":
        where = lambda tree: tree.emission_scale_tril  # noqa: E731
        return eqx.tree_at(where, super().lowest(), least_noise(self.emission_scale_tril))
