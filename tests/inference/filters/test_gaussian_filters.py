"""Kalman, extended, unscented and ensemble filters and their smoothers against one dense Gaussian and textbook formulas."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.linalg

from homeostat.distributions import Cubature, FullGaussian, GaussHermite, Masked, MonteCarlo, Parallel, SigmaPoints
from homeostat.inference import RauchTungStriebel, filter, smooth
from homeostat.inference.engines import NaturalGradient
from homeostat.inference.filters import (
    Ensemble,
    Extended,
    GaussianBelief,
    InteractingModels,
    Kalman,
    Taper,
    Unscented,
    VariationalFilter,
)
from homeostat.models.sequential import (
    ContinuousLinearDynamics,
    LinearDynamics,
    LinearGaussian,
    Measurement,
    PoissonEmission,
    StateSpace,
    SwitchingLinear,
    TimedAction,
    TransitionMatrix,
    pendulum,
    stochastic_volatility,
)
from homeostat.results import BadInputError
from references import dense_path
from tolerances import ALGEBRA, AUTODIFF, MONTE_CARLO_STANDARD_ERRORS

TIME = 6


class Case(NamedTuple):
    model: LinearGaussian
    observations: Measurement
    actions: TimedAction
    dense: object


def _square(factor):
    return np.asarray(factor) @ np.asarray(factor).T


def _dense(model, values, noises, actions):
    steps = [model.dynamics.step(jax.tree.map(lambda leaf, t=t: leaf[t], actions)) for t in range(len(values) - 1)]
    steps = [(np.asarray(step.matrix), np.asarray(step.shift), _square(step.scale_tril)) for step in steps]
    return dense_path(
        np.asarray(model.initial_mean),
        _square(model.initial_scale_tril),
        steps,
        np.asarray(model.emission_matrix),
        np.asarray(model.emission_offset),
        [_square(noise) for noise in noises],
        np.asarray(values),
    )


@pytest.fixture
def case(key) -> Case:
    """Irregular steps, one of them of no length, known inputs, a noise for each time, and entries and times missing."""
    keys = jr.split(key, 5)
    dynamics = ContinuousLinearDynamics(
        jnp.array([[0.0, 1.0], [-2.0, -0.3]]),
        jnp.array([[0.0], [1.0]]),
        jnp.array([[0.0], [0.7]]),
        jnp.array([0.1, 0.2]),
        num_doublings=3,
    )
    model = LinearGaussian(
        jnp.array([1.0, -0.5]),
        jnp.array([[0.8, 0.0], [0.3, 0.6]]),
        dynamics,
        jr.normal(keys[0], (2, 2)),
        jnp.array([[0.5, 0.0], [0.2, 0.4]]),
        jnp.array([0.3, -0.1]),
    )
    actions = TimedAction(jnp.array([0.3, 0.9, 0.0, 0.1, 1.7]), jr.normal(keys[1], (TIME - 1, 1)))
    values = model.sample(actions, key=keys[2]).observations
    values = values.at[1].set(jnp.nan).at[2, 0].set(jnp.nan).at[5, 1].set(jnp.nan)
    noises = (0.5 + jr.uniform(keys[3], (TIME,)))[:, None, None] * model.emission_scale_tril[None]
    return Case(model, Measurement(values, noises), actions, _dense(model, values, noises, actions))


def test_a_continuous_step_is_the_matrix_exponential(case):
    """Against the block exponentials of Van Loan, at every duration of the case."""
    dynamics = case.model.dynamics
    drift, spectral = np.asarray(dynamics.drift), _square(dynamics.diffusion)
    for duration in (0.3, 0.9, 1.7, 6.0):
        block = scipy.linalg.expm(duration * np.block([[-drift, spectral], [np.zeros((2, 2)), drift.T]]))
        matrix = scipy.linalg.expm(duration * drift)
        integral = np.linalg.solve(drift, matrix - np.eye(2))
        found = dynamics.discretise(duration)
        assert np.abs(found.matrix - matrix).max() < ALGEBRA
        assert np.abs(_square(found.scale_tril) - matrix @ block[:2, 2:]).max() < ALGEBRA
        assert np.abs(found.control - integral @ np.asarray(dynamics.control)).max() < ALGEBRA
        assert np.abs(found.offset - integral @ np.asarray(dynamics.offset)).max() < ALGEBRA
    still = dynamics.step(TimedAction(0.0, jnp.ones(1)))
    assert jnp.abs(still.matrix - jnp.eye(2)).max() == 0.0
    assert jnp.abs(still.shift).max() + jnp.abs(still.scale_tril).max() == 0.0
    gradient = eqx.filter_jit(jax.grad(lambda t: jnp.sum(dynamics.step(TimedAction(t)).scale_tril)))(0.0)
    assert jnp.isfinite(gradient)


METHODS = {
    "Kalman": RauchTungStriebel(),
    "Kalman, parallel": RauchTungStriebel(Kalman(recursion=Parallel()), Parallel()),
    "extended": RauchTungStriebel(Extended()),
    "extended, iterated": RauchTungStriebel(Extended(2)),
    "unscented": RauchTungStriebel(Unscented()),
    "cubature": RauchTungStriebel(Unscented(Cubature())),
    "Gauss-Hermite": RauchTungStriebel(Unscented(GaussHermite(2))),
    "natural gradient": RauchTungStriebel(
        VariationalFilter(NaturalGradient(rate=1.0), FullGaussian(2)), joint=Unscented()
    ),
}


@pytest.mark.parametrize("name", METHODS)
def test_all_are_exact_where_all_is_linear(case, key, name):
    observations, dense = case.observations, case.dense
    if name == "natural gradient":  # It knows no noise of an observation's own.
        observations = case.observations.value
        noises = jnp.broadcast_to(case.model.emission_scale_tril, case.observations.scale_tril.shape)
        dense = _dense(case.model, observations, noises, case.actions)
    smoothed = smooth(METHODS[name], case.model, observations, case.actions, key=key)
    assert jnp.abs(smoothed.log_evidence_nats - dense.log_evidence) < ALGEBRA
    assert jnp.abs(smoothed.beliefs.loc - dense.mean).max() < ALGEBRA
    assert jnp.abs(smoothed.beliefs.covariance - dense.covariance).max() < ALGEBRA
    assert jnp.abs(smoothed.cross_covariances - dense.cross).max() < ALGEBRA


@pytest.mark.parametrize("recursion", [Kalman().recursion, Parallel()], ids=["sequential", "parallel"])
def test_a_whole_run_is_the_steps(case, recursion):
    method = Kalman(recursion=recursion)
    found = jax.jit(lambda x, a: method.filter(case.model, x, a))(case.observations, case.actions)
    prediction = method.init(case.model)
    for t in range(TIME):
        belief, info = method.update(case.model, prediction, jax.tree.map(lambda leaf, t=t: leaf[t], case.observations))
        assert jnp.abs(found.predictions.loc[t] - prediction.loc).max() < ALGEBRA
        assert jnp.abs(found.predictions.scale_tril[t] - prediction.scale_tril).max() < ALGEBRA
        assert jnp.abs(found.beliefs.loc[t] - belief.loc).max() < ALGEBRA
        assert jnp.abs(found.beliefs.scale_tril[t] - belief.scale_tril).max() < ALGEBRA
        assert jnp.abs(found.info.free_energy_nats[t] - info.free_energy_nats) < ALGEBRA
        if t + 1 < TIME:
            prediction = method.predict(case.model, belief, jax.tree.map(lambda leaf, t=t: leaf[t], case.actions))


@pytest.mark.parametrize("recursion", [Kalman().recursion, Parallel()], ids=["sequential", "parallel"])
def test_one_observation_or_none_at_all(case, recursion):
    method = RauchTungStriebel(Kalman(recursion=recursion), recursion)
    short = jax.tree.map(lambda leaf: leaf[:1], case.observations)
    none = jax.tree.map(lambda leaf: leaf[:0], case.actions)
    found = smooth(method, case.model, short, none)
    dense = _dense(case.model, short.value, short.scale_tril, none)
    assert jnp.abs(found.beliefs.loc - dense.mean).max() < ALGEBRA
    assert jnp.abs(found.log_evidence_nats - dense.log_evidence) < ALGEBRA
    assert found.gains.shape == (0, 2, 2)
    blind = Measurement(jnp.full((TIME, 2), jnp.nan), case.observations.scale_tril)
    found = smooth(method, case.model, blind, case.actions)
    dense = _dense(case.model, blind.value, blind.scale_tril, case.actions)
    assert jnp.abs(found.beliefs.loc - dense.mean).max() < ALGEBRA
    assert jnp.abs(found.beliefs.covariance - dense.covariance).max() < ALGEBRA
    assert jnp.abs(found.filtered.info.free_energy_nats).max() < ALGEBRA


def test_noise_may_be_singular_and_what_cannot_be_smoothed_says_so(key):
    """An autoregression of second order as a chain of lags: its noise enters one coordinate of two."""
    dynamics = LinearDynamics(jnp.array([[0.5, 0.3], [1.0, 0.0]]), None, jnp.diag(jnp.array([0.6, 0.0])))
    model = LinearGaussian(jnp.zeros(2), jnp.eye(2), dynamics, jnp.array([[1.0, 0.0]]), 0.5 * jnp.eye(1))
    values, actions = jr.normal(key, (4, 1)), jnp.zeros((3, 0))
    dense = _dense(model, values, 0.5 * jnp.ones((4, 1, 1)), actions)
    for method in (RauchTungStriebel(), RauchTungStriebel(Kalman(recursion=Parallel()), Parallel())):
        found = smooth(method, model, values, actions)
        assert jnp.abs(found.beliefs.loc - dense.mean).max() < ALGEBRA
        assert jnp.abs(found.log_evidence_nats - dense.log_evidence) < ALGEBRA
    lost = LinearDynamics(jnp.diag(jnp.array([0.5, 0.0])), None, jnp.diag(jnp.array([0.6, 0.0])))
    forgetful = LinearGaussian(jnp.zeros(2), jnp.eye(2), lost, jnp.array([[1.0, 0.0]]), 0.5 * jnp.eye(1))
    assert jnp.isfinite(filter(Kalman(), forgetful, values, actions, key=key).free_energy_nats)
    with pytest.raises(RuntimeError, match="uncertain in every direction"):
        smooth(RauchTungStriebel(), forgetful, values, actions)


def _moved(model, belief, points, weights, action):
    values = np.stack([np.asarray(model.transition(jnp.asarray(z), action).mean) for z in points])
    mean = weights @ values
    noise = _square(model.transition(belief.loc, action).scale_tril)
    return mean, (values - mean).T @ np.diag(weights) @ (values - mean) + noise


def test_extended_and_unscented_steps_are_the_textbook_ones():
    """In covariance form, for a pendulum that swings far."""
    model, action = pendulum(), jnp.array([0.3])
    belief = GaussianBelief(jnp.array([1.2, -0.7]), jnp.array([[0.4, 0.0], [0.1, 0.5]]))
    covariance, value = _square(belief.scale_tril), jnp.array([0.4])
    noise = _square(model.emission_scale_tril)

    jacobian = np.asarray(eqx.filter_jit(jax.jacobian(lambda z: model.transition(z, action).mean))(belief.loc))
    expected = jacobian @ covariance @ jacobian.T + _square(model.transition(belief.loc, action).scale_tril)
    found = Extended().predict(model, belief, action)
    assert jnp.abs(found.loc - model.transition(belief.loc, action).mean).max() < ALGEBRA
    assert jnp.abs(found.covariance - expected).max() < ALGEBRA
    slope = np.asarray(eqx.filter_jit(jax.jacobian(model.emission_mean))(belief.loc))
    innovation = slope @ covariance @ slope.T + noise
    gain = covariance @ slope.T / innovation
    found, info = Extended().update(model, belief, value)
    residual = np.asarray(value - model.emission_mean(belief.loc))
    assert jnp.abs(found.loc - (belief.loc + gain @ residual)).max() < ALGEBRA
    assert jnp.abs(found.covariance - (covariance - gain @ innovation @ gain.T)).max() < ALGEBRA
    density = scipy.stats.multivariate_normal(np.zeros(1), innovation).logpdf(residual)
    assert jnp.abs(info.free_energy_nats + density) < ALGEBRA

    spread = np.sqrt(3.0) * np.asarray(belief.scale_tril).T
    points = np.asarray(belief.loc) + np.concatenate([np.zeros((1, 2)), spread, -spread])
    weights = np.array([1.0 / 3.0] + 4 * [1.0 / 6.0])  # kappa = 1, d = 2
    mean, predicted = _moved(model, belief, points, weights, action)
    found = Unscented(SigmaPoints()).predict(model, belief, action)
    assert jnp.abs(found.loc - mean).max() < ALGEBRA
    assert jnp.abs(found.covariance - predicted).max() < ALGEBRA
    seen = np.stack([np.asarray(model.emission_mean(jnp.asarray(z))) for z in points])
    centre = weights @ seen
    innovation = (seen - centre).T @ np.diag(weights) @ (seen - centre) + noise
    gain = (points - np.asarray(belief.loc)).T @ np.diag(weights) @ (seen - centre) / innovation
    found, _ = Unscented().update(model, belief, value)
    assert jnp.abs(found.loc - (belief.loc + gain @ (np.asarray(value) - centre))).max() < ALGEBRA
    assert jnp.abs(found.covariance - (covariance - gain @ innovation @ gain.T)).max() < ALGEBRA


def test_iterations_end_at_the_mode():
    """With enough expansions the estimate maximises p(x | z) p(z) where noise is Gaussian (Bell and Cathey 1993)."""
    model = pendulum(observation_scale=0.05)
    belief, value = GaussianBelief(jnp.array([0.2, 0.1]), 0.5 * jnp.eye(2)), jnp.array([0.8])
    found, _ = Extended(25).update(model, belief, value)
    log_joint = lambda z: belief.distribution.log_prob(z) + model.emission(z).log_prob(value)  # noqa: E731
    assert jnp.abs(eqx.filter_jit(jax.grad(log_joint))(found.loc)).max() < AUTODIFF
    assert jnp.abs(eqx.filter_jit(jax.grad(log_joint))(Extended().update(model, belief, value)[0].loc)).max() > 0.1


def test_counts_enter_with_mean_and_variance(key):
    """A linear rate: the Poisson update is that of a Gaussian whose variance is the mean."""
    emission = PoissonEmission(lambda z: jnp.log(z + 20.0))
    model = StateSpace(stochastic_volatility().first, LinearDynamics(jnp.eye(1)), emission)
    belief = GaussianBelief(jnp.array([0.5]), jnp.array([[2.0]]))
    like = LinearGaussian(
        belief.loc, belief.scale_tril, model.dynamics, jnp.eye(1), jnp.sqrt(20.5) * jnp.eye(1), jnp.array([20.0])
    )
    expected, info = Kalman().update(like, belief, jnp.array([26.0]))
    for method in (Extended(), Unscented()):  # The variance is linear too, so its average is that at the mean.
        found, measured = method.update(model, belief, jnp.array([26.0]))
        assert jnp.abs(found.loc - expected.loc).max() < ALGEBRA
        assert jnp.abs(found.scale_tril - expected.scale_tril).max() < ALGEBRA
        assert jnp.abs(measured.free_energy_nats - info.free_energy_nats) < ALGEBRA
        blind, nothing = method.update(model, belief, Masked(jnp.array([26]), jnp.array([False])))
        assert jnp.abs(blind.covariance - belief.covariance).max() < ALGEBRA
        assert jnp.abs(nothing.free_energy_nats) < ALGEBRA
    unmoved, _ = Extended().update(stochastic_volatility(), belief, jnp.array([3.0]))
    assert jnp.abs(unmoved.loc - belief.loc).max() < ALGEBRA  # As its docstring warns.


def test_an_ensemble_approaches_the_exact_filter(case, key):
    count = 4_000
    exact = filter(Kalman(), case.model, case.observations, case.actions, key=key)
    found = filter(Ensemble(count), case.model, case.observations, case.actions, key=key)
    deviations = jnp.sqrt(jnp.diagonal(exact.beliefs.covariance, axis1=1, axis2=2))
    means = eqx.filter_jit(jax.vmap(lambda belief: belief.mean))(found.beliefs)
    # Members share their moments, so errors of several steps add up: twice those of independent samples are allowed.
    assert jnp.all(jnp.abs(means - exact.beliefs.loc) < 2.0 * MONTE_CARLO_STANDARD_ERRORS * deviations / count**0.5)
    blind = jnp.full(2, jnp.nan)
    before = Ensemble(50).init(case.model, key=key)
    after, info = Ensemble(50).update(case.model, before, blind, key=key)
    assert jnp.abs(after.particles - before.particles).max() < ALGEBRA
    assert jnp.abs(info.free_energy_nats) < ALGEBRA


def test_a_flat_taper_changes_nothing_and_the_small_space_neither(case, key):
    taper = Taper(jnp.ones((2, 2)), jnp.array([[1.0, 0.0], [1.0, 0.0]]))
    value = jnp.array([0.4, -0.2])
    belief = Ensemble(40).init(case.model, key=key)
    plain, info = Ensemble(40).update(case.model, belief, value, key=key)
    tapered, same = Ensemble(40, taper=taper).update(case.model, belief, value, key=key)
    assert jnp.abs(plain.particles - tapered.particles).max() < AUTODIFF
    assert jnp.abs(info.free_energy_nats - same.free_energy_nats) < AUTODIFF
    local = Taper(jnp.zeros((2, 2)), jnp.eye(2))
    unmoved, _ = Ensemble(40, taper=local).update(case.model, belief, value, key=key)
    assert jnp.abs(unmoved.particles - belief.particles).max() < ALGEBRA


def _regimes(key):
    first, second = jr.split(key)

    def one(k, scale):
        dynamics = LinearDynamics(0.5 * jr.normal(k, (2, 2)), None, scale * jnp.eye(2), jr.normal(k, (2,)))
        return LinearGaussian(jr.normal(k, (2,)), jnp.eye(2), dynamics, jr.normal(k, (1, 2)), scale * jnp.eye(1))

    return one(first, 0.4), one(second, 0.9)


def test_interacting_models_are_exact_where_nothing_is_mixed(key):
    """With regimes that alternate for certain, against the dense Gaussian of that alternation."""
    pair = _regimes(key)
    swap = TransitionMatrix.from_probabilities(jnp.array([[0.0, 1.0], [1.0, 0.0]]))
    model = SwitchingLinear(jnp.array([0.0, -jnp.inf]), swap, pair)
    values = jr.normal(key, (4, 1))
    found = filter(InteractingModels(), model, values, key=key)
    path = [pair[t % 2] for t in range(4)]
    steps = [
        (np.asarray(m.dynamics.matrix), np.asarray(m.dynamics.offset), _square(m.dynamics.scale_tril)) for m in path
    ]
    rows = scipy.linalg.block_diag(*[np.asarray(m.emission_matrix) for m in path])
    covariances, mean, full = [], [np.asarray(path[0].initial_mean)], np.zeros((8, 8))
    full[:2, :2] = np.eye(2)
    for t in range(1, 4):
        matrix, shift, noise = steps[t]
        mean.append(matrix @ mean[-1] + shift)
        full[2 * t : 2 * t + 2, : 2 * t] = matrix @ full[2 * t - 2 : 2 * t, : 2 * t]
        full[: 2 * t, 2 * t : 2 * t + 2] = full[2 * t : 2 * t + 2, : 2 * t].T
        full[2 * t : 2 * t + 2, 2 * t : 2 * t + 2] = (
            matrix @ full[2 * t - 2 : 2 * t, 2 * t - 2 : 2 * t] @ matrix.T + noise
        )
        covariances.append(noise)
    innovation = rows @ full @ rows.T + np.diag([float(m.emission_scale_tril[0, 0]) ** 2 for m in path])
    expected = scipy.stats.multivariate_normal(rows @ np.concatenate(mean), innovation).logpdf(np.asarray(values)[:, 0])
    assert jnp.abs(found.free_energy_nats + expected) < ALGEBRA
    assert jnp.abs(found.beliefs.probabilities[jnp.arange(4), jnp.arange(4) % 2] - 1.0).max() < ALGEBRA


def test_interacting_models_weigh_regimes_by_bayes(key):
    """Exact for one observation; the belief's moments are those of its samples by the laws."""
    pair = _regimes(key)
    chain = TransitionMatrix.from_probabilities(jnp.array([[0.9, 0.1], [0.3, 0.7]]))
    model = SwitchingLinear(jnp.log(jnp.array([0.3, 0.7])), chain, pair)
    value = jnp.array([0.7])
    belief, info = InteractingModels().update(model, InteractingModels().init(model), value)
    parts = [Kalman().update(regime, Kalman().init(regime), value)[1].free_energy_nats for regime in pair]
    weights = np.array([0.3, 0.7]) * np.exp(-np.array(parts))
    assert jnp.abs(info.free_energy_nats + np.log(weights.sum())) < ALGEBRA
    assert jnp.abs(belief.probabilities - weights / weights.sum()).max() < ALGEBRA
    moved = InteractingModels().predict(model, belief)
    assert jnp.abs(moved.probabilities - belief.probabilities @ np.exp(chain.log_matrix())).max() < ALGEBRA


