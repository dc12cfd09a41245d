"""Well-known systems, ready made, as references for filters."""

from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpyro.distributions as dist

from ...results import BadInputError
from ...typing import Action, Array, Distribution, Float
from ._linear_dynamics import LinearDynamics
from ._maps import AffineMap, Diffusion, Euler, RungeKutta
from ._nonlinear_gaussian import NonlinearGaussian
from ._state_space import StateSpace

GRAVITY = 9.81
"""Metres per second squared."""


def _growth(state: Float[Array, " d"], action: Action = None) -> Float[Array, " d"]:
    forcing = 0.0 if action is None else jnp.asarray(action, state.dtype)
    return 0.5 * state + 25.0 * state / (1.0 + state**2) + forcing


def _twentieth_square(state: Float[Array, " d"]) -> Float[Array, " d"]:
    return state**2 / 20.0


def univariate_growth(*, process_scale: float = 10.0**0.5, observation_scale: float = 1.0) -> NonlinearGaussian:
    """z' = z / 2 + 25 z / (1 + z^2) + u + noise,  x = z^2 / 20 + noise; the known input u is `growth_inputs`.

    The sign of z is not seen, so posteriors have two modes.

    Args:
        process_scale: standard deviation of the state's noise, sqrt(10) in the reference.
        observation_scale: standard deviation of the observation's noise, 1 in the reference.

    References:
        Gordon, Salmond and Smith, "Novel approach to nonlinear/non-Gaussian Bayesian state estimation", 1993, Sec. 4.1.
    """
    _check_scales(process_scale, observation_scale)
    return NonlinearGaussian(
        jnp.zeros(1),
        5.0**0.5 * jnp.eye(1),
        _growth,
        process_scale * jnp.eye(1),
        _twentieth_square,
        observation_scale * jnp.eye(1),
    )


def growth_inputs(length: int) -> Float[Array, "steps 1"]:
    """u_t = 8 cos(1.2 t) for the steps t = 1, ..., length - 1 between `length` observations."""
    if length < 1:
        raise BadInputError(f"Expected a length of at least 1, got {length}.")
    return 8.0 * jnp.cos(1.2 * jnp.arange(1.0, float(length)))[:, None]


@final
class VolatilityEmission(eqx.Module):
    """x ~ N(0, (scale e^{z / 2})^2), entry by entry: a return whose size and not whose mean depends on the state.

    Attributes:
        scale: of a return where z = 0.
    """

    scale: Float[Array, ""]

    def __call__(self, state: Float[Array, " d"]) -> Distribution:
        return dist.Normal(jnp.zeros_like(state), self.scale * jnp.exp(0.5 * state)).to_event(1)


def stochastic_volatility(
    *, persistence: float = 0.95, process_scale: float = 0.25, scale: float = 0.7, dim: int = 1
) -> StateSpace:
    """z' = phi z + sigma noise,  x = beta e^{z / 2} noise, from the stationary distribution of z.

    The mean of x does not depend on z: extended, unscented and ensemble filters, which see only means, learn nothing here.

    Args:
        persistence: phi, in (-1, 1).
        process_scale: sigma.
        scale: beta, in the unit of the returns.
        dim: independent series.

    References:
        Kim, Shephard and Chib, "Stochastic volatility: likelihood inference and comparison with ARCH models", 1998, Eq. 1.
    """
    _check_scales(process_scale, scale)
    if not -1.0 < persistence < 1.0 or dim < 1:
        raise BadInputError(f"Expected a persistence in (-1, 1) and dim >= 1, got {persistence} and {dim}.")
    stationary = process_scale / (1.0 - persistence**2) ** 0.5
    return StateSpace(
        dist.MultivariateNormal(jnp.zeros(dim), scale_tril=stationary * jnp.eye(dim)),
        LinearDynamics(persistence * jnp.eye(dim), None, process_scale * jnp.eye(dim)),
        VolatilityEmission(jnp.asarray(scale, jnp.result_type(float))),
    )


@final
class LorenzDrift(eqx.Module):
    """(sigma (y - x), x (rho - z) - y, x y - beta z); actions are added to it.

    Attributes:
        sigma, rho, beta: 10, 28 and 8/3 for the chaotic regime.
    """

    sigma: Float[Array, ""]
    rho: Float[Array, ""]
    beta: Float[Array, ""]

    def __call__(self, state: Float[Array, " d"], action: Action = None) -> Float[Array, " d"]:
        x, y, z = state
        drift = jnp.stack([self.sigma * (y - x), x * (self.rho - z) - y, x * y - self.beta * z])
        return drift if action is None else drift + jnp.asarray(action, state.dtype)


