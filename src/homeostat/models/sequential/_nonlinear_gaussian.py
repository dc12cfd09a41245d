"""State-space models with nonlinear means and additive Gaussian noise."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist

from ...core import AbstractMarkovModel
from ...nn import MLP
from ...results import BadInputError
from ...typing import Action, Array, Callable, Distribution, Float, Key
from ._linear_dynamics import LinearDynamics
from ._linear_gaussian import LinearGaussian
from ._maps import AffineMap, AffinePlusNetwork, ResidualMap
from ._validation import check_noise_tril, check_scale_tril, normal_unchecked


def _array_or_function(noise: Array | Callable[[Action], Array]) -> Array | Callable[[Action], Array]:
    return noise if callable(noise) else jnp.asarray(noise)


@final
class NonlinearGaussian(AbstractMarkovModel):
    """z_1 ~ N(m, P),  z' = f(z, a) + L(a) eps,  x = g(z) + R^(1/2) eps.

    f and g are functions or networks. Steps of different durations come in as `TimedAction` actions: `RungeKutta` and `Euler` turn
    a drift into f, `Diffusion` gives noise that grows with the square root of time. L may be singular, see `LinearDynamics`.

    Attributes:
        initial_mean: m, [d].
        initial_scale_tril: lower Cholesky factor of P, [d, d].
        transition_mean: f, of state and action.
        transition_scale_tril: L [d, d], or a function of the action that returns it.
        emission_mean: g.
        emission_scale_tril: lower Cholesky factor of R, [m, m].
    """

    initial_mean: Float[Array, " d"] = eqx.field(converter=jnp.asarray)
    initial_scale_tril: Float[Array, "d d"] = eqx.field(converter=jnp.asarray)
    transition_mean: Callable[[Array, Action], Array]
    transition_scale_tril: Float[Array, "d d"] | Callable[[Action], Array] = eqx.field(converter=_array_or_function)
    emission_mean: Callable[[Array], Array]
    emission_scale_tril: Float[Array, "m m"] = eqx.field(converter=jnp.asarray)

    def __check_init__(self):
        if self.initial_mean.ndim < 1 or self.emission_scale_tril.ndim < 2:
            raise BadInputError(
                f"Expected an initial mean [d] and an emission factor [m, m], got shapes {self.initial_mean.shape} and "
                f"{self.emission_scale_tril.shape}."
            )
        dim, size = self.initial_mean.shape[-1], self.emission_scale_tril.shape[-1]
        check_scale_tril("the initial scale_tril", self.initial_scale_tril, dim)
        if not callable(self.transition_scale_tril):
            check_noise_tril("the process noise factor L", self.transition_scale_tril, dim)
        check_scale_tril("the emission scale_tril", self.emission_scale_tril, size)
        got = jax.eval_shape(self.emission_mean, jax.ShapeDtypeStruct((dim,), self.initial_mean.dtype)).shape
        if got != (size,):
            raise BadInputError(f"Expected emission_mean to return shape {(size,)}, as its noise has, got {got}.")

    @classmethod
    def networks(
        cls,
        dim: int,
        observation_dim: int,
        action_dim: int = 0,
        *,
        width: int = 32,
        depth: int = 2,
        process_scale: float = 0.1,
        observation_scale: float = 0.1,
        key: Key,
    ) -> "NonlinearGaussian":
        """Multilayer perceptrons for f (a residual step) and g, unit prior, and noise of the given scales."""
        transition_key, emission_key = jr.split(key)
        return cls(
            jnp.zeros(dim),
            jnp.eye(dim),
            ResidualMap.mlp(dim, action_dim, width=width, depth=depth, key=transition_key),
            process_scale * jnp.eye(dim),
            MLP(dim, observation_dim, width=width, depth=depth, key=emission_key),
            observation_scale * jnp.eye(observation_dim),
        )

    @classmethod
    def around(cls, model: LinearGaussian, *, width: int = 32, depth: int = 2, key: Key) -> "NonlinearGaussian":
        """A linear-Gaussian model with a multilayer perceptron added to either mean, which is zero at first.

        Learned from there, a nonlinear model of some data goes on from the best linear one.

        Raises:
            BadInputError: steps of the linear dynamics do not all last equally long.
        """
        dynamics, (size, dim) = model.dynamics, model.emission_matrix.shape
        if not isinstance(dynamics, LinearDynamics):
            raise BadInputError(f"Expected LinearDynamics to start from, got {type(dynamics).__name__}.")
        transition_key, emission_key = jr.split(key)
        moving = MLP(dim + dynamics.action_dim, dim, width, depth, key=transition_key, output_gain=0.0)
        seeing = MLP(dim, size, width, depth, key=emission_key, output_gain=0.0)
        step = AffineMap(jnp.concatenate([dynamics.matrix, dynamics.control], axis=1), dynamics.offset)
        return cls(
            model.initial_mean,
            model.initial_scale_tril,
            AffinePlusNetwork(step, moving),
            dynamics.scale_tril,
            AffinePlusNetwork(AffineMap(model.emission_matrix, model.emission_offset), seeing),
            model.emission_scale_tril,
        )

    @property
    def dim(self) -> int:
        """Number of state coordinates, d."""
        return self.initial_mean.shape[-1]

    @property
    def observation_dim(self) -> int:
        """Number of observed coordinates, m."""
        return self.emission_scale_tril.shape[-1]

    def initial(self) -> Distribution:
        return dist.MultivariateNormal(self.initial_mean, scale_tril=self.initial_scale_tril)

    def transition(self, state: Float[Array, " d"], action: Action = None) -> Distribution:
        mean = self.transition_mean(state, action)
        if mean.shape != state.shape:
            raise BadInputError(
                f"Expected transition_mean to return a state of shape {state.shape}, got shape {mean.shape}."
            )
        noise = self.transition_scale_tril
        factor = noise(action) if callable(noise) else noise
        return normal_unchecked(mean, factor)

    def emission(self, state: Float[Array, " d"]) -> Distribution:
        return dist.MultivariateNormal(self.emission_mean(state), scale_tril=self.emission_scale_tril)
