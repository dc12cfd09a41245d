"""Exact filters and smoothers against the dense joint Gaussian and against dynamax."""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy

from homeostat.distributions import DiagonalGaussian, FullGaussian, Parallel, Sequential
from homeostat.inference import RauchTungStriebel, filter, predictive_log_likelihood, smooth
from homeostat.inference.engines import NaturalGradient
from homeostat.inference.filters import GaussianBelief, Kalman, Particle, ParticleBelief, VariationalFilter
from homeostat.models.sequential import LinearDynamics, LinearGaussian, Measurement, Periodic, StateSpace
from homeostat.results import BadInputError
from tolerances import ALGEBRA, FINITE_DIFFERENCES, FLOAT32, MONTE_CARLO_STANDARD_ERRORS

DIM, SIZE, ACTIONS, TIME = 3, 2, 2, 7


class Problem(NamedTuple):
    model: LinearGaussian
    observations: jax.Array
    actions: jax.Array
    noises: jax.Array


def _factor(key, dim):
    return jnp.tril(0.3 * jr.normal(key, (dim, dim)), -1) + jnp.diag(jr.uniform(key, (dim,), minval=0.5, maxval=1.5))


@pytest.fixture
def problem(key) -> Problem:
    keys = iter(jr.split(key, 12))
    dynamics = LinearDynamics(
        0.5 * jr.normal(next(keys), (DIM, DIM)),
        jr.normal(next(keys), (DIM, ACTIONS)),
        _factor(next(keys), DIM),
        jr.normal(next(keys), (DIM,)),
    )
    model = LinearGaussian(
        jr.normal(next(keys), (DIM,)),
        _factor(next(keys), DIM),
        dynamics,
        jr.normal(next(keys), (SIZE, DIM)),
        _factor(next(keys), SIZE),
        jr.normal(next(keys), (SIZE,)),
    )
    actions = jr.normal(next(keys), (TIME - 1, ACTIONS))
    noises = eqx.filter_jit(jax.vmap(lambda k: _factor(k, SIZE)))(jr.split(next(keys), TIME))
    return Problem(model, model.sample(actions, key=next(keys)).observations, actions, noises)


class Joint(NamedTuple):
    mean: np.ndarray
    covariance: np.ndarray
    cross: np.ndarray
    log_evidence: float


def _dense(problem: Problem, values, noises, last: int) -> Joint:
    """Every conditional from one big Gaussian over all states and the observations up to `last`, in NumPy."""
    model = jax.tree.map(np.asarray, problem.model)
    dynamics, actions = model.dynamics, np.asarray(problem.actions)
    means, covariance = [model.initial_mean], np.zeros((TIME * DIM, TIME * DIM))
    covariance[:DIM, :DIM] = model.initial_scale_tril @ model.initial_scale_tril.T
    for t in range(1, TIME):
        means.append(dynamics.matrix @ means[-1] + dynamics.control @ actions[t - 1] + dynamics.offset)
        past, now = slice(0, t * DIM), slice(t * DIM, (t + 1) * DIM)
        cross = dynamics.matrix @ covariance[(t - 1) * DIM : t * DIM, past]
        covariance[now, past], covariance[past, now] = cross, cross.T
        covariance[now, now] = cross[:, -DIM:] @ dynamics.matrix.T + dynamics.scale_tril @ dynamics.scale_tril.T
    emission = np.kron(np.eye(TIME), model.emission_matrix)
    noise = scipy.linalg.block_diag(*[factor @ factor.T for factor in np.asarray(noises)])
    flat, mean = np.asarray(values).reshape(-1), np.concatenate(means)
    keep = np.flatnonzero(~np.isnan(flat) & (np.arange(TIME * SIZE) < last * SIZE))
    expected = (emission @ mean + np.tile(model.emission_offset, TIME))[keep]
    rows = emission[keep]
    innovation = rows @ covariance @ rows.T + noise[np.ix_(keep, keep)]
    gain = np.linalg.solve(innovation, rows @ covariance).T
    mean = (mean + gain @ (flat[keep] - expected)).reshape(TIME, DIM)
    covariance = (covariance - gain @ innovation @ gain.T).reshape(TIME, DIM, TIME, DIM)
    index = np.arange(TIME)
    return Joint(
        mean,
        covariance[index, :, index],
        covariance[index[1:], :, index[:-1]],
        scipy.stats.multivariate_normal(expected, innovation).logpdf(flat[keep]),
    )