def test_a_regime_that_cannot_be_reached_has_finite_derivatives(key):
    stay = TransitionMatrix.from_probabilities(jnp.array([[1.0, 0.0], [1.0, 0.0]]))
    model = SwitchingLinear(jnp.zeros(2), stay, _regimes(key))
    energy = lambda m: filter(InteractingModels(), m, jnp.ones((2, 1)), key=key).free_energy_nats  # noqa: E731
    slope = eqx.filter_jit(jax.grad(energy))(model)
    assert all(jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(slope.regimes))


def test_bad_input_is_refused(case, key):
    model, none = case.model, TimedAction(jnp.zeros(0), jnp.zeros((0, 1)))
    refused = [
        (lambda: Extended(0), "iteration"),
        (lambda: Unscented(MonteCarlo(5)), "rule"),
        (lambda: SigmaPoints(-1.0), "kappa"),
        (lambda: GaussHermite(0), "order"),
        (lambda: GaussHermite(40).points(model.initial().expand((1,)).to_event(1), key=key), "Gaussian"),
        (lambda: Ensemble(1), "two members"),
        (lambda: Ensemble(5).init(model), "key"),
        (lambda: Ensemble(5).update(model, Ensemble(5).init(model, key=key), jnp.zeros(3), key=key), "2 entries"),
        (lambda: Extended().update(model, Extended().init(model), jnp.zeros(3)), "2 entries"),
        (lambda: InteractingModels().init(model), "SwitchingLinear"),
        (lambda: Kalman(recursion=Parallel()).filter(model, jnp.zeros((3, 5))), "observations of shape"),
        (lambda: filter(Kalman(), model, jnp.zeros((3, 2)), jnp.zeros((2, 1)), key=key), "TimedAction"),
        (lambda: smooth(RauchTungStriebel(Ensemble(5)), model, jnp.zeros((1, 2))), "key"),
        (lambda: smooth(RauchTungStriebel(Ensemble(5)), model, jnp.zeros((1, 2)), none, key=key), "Gaussian beliefs"),
    ]
    for build, message in refused:
        with pytest.raises(BadInputError, match=message):
            build()
