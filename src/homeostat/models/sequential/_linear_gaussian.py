"""The linear-Gaussian state-space model, for which filtering and smoothing are exact."""

from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular
from numpyro.distributions.util import cholesky_of_inverse

from ...core import AbstractMarkovModel
from ...distributions import GaussianMoments
from ...results import BadInputError
from ...typing import Action, Array, Distribution, Float, Key
from ._linear_dynamics import AbstractLinearDynamics
from ._validation import check_scale_tril, check_shape


@final
class Measurement(eqx.Module):
    """An observation that brings its own noise: x = C z + d + R_t^(1/2) eps.

    A latent inferred from an image enters a filter in this way: its posterior mean as the value and the posterior's factor
    as the noise (see `docs/dynamics.md` for what the prior of that inference does to it). NaN entries are missing.

    Attributes:
        value: the measured vector, [m]; sequences have leading axes.
        scale_tril: lower Cholesky factor of its noise covariance, [m, m].
    """

    value: Float[Array, "... m"] = eqx.field(converter=jnp.asarray)
    scale_tril: Float[Array, "... m m"] = eqx.field(converter=jnp.asarray)

    def __check_init__(self):
        expected = (*self.value.shape, *self.value.shape[-1:])
        if self.value.ndim < 1 or self.scale_tril.shape != expected:
            raise BadInputError(
                f"Expected one noise factor for each measurement: for values of shape {self.value.shape}, factors of shape "
                f"{expected}, got {self.scale_tril.shape}."
            )

    @classmethod
    def from_posterior(cls, posterior: GaussianMoments, prior: GaussianMoments) -> "Measurement":
        """Pseudo-observation of an inference: N(z; value, R) proportional to posterior(z) / prior(z).

        A filter has a prior of its own, the prediction; with the inference's prior left in, the same knowledge would be
        counted twice.

        Args:
            posterior: of one inference; its precision must exceed the prior's in every direction, otherwise the result is
                NaN (which a filter treats as missing).
            prior: that the inference started from.
        """
        posterior_root, prior_root = (_inverse(moments.scale_tril) for moments in (posterior, prior))
        precision = posterior_root.T @ posterior_root - prior_root.T @ prior_root
        shift = posterior_root.T @ (posterior_root @ posterior.loc) - prior_root.T @ (prior_root @ prior.loc)
        scale_tril = cholesky_of_inverse(precision)
        return cls(scale_tril @ (scale_tril.T @ shift), scale_tril)


class Trajectory(NamedTuple):
    """A sampled sequence.

    Attributes:
        states: [time, d].
        observations: [time, m].
    """

    states: Float[Array, "time d"]
    observations: Float[Array, "time m"]


@final
class LinearGaussian(AbstractMarkovModel):
    """z_1 ~ N(m, P),  z' = A z + B u + c + L eps,  x = C z + d + R^(1/2) eps.

    Attributes:
        initial_mean: m, [d].
        initial_scale_tril: lower Cholesky factor of P, [d, d].
        dynamics: A, B, c and L; `ContinuousLinearDynamics` where steps differ in duration.
        emission_matrix: C, [m, d].
        emission_offset: d, [m].
        emission_scale_tril: lower Cholesky factor of R, [m, m].
    """

    initial_mean: Float[Array, " d"]
    initial_scale_tril: Float[Array, "d d"]
    dynamics: AbstractLinearDynamics
    emission_matrix: Float[Array, "m d"]
    emission_offset: Float[Array, " m"]
    emission_scale_tril: Float[Array, "m m"]

    def __init__(
        self,
        initial_mean: Array,
        initial_scale_tril: Array,
        dynamics: AbstractLinearDynamics,
        emission_matrix: Array,
        emission_scale_tril: Array,
        emission_offset: Array | None = None,
    ):
        """The emission offset defaults to zero.

        Raises:
            BadInputError: shapes do not agree, or a factor is no Cholesky factor of a positive definite covariance.
        """
        self.initial_mean = jnp.asarray(initial_mean)
        self.initial_scale_tril = jnp.asarray(initial_scale_tril)
        self.dynamics = dynamics
        self.emission_matrix = jnp.asarray(emission_matrix)
        self.emission_scale_tril = jnp.asarray(emission_scale_tril)
        if self.emission_matrix.ndim < 2:
            raise BadInputError(
                f"Expected an emission matrix C of shape (m, d), got shape {self.emission_matrix.shape}."
            )
        zeros = jnp.zeros(self.emission_matrix.shape[-2], self.emission_matrix.dtype)
        self.emission_offset = zeros if emission_offset is None else jnp.asarray(emission_offset)
        dim, size = self.dynamics.dim, self.emission_matrix.shape[-2]
        check_shape("the initial mean", self.initial_mean, (dim,))
        check_scale_tril("the initial scale_tril", self.initial_scale_tril, dim)
        check_shape("the emission matrix C", self.emission_matrix, (size, dim))
        check_shape("the emission offset", self.emission_offset, (size,))
        check_scale_tril("the emission scale_tril", self.emission_scale_tril, size)

    @property
    def dim(self) -> int:
        """Number of state coordinates, d."""
        return self.dynamics.dim

    @property
    def observation_dim(self) -> int:
        """Number of observed coordinates, m."""
        return self.emission_matrix.shape[-2]

    def initial(self) -> Distribution:
        return dist.MultivariateNormal(self.initial_mean, scale_tril=self.initial_scale_tril)

    def transition(self, state: Float[Array, " d"], action: Action = None) -> Distribution:
        return self.dynamics(state, action)

    def emission(self, state: Float[Array, " d"]) -> Distribution:
        mean = self.emission_matrix @ state + self.emission_offset
        return dist.MultivariateNormal(mean, scale_tril=self.emission_scale_tril)

    def sample(self, actions: Action, *, key: Key) -> Trajectory:
        """Time states and observations under actions whose leading axis has length time - 1."""
        initial_key, state_key, noise_key = jr.split(key, 3)
        states = self.dynamics.rollout(self.initial().sample(initial_key), actions, key=state_key)
        noise_keys = jr.split(noise_key, states.shape[0])
        observations = jax.vmap(lambda state, k: self.emission(state).sample(k))(states, noise_keys)
        return Trajectory(states, observations)


def _inverse(scale_tril: Float[Array, "d d"]) -> Float[Array, "d d"]:
    return solve_triangular(scale_tril, jnp.eye(scale_tril.shape[0], dtype=scale_tril.dtype), lower=True)