def _scenarios(problem: Problem):
    shared = jnp.broadcast_to(problem.model.emission_scale_tril, problem.noises.shape)
    holes = problem.observations.at[2].set(jnp.nan).at[4, 0].set(jnp.nan).at[TIME - 1, 1].set(jnp.nan)
    return {
        "plain": (problem.observations, shared, problem.observations),
        "missing": (holes, shared, holes),
        "own noise": (problem.observations, problem.noises, Measurement(problem.observations, problem.noises)),
        "own noise, missing": (holes, problem.noises, Measurement(holes, problem.noises)),
    }


@pytest.mark.parametrize("scenario", ["plain", "missing", "own noise", "own noise, missing"])
def test_filter_and_smoother_agree_with_the_dense_joint(problem, key, scenario):
    values, noises, observations = _scenarios(problem)[scenario]
    filtered = filter(Kalman(), problem.model, observations, problem.actions, key=key)
    smoothed = smooth(RauchTungStriebel(), problem.model, observations, problem.actions)
    complete = _dense(problem, values, noises, TIME)
    assert jnp.abs(filtered.free_energy_nats + complete.log_evidence) < ALGEBRA
    assert jnp.abs(smoothed.log_evidence_nats - complete.log_evidence) < ALGEBRA
    assert jnp.abs(smoothed.beliefs.loc - complete.mean).max() < ALGEBRA
    assert jnp.abs(smoothed.beliefs.covariance - complete.covariance).max() < ALGEBRA
    assert jnp.abs(smoothed.cross_covariances - complete.cross).max() < ALGEBRA
    evidence = 0.0
    for t in range(TIME):
        upto = _dense(problem, values, noises, t + 1)
        assert jnp.abs(filtered.beliefs.loc[t] - upto.mean[t]).max() < ALGEBRA
        assert jnp.abs(filtered.beliefs.covariance[t] - upto.covariance[t]).max() < ALGEBRA
        assert jnp.abs(filtered.info.free_energy_nats[t] + upto.log_evidence - evidence) < ALGEBRA
        evidence = upto.log_evidence
    assert jnp.all(jnp.diagonal(smoothed.beliefs.scale_tril, axis1=1, axis2=2) > 0.0)


@pytest.mark.parametrize("recursion", [Sequential(), Parallel()], ids=["sequential", "parallel"])
def test_a_large_level_costs_32_bits_no_digits_but_those_of_the_data(recursion):
    """A random walk around 300,000 that is seen around 500,000, where 32 bits count in steps of 1/32."""
    generator, time, level, offset = np.random.default_rng(0), 200, 3e5, 2e5
    walk = np.cumsum(0.5 * generator.normal(size=time)) + 0.5 * generator.normal(size=time)
    seen = np.asarray((walk + level + offset).astype(np.float32), np.float64)

    def energy(dtype):
        one = jnp.eye(1, dtype=dtype)
        model = LinearGaussian(
            jnp.full(1, level, dtype),
            one,
            LinearDynamics(one, None, 0.5 * one),
            one,
            0.5 * one,
            jnp.full(1, offset, dtype),
        )
        found = filter(Kalman(recursion=recursion), model, jnp.asarray(seen[:, None], dtype), key=jr.key(0))
        np.testing.assert_allclose(found.beliefs.loc[-1, 0], seen[-1] - offset, atol=2.0)
        return float(found.free_energy_nats)

    np.testing.assert_allclose(energy(jnp.float32), energy(jnp.float64), rtol=FLOAT32)


def test_too_few_digits_are_told():
    """Around 1,000,000 numbers of 32 bits are 0.06 apart."""
    one = jnp.eye(1, dtype=jnp.float32)
    model = LinearGaussian(jnp.full(1, 1e6, jnp.float32), one, LinearDynamics(one, None, one), one, one)
    seen = 1e6 + np.random.default_rng(0).normal(size=(20, 1)).astype(np.float32)
    with pytest.warns(UserWarning, match="lie near 1e.06 and vary by some 0.*32 bits are 0.12 apart"):
        filter(Kalman(), model, jnp.asarray(seen, jnp.float32), key=jr.key(0))
    filter(Kalman(), model, jnp.asarray(seen, jnp.float32) - 1e6, key=jr.key(0))