def lorenz_63(
    *,
    duration: float = 0.05,
    num_substeps: int = 5,
    integrator: type[RungeKutta] | type[Euler] = RungeKutta,
    emission_matrix: Array | None = None,
    process_scale: float = 1.0,
    observation_scale: float = 2.0**0.5,
) -> NonlinearGaussian:
    """The chaotic convection of Lorenz with noise, observed linearly; `TimedAction` actions give irregular times.

    Args:
        duration: of a step whose action is no `TimedAction`, in units of model time.
        num_substeps: of the integrator in one step.
        integrator: `RungeKutta` or `Euler`.
        emission_matrix: C, [m, 3]; all three coordinates by default.
        process_scale: standard deviation of the noise after one unit of time.
        observation_scale: standard deviation of the observation's noise, sqrt(2) in data assimilation.

    References:
        Lorenz, "Deterministic nonperiodic flow", 1963, Eqs. 25-27.
    """
    _check_scales(process_scale, observation_scale)
    matrix = jnp.eye(3) if emission_matrix is None else jnp.asarray(emission_matrix)
    constants = jnp.asarray([10.0, 28.0, 8.0 / 3.0])
    return NonlinearGaussian(
        jnp.asarray([0.0, 0.0, 25.0]),
        8.0 * jnp.eye(3),  # Roughly the spread of the attractor.
        integrator(LorenzDrift(*constants), duration, num_substeps),
        Diffusion(process_scale * jnp.eye(3), duration),
        AffineMap(matrix),
        observation_scale * jnp.eye(matrix.shape[0]),
    )


@final
class PendulumDrift(eqx.Module):
    """(omega, -g / l sin(theta) - damping omega + u): angle from hanging down in rad, and its rate in rad / s.

    Attributes:
        stiffness: g / l, 1 / s^2.
        damping: share of the rate that is lost per second.
    """

    stiffness: Float[Array, ""]
    damping: Float[Array, ""]

    def __call__(self, state: Float[Array, " d"], action: Action = None) -> Float[Array, " d"]:
        angle, rate = state
        push = 0.0 if action is None else jnp.sum(jnp.asarray(action, state.dtype))
        return jnp.stack([rate, -self.stiffness * jnp.sin(angle) - self.damping * rate + push])


def _sideways(state: Float[Array, " d"]) -> Float[Array, " m"]:
    return jnp.sin(state[:1])


def pendulum(
    *,
    duration: float = 0.1,
    length: float = 1.0,
    damping: float = 0.1,
    process_scale: float = 0.1,
    observation_scale: float = 0.1,
    initial_scale: float = 0.8,
) -> NonlinearGaussian:
    """A pendulum pushed by noise (and by actions, in rad / s^2), of which the sideways position sin(theta) is seen.

    Noise enters through the rate only, so L is singular.

    Args:
        duration: of a step in seconds.
        length: of the rod in metres.
        damping: in 1 / s.
        process_scale: standard deviation of the rate's noise after one second, rad / s.
        observation_scale: standard deviation of the observation's noise, in rod lengths.
        initial_scale: standard deviation of the first angle in rad and of the first rate in rad / s.

    References:
        Sarkka, "Bayesian Filtering and Smoothing", 2013, Example 5.1.
    """
    _check_scales(process_scale, observation_scale, initial_scale, length)
    drift = PendulumDrift(*jnp.asarray([GRAVITY / length, damping]))
    return NonlinearGaussian(
        jnp.zeros(2),
        initial_scale * jnp.eye(2),
        RungeKutta(drift, duration),
        Diffusion(jnp.diag(jnp.asarray([0.0, process_scale])), duration),
        _sideways,
        observation_scale * jnp.eye(1),
    )


@final
class PendulumImage(eqx.Module):
    """A picture of the bob: a bright round spot on black, with independent Gaussian noise in every pixel.

    Attributes:
        scale: standard deviation of a pixel, where the spot's centre is 1.
        size: pixels along an edge; the picture shows 1.25 rod lengths to every side of the pivot.
        radius: standard deviation of the spot, in rod lengths.
    """

    scale: Float[Array, ""]
    size: int = eqx.field(static=True, default=16)
    radius: float = eqx.field(static=True, default=0.25)

    def image(self, state: Float[Array, " d"]) -> Float[Array, "size size"]:
        """Brightness without noise, rows from top to bottom."""
        axis = jnp.linspace(-1.25, 1.25, self.size, dtype=state.dtype)
        across = (axis - jnp.sin(state[0])) ** 2
        down = (axis - jnp.cos(state[0])) ** 2
        return jnp.exp(-0.5 * (down[:, None] + across[None, :]) / self.radius**2)

    def __call__(self, state: Float[Array, " d"]) -> Distribution:
        mean = self.image(state)
        return dist.Normal(mean, jnp.broadcast_to(self.scale, mean.shape)).to_event(2)


def pendulum_from_pixels(
    *, size: int = 16, pixel_scale: float = 0.2, radius: float = 0.25, duration: float = 0.1
) -> StateSpace:
    """The pendulum seen in pictures of `size` by `size` pixels; the rate is not in them.

    Args:
        size: pixels along an edge.
        pixel_scale: standard deviation of a pixel's noise.
        radius: of the bob, in rod lengths.
        duration: of a step in seconds.
    """
    _check_scales(pixel_scale, radius)
    if size < 2:
        raise BadInputError(f"Expected pictures of at least 2 by 2 pixels, got size={size}.")
    model = pendulum(duration=duration)
    picture = PendulumImage(jnp.asarray(pixel_scale, jnp.result_type(float)), size, radius)
    return StateSpace(model.initial(), model.transition, picture)


def _check_scales(*scales: float) -> None:
    if any(not scale > 0.0 for scale in scales):
        raise BadInputError(f"Expected positive scales, got {scales}.")
