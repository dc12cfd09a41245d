"""Nonlinear, switching and counting models, and the ready-made systems, against their formulas."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats

from homeostat.inference import filter
from homeostat.inference.filters import Kalman, Particle
from homeostat.models.sequential import (
    AffineMap,
    ContinuousLinearDynamics,
    Diffusion,
    Euler,
    LinearDynamics,
    LinearGaussian,
    NonlinearGaussian,
    PoissonEmission,
    ResidualMap,
    RungeKutta,
    StateSpace,
    SwitchingLinear,
    TimedAction,
    TransitionMatrix,
    growth_inputs,
    lorenz_63,
    pendulum,
    pendulum_from_pixels,
    stochastic_volatility,
    univariate_growth,
)
from homeostat.models.sequential._switching_linear import split_regime
from homeostat.results import BadInputError
from tolerances import ALGEBRA, AUTODIFF, MONTE_CARLO_STANDARD_ERRORS


def test_integrators_follow_a_known_solution():
    """dz/dt = -z + u from z = 2 with u = 1: z(t) = 1 + e^-t."""
    drift = lambda z, u: -z + u  # noqa: E731
    start, push = jnp.array([2.0]), jnp.array([1.0])
    for duration in (0.4, 1.3):
        exact = 1.0 + np.exp(-duration)
        found = RungeKutta(drift, num_substeps=20)(start, TimedAction(duration, push))
        assert jnp.abs(found[0] - exact) < AUTODIFF
        coarse, fine = (Euler(drift, num_substeps=n)(start, TimedAction(duration, push))[0] - exact for n in (200, 400))
        assert jnp.abs(coarse / fine - 2.0) < 0.02  # First order: half the step, half the error.
    assert jnp.abs(Euler(drift, 0.1)(start, push) - 1.9).max() < ALGEBRA
    half = RungeKutta(drift, 0.5)(start, push)
    assert jnp.abs(half - RungeKutta(drift)(start, TimedAction(0.5, push))).max() < ALGEBRA


def test_noise_of_a_random_walk_grows_with_the_root_of_time():
    noise = Diffusion(jnp.array([[2.0, 0.0], [1.0, 0.0]]), 0.25)
    assert jnp.abs(noise() - 0.5 * noise.scale_tril).max() < ALGEBRA
    assert jnp.abs(noise(TimedAction(4.0)) - 2.0 * noise.scale_tril).max() < ALGEBRA
    assert jnp.abs(eqx.filter_jit(jax.grad(lambda t: jnp.sum(noise(TimedAction(t)))))(0.0)) < ALGEBRA


def test_systems_are_their_formulas(key):
    growth = univariate_growth()
    z = jnp.array([1.5])
    expected = 0.75 + 25.0 * 1.5 / 3.25 + 8.0 * np.cos(1.2)
    assert jnp.abs(growth.transition(z, growth_inputs(3)[0]).mean - expected).max() < ALGEBRA
    assert jnp.abs(growth.transition(z, None).covariance_matrix - 10.0).max() < ALGEBRA
    assert jnp.abs(growth.emission(z).mean - 2.25 / 20.0).max() < ALGEBRA
    volatility = stochastic_volatility()
    assert jnp.abs(volatility.emission(z).base_dist.scale - 0.7 * np.exp(0.75)).max() < ALGEBRA
    stationary = volatility.initial().covariance_matrix
    assert jnp.abs(0.95**2 * stationary + 0.25**2 - stationary).max() < ALGEBRA

    lorenz = lorenz_63(duration=0.01, num_substeps=1, integrator=Euler)
    x, y, w = point = np.array([1.0, -2.0, 20.0])
    drift = np.array([10.0 * (y - x), x * (28.0 - w) - y, x * y - 8.0 / 3.0 * w])
    assert jnp.abs(lorenz.transition(jnp.asarray(point)).mean - (point + 0.01 * drift)).max() < ALGEBRA
    # Chaos leaves the butterfly's outline: a long noise-free path stays within the attractor's known bounds.
    chaos = lorenz_63()
    path = jax.lax.scan(lambda z, _: (chaos.transition_mean(z, None),) * 2, jnp.ones(3), None, length=400)[1]
    assert jnp.abs(path[:, 0]).max() < 20.0 < path[:, 2].max() < 50.0

    swing = pendulum(damping=0.0)
    rows = jax.lax.scan(lambda z, _: (swing.transition_mean(z, None),) * 2, jnp.array([1.0, 0.0]), None, length=50)[1]
    energy = 0.5 * rows[:, 1] ** 2 - 9.81 * jnp.cos(rows[:, 0])
    assert jnp.abs(energy - energy[0]).max() < 0.02
    picture = pendulum_from_pixels(size=21)
    image = picture.emission(jnp.array([0.5 * np.pi, 3.0])).base_dist.loc
    brightest = np.unravel_index(np.argmax(image), image.shape)
    assert brightest == (10, 18)  # Middle row, one rod length to the right of the middle column.
    assert picture.emission(picture.initial().sample(key)).event_shape == (21, 21)


def test_counts_have_the_rate_of_the_state(key):
    emission = PoissonEmission.linear(jnp.array([[1.0, 0.0], [0.5, 0.5]]), jnp.array([0.0, 1.0]))
    rates = emission(jnp.array([1.0, -1.0])).mean
    assert jnp.abs(rates - jnp.exp(jnp.array([1.0, 1.0]))).max() < ALGEBRA
    assert jnp.all(jnp.isfinite(emission(jnp.array([1e6, 0.0])).mean))
    network = PoissonEmission.network(2, 3, width=4, depth=1, key=key)
    model = StateSpace(dist.Normal(jnp.zeros(2), jnp.ones(2)).to_event(1), LinearDynamics(0.9 * jnp.eye(2)), network)
    state = model.initial().sample(key)
    counts = model.emission(state).sample(key)
    expected = scipy.stats.poisson(np.exp(np.asarray(network.log_rate(state)))).logpmf(np.asarray(counts)).sum()
    assert jnp.abs(model.emission(state).log_prob(counts) - expected) < ALGEBRA


def _switching(key):
    first, second = jr.split(key)

    def regime(k, scale):
        dynamics = LinearDynamics(0.6 * jr.normal(k, (2, 2)), None, scale * jnp.eye(2), jr.normal(k, (2,)))
        return LinearGaussian(jr.normal(k, (2,)), jnp.eye(2), dynamics, jr.normal(k, (1, 2)), scale * jnp.eye(1))

    chain = TransitionMatrix.from_probabilities(jnp.array([[0.8, 0.2], [0.4, 0.6]]))
    return SwitchingLinear(jnp.log(jnp.array([0.3, 0.7])), chain, (regime(first, 0.4), regime(second, 0.9)))


def test_a_switching_step_is_its_formula(key):
    model = _switching(key)
    state = jnp.array([1.0, 0.3, -0.2])
    for regime in (0, 1):
        step = model.regime(regime).dynamics.step()
        following = jnp.array([float(regime), 0.1, 0.4])
        mean = step.matrix @ state[1:] + step.shift
        density = dist.MultivariateNormal(mean, scale_tril=step.scale_tril).log_prob(following[1:])
        expected = jnp.log(jnp.array([0.4, 0.6])[regime]) + density
        assert jnp.abs(model.transition(state).log_prob(following) - expected) < ALGEBRA
    draws = split_regime(model.transition(state).sample(key, (4_000,)))
    assert jnp.abs(jnp.mean(draws.regime) - 0.6) < MONTE_CARLO_STANDARD_ERRORS * (0.24 / 4_000) ** 0.5
    picked = draws.regime == 0
    step = model.regime(0).dynamics.step()
    mean = jnp.sum(jnp.where(picked[:, None], draws.state, 0.0), 0) / jnp.sum(picked)
    error = jnp.diagonal(step.scale_tril) / jnp.sum(picked) ** 0.5
    assert jnp.all(jnp.abs(mean - (step.matrix @ state[1:] + step.shift)) < MONTE_CARLO_STANDARD_ERRORS * error)


def test_particles_carry_regime_and_state(key):
    """Their evidence of two observations against the exact sum over both paths of regimes."""
    model = _switching(key)
    values = jnp.array([[0.4], [-0.3]])
    exact = 0.0
    for before in (0, 1):
        for after in (0, 1):
            one, two = model.regime(before), model.regime(after)
            path = LinearGaussian(
                one.initial_mean, one.initial_scale_tril, two.dynamics, one.emission_matrix, one.emission_scale_tril
            )
            belief, info = Kalman().update(path, Kalman().init(path), values[0])
            last = LinearGaussian(
                one.initial_mean, one.initial_scale_tril, two.dynamics, two.emission_matrix, two.emission_scale_tril
            )
            _, later = Kalman().update(last, Kalman().predict(path, belief), values[1])
            weight = [0.3, 0.7][before] * [[0.8, 0.2], [0.4, 0.6]][before][after]
            exact += weight * np.exp(-info.free_energy_nats - later.free_energy_nats)
    repeats = 60
    run = lambda k: filter(Particle(200), model, values, key=k).info.free_energy_nats  # noqa: E731
    ratios = jnp.exp(-jnp.sum(eqx.filter_jit(jax.vmap(run))(jr.split(key, repeats)), axis=1)) / exact
    error = jnp.std(ratios, ddof=1) / repeats**0.5
    assert jnp.abs(jnp.mean(ratios) - 1.0) < MONTE_CARLO_STANDARD_ERRORS * error
    assert error < 0.1  # The test would otherwise prove nothing.


def test_explosive_dynamics_are_followed_until_the_numbers_end(key):
    """Square roots reach twice as far as covariances; where they overflow too, the verb says so."""
    rows = jnp.zeros((4, 1))

    def model(factor):
        return LinearGaussian(jnp.zeros(1), jnp.eye(1), LinearDynamics(factor * jnp.eye(1)), jnp.eye(1), jnp.eye(1))

    assert jnp.isfinite(filter(Kalman(), model(1e200), rows, key=key).free_energy_nats)
    rows = rows.at[1:3].set(jnp.nan)
    assert jnp.isfinite(filter(Kalman(), model(100.0), rows, key=key).free_energy_nats)
    with pytest.raises(RuntimeError, match="NaN or infinite"):
        filter(Kalman(), model(1e200), rows, key=key)


def test_networks_move_little_at_first_and_know_the_time(key):
    step = ResidualMap.mlp(2, 1, width=4, depth=1, key=key)
    state, push = jnp.array([0.3, -0.4]), jnp.array([0.2])
    change = step(state, push) - state
    assert jnp.abs(step(state, TimedAction(0.5, push)) - state - 0.5 * change).max() < ALGEBRA
    assert jnp.abs(step(state, TimedAction(0.0, push)) - state).max() == 0.0


def test_late_times_keep_their_differences():
    """Seconds since 1970 have no fractions in 32 bits; differences are taken before."""
    with jax.enable_x64(False):
        steps = TimedAction.between(1.7e9 + np.array([0.0, 0.125, 0.5, 0.75]))
        assert steps.duration.dtype == jnp.float32
        assert steps.duration.tolist() == [0.125, 0.375, 0.25]
        assert TimedAction.between([1_700_000_000, 1_700_000_001]).duration.tolist() == [1.0]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: TimedAction(-1.0), "not negative"),
        (lambda: TimedAction(jnp.nan), "finite"),
        (lambda: TimedAction.between(jnp.array([0.0, 2.0, 1.0])), r"\[2.0, 1.0\] at positions 1 and 2"),
        (lambda: TimedAction.between(jnp.array([0.0, 0.0])), "strictly increasing"),
        (lambda: TimedAction.between(jnp.zeros((2, 2))), "one time for each"),
        (lambda: AffineMap(jnp.ones(3)), "matrix of shape"),
        (lambda: AffineMap(jnp.ones((2, 3)), jnp.ones(3)), "offset of shape"),
        (lambda: RungeKutta(lambda z, a: z, -1.0), "positive duration"),
        (lambda: Euler(lambda z, a: z, num_substeps=0), "substep"),
        (lambda: Diffusion(-jnp.eye(2)), "negative diagonal"),
        (lambda: ContinuousLinearDynamics(jnp.ones((2, 3))), "drift matrix F"),
        (lambda: ContinuousLinearDynamics(jnp.ones(3)), "square drift"),
        (lambda: ContinuousLinearDynamics(jnp.eye(2), diffusion=jnp.ones((3, 1))), "diffusion L"),
        (lambda: ContinuousLinearDynamics(jnp.eye(2), num_doublings=-1), "num_doublings"),
        (lambda: ContinuousLinearDynamics(jnp.eye(2)).step(None), "TimedAction"),
        (lambda: ContinuousLinearDynamics(jnp.eye(2)).step(TimedAction(1.0, jnp.ones(1))), "action of shape"),
        (lambda: LinearDynamics(jnp.eye(2)).step(TimedAction(1.0)), "ContinuousLinearDynamics"),
        (lambda: LinearDynamics(jnp.eye(2)).rollout(jnp.zeros(2), None, key=jr.key(0)), "leading time axis"),
        (
            lambda: NonlinearGaussian(jnp.zeros(2), jnp.eye(2), lambda z, a: z, jnp.eye(2), lambda z: z, jnp.eye(3)),
            "emission_mean to return",
        ),
        (
            lambda: NonlinearGaussian(jnp.zeros(2), jnp.eye(2), lambda z, a: z, -jnp.eye(2), lambda z: z, jnp.eye(2)),
            "process noise",
        ),
        (
            lambda: NonlinearGaussian(
                jnp.zeros(2), jnp.eye(2), lambda z, a: z[:1], jnp.eye(2), lambda z: z, jnp.eye(2)
            ).transition(jnp.zeros(2)),
            "transition_mean",
        ),
        (lambda: PoissonEmission(lambda z: z[0])(jnp.zeros(2)), "log rates"),
        (lambda: SwitchingLinear(jnp.zeros(2), TransitionMatrix(jnp.zeros((2, 2))), ()), "at least one model"),
        (lambda: univariate_growth(process_scale=0.0), "positive scales"),
        (lambda: growth_inputs(0), "length"),
        (lambda: stochastic_volatility(persistence=1.0), "persistence"),
        (lambda: pendulum_from_pixels(size=1), "pixels"),
    ],
)
def test_bad_input_is_refused(build, message):
    with pytest.raises(BadInputError, match=message):
        build()