@pytest.mark.filterwarnings("ignore")
def test_filter_and_smoother_agree_with_dynamax(problem, key, monkeypatch):
    from dynamax.linear_gaussian_ssm import inference as oracle
    from dynamax.utils.utils import psd_solve

    # dynamax adds 1e-9 to the diagonal of the matrices that it inverts, which alone would exceed the tolerance.
    monkeypatch.setattr(oracle, "psd_solve", functools.partial(psd_solve, diagonal_boost=0.0))
    model, dynamics = problem.model, problem.model.dynamics
    square = lambda factor: factor @ factor.T  # noqa: E731
    with jax.numpy_rank_promotion("allow"):
        params = oracle.ParamsLGSSM(
            initial=oracle.ParamsLGSSMInitial(mean=model.initial_mean, cov=square(model.initial_scale_tril)),
            dynamics=oracle.ParamsLGSSMDynamics(
                weights=dynamics.matrix,
                bias=dynamics.offset,
                input_weights=dynamics.control,
                cov=square(dynamics.scale_tril),
            ),
            emissions=oracle.ParamsLGSSMEmissions(
                weights=model.emission_matrix,
                bias=model.emission_offset,
                input_weights=jnp.zeros((SIZE, ACTIONS)),
                cov=square(model.emission_scale_tril),
            ),
        )
        inputs = jnp.concatenate([jnp.zeros((1, ACTIONS)), problem.actions])  # dynamax: u_t leads to z_t.
        expected = oracle.lgssm_smoother(params, problem.observations, inputs)
    filtered = filter(Kalman(), model, problem.observations, problem.actions, key=key)
    smoothed = smooth(RauchTungStriebel(), model, problem.observations, problem.actions)
    assert jnp.abs(filtered.beliefs.loc - expected.filtered_means).max() < ALGEBRA
    assert jnp.abs(filtered.beliefs.covariance - expected.filtered_covariances).max() < ALGEBRA
    assert jnp.abs(filtered.free_energy_nats + expected.marginal_loglik) < ALGEBRA
    assert jnp.abs(smoothed.beliefs.loc - expected.smoothed_means).max() < ALGEBRA
    assert jnp.abs(smoothed.beliefs.covariance - expected.smoothed_covariances).max() < ALGEBRA
    means = smoothed.beliefs.loc
    second = jnp.swapaxes(smoothed.cross_covariances, 1, 2) + means[:-1, :, None] * means[1:, None, :]
    assert jnp.abs(second - expected.smoothed_cross_covariances).max() < ALGEBRA


def test_no_observation_at_all_leaves_the_prior(problem, key):
    nothing = jnp.full((TIME, SIZE), jnp.nan)
    filtered = filter(Kalman(), problem.model, nothing, problem.actions, key=key)
    assert jnp.abs(filtered.info.free_energy_nats).max() < ALGEBRA
    assert jnp.abs(filtered.beliefs.loc - filtered.predictions.loc).max() < ALGEBRA
    assert jnp.abs(filtered.beliefs.covariance - filtered.predictions.covariance).max() < ALGEBRA


def test_one_natural_gradient_step_is_a_kalman_update(problem, key):
    method = VariationalFilter(NaturalGradient(rate=1.0), FullGaussian(DIM), num_steps=1)
    variational = filter(method, problem.model, problem.observations, problem.actions, key=key)
    exact = filter(Kalman(), problem.model, problem.observations, problem.actions, key=key)
    assert jnp.abs(variational.beliefs.loc - exact.beliefs.loc).max() < ALGEBRA
    assert jnp.abs(variational.beliefs.covariance - exact.beliefs.covariance).max() < ALGEBRA
    assert jnp.abs(variational.predictions.covariance - exact.predictions.covariance).max() < ALGEBRA
    assert jnp.abs(variational.info.free_energy_nats - exact.info.free_energy_nats).max() < ALGEBRA


def test_a_composition_of_the_same_parts_filters_the_same(problem, key):
    model = problem.model
    composed = StateSpace(model.initial, model.dynamics, model.emission)
    method = VariationalFilter(NaturalGradient(rate=1.0), FullGaussian(DIM))
    first = filter(method, model, problem.observations, problem.actions, key=key)
    second = filter(method, composed, problem.observations, problem.actions, key=key)
    assert jnp.abs(first.beliefs.loc - second.beliefs.loc).max() < ALGEBRA
    assert jnp.abs(first.info.free_energy_nats - second.info.free_energy_nats).max() < ALGEBRA


def test_a_diagonal_family_bounds_the_evidence(problem, key):
    method = VariationalFilter(NaturalGradient(rate=0.2), DiagonalGaussian(DIM), num_steps=400)
    approximate = filter(method, problem.model, problem.observations[:1], problem.actions[:0], key=key)
    exact = filter(Kalman(), problem.model, problem.observations[:1], problem.actions[:0], key=key)
    assert approximate.free_energy_nats > exact.free_energy_nats + ALGEBRA
    assert jnp.abs(approximate.beliefs.loc - exact.beliefs.loc).max() < ALGEBRA


def test_particle_evidence_is_unbiased(problem, key):
    method, repeats = Particle(200), 200
    exact = filter(Kalman(), problem.model, problem.observations, problem.actions, key=key)
    run = lambda k: filter(method, problem.model, problem.observations, problem.actions, key=k)  # noqa: E731
    estimates = eqx.filter_jit(jax.vmap(run))(jr.split(key, repeats))
    ratios = jnp.exp(exact.free_energy_nats - jnp.sum(estimates.info.free_energy_nats, axis=1))
    standard_error = jnp.std(ratios, ddof=1) / repeats**0.5
    assert jnp.abs(jnp.mean(ratios) - 1.0) < MONTE_CARLO_STANDARD_ERRORS * standard_error
    assert standard_error < 0.1  # The test would otherwise prove nothing.


def test_particle_means_approach_the_exact_ones(problem, key):
    exact = filter(Kalman(), problem.model, problem.observations, problem.actions, key=key)
    particles = filter(Particle(20_000), problem.model, problem.observations, problem.actions, key=key)
    means = eqx.filter_jit(jax.vmap(lambda b: b.mean))(particles.beliefs)
    deviations = jnp.sqrt(jnp.diagonal(exact.beliefs.covariance, axis1=1, axis2=2))
    sizes = eqx.filter_jit(jax.vmap(lambda b: b.effective_size))(particles.beliefs)
    assert jnp.all(sizes > 100.0)
    error = jnp.abs(means - exact.beliefs.loc) / (deviations / jnp.sqrt(sizes)[:, None])
    # Resampling adds to the variance of independent weighted particles; it stays within a factor of four here.
    assert jnp.all(error < 2.0 * MONTE_CARLO_STANDARD_ERRORS)


def test_a_particle_belief_has_the_moments_of_its_samples(key):
    belief = ParticleBelief(jr.normal(key, (50, 2)), jax.nn.log_softmax(jr.normal(key, (50,))))
    draws = eqx.filter_jit(jax.vmap(lambda k: belief.sample(key=k)))(jr.split(key, 4_000))
    error = jnp.sqrt(jnp.diagonal(belief.covariance) / 4_000)
    assert jnp.all(jnp.abs(jnp.mean(draws, 0) - belief.mean) < MONTE_CARLO_STANDARD_ERRORS * error)


def test_a_gaussian_belief_has_the_moments_of_its_samples(key):
    belief = GaussianBelief(jnp.array([1.0, -2.0]), jnp.array([[1.0, 0.0], [0.5, 2.0]]))
    draws = eqx.filter_jit(jax.vmap(lambda k: belief.sample(key=k)))(jr.split(key, 4_000))
    error = jnp.sqrt(jnp.diagonal(belief.covariance) / 4_000)
    assert jnp.all(jnp.abs(jnp.mean(draws, 0) - belief.mean) < MONTE_CARLO_STANDARD_ERRORS * error)


def test_an_angle_is_tracked_across_the_seam(key):
    """A sprite that turns steadily, measured modulo the period, is tracked on the cover as if it had been measured there."""
    dynamics = LinearDynamics(jnp.eye(2), jnp.eye(2), 0.05 * jnp.eye(2))
    model = LinearGaussian(jnp.zeros(2), 0.3 * jnp.eye(2), dynamics, jnp.eye(2), 0.05 * jnp.eye(2))
    actions = jnp.tile(jnp.array([0.3, 0.1]), (40, 1))
    truth = model.sample(actions, key=key)
    periodic = Periodic([2.0, jnp.inf])
    measured = periodic.wrap(truth.observations)
    wrapped = filter(Kalman(periodic), model, measured, actions, key=key)
    cover = filter(Kalman(), model, truth.observations, actions, key=key)
    naive = filter(Kalman(), model, measured, actions, key=key)
    assert truth.states[-1, 0] > 10.0
    assert jnp.abs(wrapped.beliefs.loc - cover.beliefs.loc).max() < ALGEBRA
    assert jnp.abs(wrapped.info.free_energy_nats - cover.info.free_energy_nats).max() < ALGEBRA
    assert naive.free_energy_nats > wrapped.free_energy_nats + 100.0
    smoothed = smooth(RauchTungStriebel(Kalman(periodic)), model, measured, actions)
    reference = smooth(RauchTungStriebel(), model, truth.observations, actions)
    assert jnp.abs(smoothed.beliefs.loc - reference.beliefs.loc).max() < ALGEBRA


def test_batches_are_maps_over_the_verb(problem, key):
    observations = jnp.stack([problem.observations, 2.0 * problem.observations])
    run = lambda x: filter(Kalman(), problem.model, x, problem.actions, key=key)  # noqa: E731
    batched = eqx.filter_jit(jax.vmap(run))(observations)
    single = run(observations[1])
    assert jnp.abs(batched.beliefs.loc[1] - single.beliefs.loc).max() < ALGEBRA


def test_the_evidence_is_differentiable_in_the_model(problem, key):
    @eqx.filter_grad
    def gradient(model):
        return filter(Kalman(), model, problem.observations, problem.actions, key=key).free_energy_nats

    def energy(delta):
        matrix = problem.model.dynamics.matrix.at[0, 1].add(delta)
        model = eqx.tree_at(lambda m: m.dynamics.matrix, problem.model, matrix)
        return filter(Kalman(), model, problem.observations, problem.actions, key=key).free_energy_nats

    found, step = gradient(problem.model).dynamics.matrix[0, 1], 1e-5
    numeric = (energy(step) - energy(-step)) / (2.0 * step)
    assert jnp.abs(found - numeric) < FINITE_DIFFERENCES * (1.0 + jnp.abs(numeric))


def test_bad_input_is_refused(problem, key):
    with pytest.raises(BadInputError, match="one action between"):
        filter(Kalman(), problem.model, problem.observations, problem.actions[:-1], key=key)
    with pytest.raises(BadInputError, match="LinearGaussian"):
        Kalman().init(StateSpace(problem.model.initial, problem.model.dynamics, problem.model.emission))
    with pytest.raises(BadInputError, match="key"):
        Particle(10).init(problem.model)
    with pytest.raises(BadInputError, match="particle"):
        Particle(0)
    with pytest.raises(BadInputError, match="common leading time axis"):
        filter(Kalman(), problem.model, problem.observations[:0], None, key=key)
    with pytest.raises(RuntimeError, match="NaN or infinite"):
        filter(Kalman(), problem.model, problem.observations.at[0, 0].set(jnp.inf), problem.actions, key=key)


@pytest.mark.parametrize("horizon", [1, 3])
def test_predictive_log_likelihoods_are_the_formula(problem, key, horizon):
    """N(x; C m + d, C P C^T + R) with m and P rolled forward from the filter by hand."""
    model, dynamics = problem.model, problem.model.dynamics
    filtered = filter(Kalman(), model, problem.observations, problem.actions, key=key)
    found = predictive_log_likelihood(
        Kalman(), model, filtered, problem.observations, problem.actions, horizon=horizon, key=key
    )
    assert found.shape == (TIME - horizon,)
    for t in range(TIME - horizon):
        mean, covariance = filtered.beliefs.loc[t], filtered.beliefs.covariance[t]
        for action in problem.actions[t : t + horizon]:
            mean = dynamics.matrix @ mean + dynamics.control @ action + dynamics.offset
            covariance = dynamics.matrix @ covariance @ dynamics.matrix.T + dynamics.scale_tril @ dynamics.scale_tril.T
        emission, noise = model.emission_matrix, model.emission_scale_tril
        expected = scipy.stats.multivariate_normal(
            emission @ mean + model.emission_offset, emission @ covariance @ emission.T + noise @ noise.T
        ).logpdf(problem.observations[t + horizon])
        assert jnp.abs(found[t] - expected) < ALGEBRA
    if horizon == 1:
        assert jnp.abs(found + filtered.info.free_energy_nats[1:]).max() < ALGEBRA
    with pytest.raises(BadInputError, match="horizon"):
        predictive_log_likelihood(
            Kalman(), model, filtered, problem.observations, problem.actions, horizon=TIME, key=key
        )
