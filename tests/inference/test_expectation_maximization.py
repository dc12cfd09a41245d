"""Learning dynamics: EM is exact and monotone, recovers systems, and feeds the Bayesian regression."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import pytest

from homeostat.distributions import positive_tria
from homeostat.inference import Parts, RauchTungStriebel, expectation_maximization, filter, smooth, transition_moments
from homeostat.inference.filters import Kalman
from homeostat.models.sequential import (
    BayesianLinearDynamics,
    LinearDynamics,
    LinearGaussian,
    Measurement,
    Periodic,
    in_displacement_coordinates,
    second_order,
)
from homeostat.results import BadInputError
from tolerances import ALGEBRA, AUTODIFF, MONTE_CARLO_STANDARD_ERRORS

SEQUENCES, TIME, DIM, ACTIONS = 6, 12, 2, 1
EVERYTHING = Parts(*([True] * 8))


def _true_model() -> LinearGaussian:
    dynamics = LinearDynamics(
        jnp.array([[0.9, 0.2], [-0.2, 0.8]]),
        jnp.array([[1.0], [0.5]]),
        jnp.array([[0.3, 0.0], [0.1, 0.2]]),
        jnp.array([0.1, -0.2]),
    )
    emission = jnp.array([[1.0, 0.0], [0.5, 1.0], [0.0, -1.0]])
    noise = jnp.array([[0.2, 0.0, 0.0], [0.1, 0.3, 0.0], [0.0, 0.1, 0.2]])
    return LinearGaussian(jnp.ones(DIM), jnp.eye(DIM), dynamics, emission, noise, jnp.array([0.5, 0.0, -0.5]))


def _start() -> LinearGaussian:
    dynamics = LinearDynamics(0.5 * jnp.eye(DIM), jnp.zeros((DIM, ACTIONS)), jnp.eye(DIM))
    true = _true_model()
    return LinearGaussian(jnp.zeros(DIM), 2.0 * jnp.eye(DIM), dynamics, true.emission_matrix, jnp.eye(3))


def _sequences(model, key, sequences=SEQUENCES, time=TIME):
    action_key, sample_key = jr.split(key)
    actions = jr.normal(action_key, (sequences, time - 1, model.dynamics.action_dim))
    trajectories = eqx.filter_jit(jax.vmap(lambda u, k: model.sample(u, key=k)))(
        actions, jr.split(sample_key, sequences)
    )
    return trajectories, actions


@pytest.mark.parametrize(
    ("parts", "missing"),
    [
        (Parts(), False),
        (EVERYTHING, False),
        (EVERYTHING, True),
        (Parts(matrix=False, control=True, offset=False, noise=False), True),
        (Parts(matrix=True, control=False, offset=True, noise=True), False),
        (Parts(matrix=False, control=False, noise=False, emission_noise=True), True),
    ],
)
def test_the_evidence_never_falls(key, parts, missing):
    trajectories, actions = _sequences(_true_model(), key)
    observations = trajectories.observations
    if missing:
        observations = jnp.where(jr.bernoulli(jr.key(5), 0.3, observations.shape), jnp.nan, observations)
    start = _start()
    learned = expectation_maximization(start, observations, actions, parts=parts, num_steps=12)
    path = learned.log_evidence_nats
    assert path.shape == (13,)
    assert jnp.all(jnp.diff(path) > -ALGEBRA * jnp.abs(path[:-1]))
    assert path[-1] > path[0] + 1.0
    run = lambda x, u: filter(Kalman(), learned.model, x, u, key=key).free_energy_nats  # noqa: E731
    assert jnp.abs(jnp.sum(eqx.filter_jit(jax.vmap(run))(observations, actions)) + path[-1]) < ALGEBRA * jnp.abs(
        path[-1]
    )
    blocks = {
        "matrix": lambda m: m.dynamics.matrix,
        "control": lambda m: m.dynamics.control,
        "offset": lambda m: m.dynamics.offset,
        "noise": lambda m: m.dynamics.scale_tril,
        "initial": lambda m: m.initial_mean,
        "emission_matrix": lambda m: m.emission_matrix,
        "emission_offset": lambda m: m.emission_offset,
        "emission_noise": lambda m: m.emission_scale_tril,
    }
    for name, chosen in parts._asdict().items():
        moved = jnp.abs(blocks[name](learned.model) - blocks[name](start)).max()
        assert (moved > 1e-3) if chosen else (moved == 0.0), name


@pytest.mark.slow
def test_converged_em_is_stationary(key):
    """At a fixed point of EM the gradient of the evidence vanishes, for every part at once."""
    trajectories, actions = _sequences(_true_model(), key, 20, 20)
    observations = trajectories.observations
    parts = Parts(offset=True, emission_noise=True)
    learned = expectation_maximization(_start(), observations, actions, parts=parts, num_steps=400).model

    def evidence(model):
        run = lambda x, u: filter(Kalman(), model, x, u, key=key, throw=False).free_energy_nats  # noqa: E731
        return -jnp.mean(jax.vmap(run)(observations, actions))

    gradient = eqx.filter_jit(jax.grad(evidence))(learned)
    start_gradient = eqx.filter_jit(jax.grad(evidence))(_start())
    for read in (
        lambda m: m.dynamics.matrix,
        lambda m: m.dynamics.control,
        lambda m: m.dynamics.offset,
        lambda m: jnp.tril(m.dynamics.scale_tril),
        lambda m: jnp.tril(m.emission_scale_tril),
    ):
        assert jnp.abs(read(gradient)).max() < 1e-3 * jnp.abs(read(start_gradient)).max()


@pytest.mark.slow
def test_em_recovers_the_dynamics_from_measurements_with_their_own_noise(key):
    true = _true_model()
    trajectories, actions = _sequences(true, key, 60, 40)
    scales = jr.uniform(jr.key(3), (60, 40, DIM), minval=0.02, maxval=0.6)
    factors = eqx.filter_jit(jax.vmap(jax.vmap(jnp.diag)))(scales)
    values = trajectories.states + scales * jr.normal(jr.key(4), scales.shape)
    start = LinearGaussian(jnp.zeros(DIM), 3.0 * jnp.eye(DIM), _start().dynamics, jnp.eye(DIM), jnp.eye(DIM))
    learned = expectation_maximization(
        start, Measurement(values, factors), actions, parts=Parts(offset=True), num_steps=80
    )
    found = learned.model.dynamics
    # The standard errors of a regression on the smoothed latents, widened by what the measurements left unknown of them.
    smoothed = eqx.filter_jit(jax.vmap(lambda x, u: smooth(RauchTungStriebel(), learned.model, x, u)))(
        Measurement(values, factors), actions
    )
    moments = eqx.filter_jit(jax.vmap(transition_moments))(smoothed, actions).pool()
    belief = BayesianLinearDynamics.prior(DIM, ACTIONS, offset=True).update_moments(moments.square_root, moments.count)
    spread = jnp.linalg.inv(belief.belief.precision_tril @ belief.belief.precision_tril.T)
    covariance = true.dynamics.scale_tril @ true.dynamics.scale_tril.T
    error = 2.0 * jnp.sqrt(jnp.outer(jnp.diagonal(covariance), jnp.diagonal(spread)))
    truth = jnp.concatenate([true.dynamics.matrix, true.dynamics.control, true.dynamics.offset[:, None]], axis=1)
    estimate = jnp.concatenate([found.matrix, found.control, found.offset[:, None]], axis=1)
    assert jnp.all(jnp.abs(estimate - truth) < MONTE_CARLO_STANDARD_ERRORS * error)
    assert error.max() < 0.02  # The test would otherwise prove nothing.
    # Plain regression on the noisy values is biased; knowing each measurement's noise is what removes it.
    rows = jnp.concatenate([values[:, :-1], actions, jnp.ones_like(actions), values[:, 1:]], axis=-1)
    factor = positive_tria(rows.reshape(-1, rows.shape[-1]).T)
    naive = (factor[4:, :4] @ jnp.linalg.inv(factor[:4, :4]))[:, :DIM]
    assert jnp.abs(naive - true.dynamics.matrix).max() > 2.0 * jnp.abs(found.matrix - true.dynamics.matrix).max()


def test_em_recovers_a_second_order_system_from_positions(key):
    """Velocities are never observed; the hidden half is compared in displacement coordinates."""
    dynamics = second_order(1, damping=0.2, position_scale=0.02, velocity_scale=0.1)
    noise = 0.05 * jnp.eye(1)
    true = LinearGaussian(jnp.zeros(2), jnp.eye(2), dynamics, jnp.eye(1, 2), noise)
    trajectories, actions = _sequences(true, key, 40, 50)
    guess = LinearDynamics(jnp.array([[1.0, 0.5], [0.0, 0.5]]), jnp.zeros((2, 1)), 0.3 * jnp.eye(2))
    start = LinearGaussian(jnp.zeros(2), jnp.eye(2), guess, jnp.eye(1, 2), noise)
    learned = expectation_maximization(start, trajectories.observations, actions, num_steps=300)
    assert jnp.all(jnp.diff(learned.log_evidence_nats) > -ALGEBRA * jnp.abs(learned.log_evidence_nats[:-1]))
    found, truth = in_displacement_coordinates(learned.model).dynamics, in_displacement_coordinates(true).dynamics
    assert jnp.abs(found.matrix - truth.matrix).max() < 0.05
    assert jnp.abs(found.control - truth.control).max() < 0.05
    # More evidence than the truth: it is a maximum-likelihood estimate.
    run = lambda x, u: filter(Kalman(), true, x, u, key=key).free_energy_nats  # noqa: E731
    assert (
        learned.log_evidence_nats[-1]
        > -jnp.sum(eqx.filter_jit(jax.vmap(run))(trajectories.observations, actions)) - 1.0
    )


def test_em_learns_across_the_seam(key):
    """A turning sprite measured modulo the period teaches the same dynamics as one measured on the cover."""
    dynamics = LinearDynamics(jnp.eye(1), jnp.array([[0.3]]), 0.05 * jnp.eye(1))
    true = LinearGaussian(jnp.zeros(1), 0.5 * jnp.eye(1), dynamics, jnp.eye(1), 0.05 * jnp.eye(1))
    actions = 1.0 + 0.3 * jr.normal(key, (4, 29, 1))
    run = lambda u, k: true.sample(u, key=k).observations  # noqa: E731
    cover = eqx.filter_jit(jax.vmap(run))(actions, jr.split(key, 4))
    periodic = Periodic([2.0])
    smoother = RauchTungStriebel(Kalman(periodic))
    parts = Parts(matrix=False, control=True, noise=True, emission_noise=True)
    settings = {"parts": parts, "num_steps": 10}
    wrapped = expectation_maximization(true, periodic.wrap(cover), actions, smoother=smoother, **settings)
    unwrapped = expectation_maximization(true, cover, actions, **settings)
    assert jnp.abs(cover).max() > 5.0
    for left, right in zip(jax.tree.leaves(wrapped), jax.tree.leaves(unwrapped), strict=True):
        assert jnp.abs(left - right).max() < ALGEBRA * 100.0


def test_smoothed_moments_are_those_of_posterior_samples(key):
    """sum_t E[v v^T] against trajectories drawn backwards from the smoother."""
    model = _true_model()
    trajectories, actions = _sequences(model, key, 1, 6)
    smoothed = smooth(RauchTungStriebel(), model, trajectories.observations[0], actions[0])
    moments = transition_moments(smoothed, actions[0])
    filtered, dynamics = smoothed.filtered.beliefs, model.dynamics

    def draw(k):
        keys = jr.split(k, 6)
        states = [smoothed.beliefs.loc[-1] + smoothed.beliefs.scale_tril[-1] @ jr.normal(keys[-1], (DIM,))]
        for t in reversed(range(5)):
            gain = smoothed.gains[t]
            mean = filtered.loc[t] + gain @ (states[0] - dynamics.mean(filtered.loc[t], actions[0, t]))
            states.insert(0, mean + smoothed.conditional_trils[t] @ jr.normal(keys[t], (DIM,)))
        states = jnp.stack(states)
        rows = jnp.concatenate([states[:-1], actions[0], jnp.ones((5, 1)), states[1:]], axis=1)
        return rows.T @ rows

    draws = eqx.filter_jit(jax.vmap(draw))(jr.split(jr.key(11), 20_000))
    error = jnp.std(draws, axis=0, ddof=1) / 20_000**0.5
    expected = moments.square_root @ moments.square_root.T
    assert moments.count == 5.0
    assert jnp.all(jnp.abs(jnp.mean(draws, axis=0) - expected) < MONTE_CARLO_STANDARD_ERRORS * error + ALGEBRA)


def test_moments_pool_over_sequences_and_feed_the_regression(key):
    model = _true_model()
    trajectories, actions = _sequences(model, key)
    smoothed = eqx.filter_jit(jax.vmap(lambda x, u: smooth(RauchTungStriebel(), model, x, u)))(
        trajectories.observations, actions
    )
    each = eqx.filter_jit(jax.vmap(transition_moments))(smoothed, actions)
    pooled = each.pool()
    total = jnp.sum(each.square_root @ jnp.swapaxes(each.square_root, 1, 2), axis=0)
    assert jnp.abs(pooled.square_root @ pooled.square_root.T - total).max() < 1e2 * ALGEBRA
    assert pooled.count == SEQUENCES * (TIME - 1)
    with_offset = BayesianLinearDynamics.prior(DIM, ACTIONS, offset=True)
    once = with_offset.update_moments(pooled.square_root, pooled.count)
    twice = with_offset
    for index in range(SEQUENCES):
        twice = twice.update_moments(each.square_root[index], each.count[index])
    assert jnp.abs(once.belief.factor - twice.belief.factor).max() < ALGEBRA
    without = BayesianLinearDynamics.prior(DIM, ACTIONS).update_moments(pooled.without_constant(DIM), pooled.count)
    keep = jnp.array([0, 1, 2, 4, 5])
    second = without.belief.factor @ without.belief.factor.T
    prior = BayesianLinearDynamics.prior(DIM, ACTIONS).belief.factor
    assert jnp.abs(second - prior @ prior.T - total[jnp.ix_(keep, keep)]).max() < 1e2 * ALGEBRA


def test_bayesian_dynamics_learn_online_and_know_what_they_know(key):
    true = _true_model().dynamics
    dynamics = BayesianLinearDynamics.prior(DIM, ACTIONS, offset=True)
    actions = jr.normal(key, (500, ACTIONS))
    states = true.rollout(jnp.zeros(DIM), actions, key=key)

    def step(belief, datum):
        return belief.update(*datum), belief(datum[0], datum[1]).log_prob(datum[2])

    learned, log_probabilities = jax.lax.scan(step, dynamics, (states[:-1], actions, states[1:]))
    truth = eqx.filter_jit(jax.vmap(lambda z, u, y: true(z, u).log_prob(y)))(states[:-1], actions, states[1:])
    assert jnp.abs(jnp.mean((truth - log_probabilities)[250:])) < 0.05
    expected = learned.expected()
    assert jnp.abs(expected.matrix - true.matrix).max() < 0.1
    assert jnp.abs(expected.control - true.control).max() < 0.1
    assert jnp.abs(expected.offset - true.offset).max() < 0.1
    draws = eqx.filter_jit(jax.vmap(lambda k: learned.sample(key=k)))(jr.split(key, 500))
    error = jnp.std(draws.matrix, axis=0, ddof=1) / 500**0.5
    assert jnp.all(jnp.abs(jnp.mean(draws.matrix, axis=0) - expected.matrix) < MONTE_CARLO_STANDARD_ERRORS * error)
    near, far = jnp.array([0.1]), jnp.array([30.0])
    assert learned.information_gain(states[0], far) > 5.0 * learned.information_gain(states[0], near)
    assert dynamics.information_gain(states[0], near) > 5.0 * learned.information_gain(states[0], near)


def test_bad_input_is_refused(key):
    trajectories, actions = _sequences(_true_model(), key)
    observations = trajectories.observations
    measurement = Measurement(observations, jnp.broadcast_to(jnp.eye(3), (SEQUENCES, TIME, 3, 3)))
    with pytest.raises(BadInputError, match="plain observations"):
        expectation_maximization(_start(), measurement, actions, parts=EVERYTHING)
    with pytest.raises(BadInputError, match="num_steps"):
        expectation_maximization(_start(), observations, actions, num_steps=-1)
    with pytest.raises(BadInputError, match="sequences, time"):
        expectation_maximization(_start(), observations, actions[0])
    with pytest.raises(BadInputError, match="regressors"):
        BayesianLinearDynamics(BayesianLinearDynamics.prior(2, 1).belief, action_dim=3)
    with pytest.raises(RuntimeError, match="NaN or infinite"):
        expectation_maximization(_start(), observations, 0.0 * actions, num_steps=2)
    with pytest.raises(BadInputError, match="at least two steps"):
        expectation_maximization(_start(), observations[:, :1], actions[:, :0])
    ones = jnp.ones(SEQUENCES, int)
    with pytest.raises(BadInputError, match="lengths from 1"):
        expectation_maximization(_start(), observations, actions, lengths=0 * ones)
    with pytest.raises(RuntimeError, match="NaN or infinite"):
        expectation_maximization(_start(), observations[:, :2], actions[:, :1], lengths=ones, num_steps=1)


def test_what_lies_beyond_the_end_of_a_sequence_teaches_nothing(key):
    """One step on padded sequences, whose padding is nonsense, is the regression on the moments of the sequences themselves."""
    trajectories, actions = _sequences(_true_model(), key, 3, 6)
    lengths = (6, 2, 4)
    beyond = jnp.arange(6)[None, :] >= jnp.asarray(lengths)[:, None]
    observations = jnp.where(beyond[:, :, None], 1e3, trajectories.observations)
    padded = jnp.where(beyond[:, 1:, None], jnp.nan, actions)
    start = _start()
    learned = expectation_maximization(
        start, observations, padded, lengths=jnp.asarray(lengths), parts=EVERYTHING, num_steps=1
    )
    moments, evidence, spread = 0.0, 0.0, 0.0
    for x, u, length in zip(trajectories.observations, actions, lengths, strict=True):
        smoothed = smooth(RauchTungStriebel(), start, x[:length], u[: length - 1])
        root = transition_moments(smoothed, u[: length - 1]).square_root
        moments, evidence = moments + root @ root.T, evidence + smoothed.log_evidence_nats
        means, covariances = smoothed.beliefs.loc, smoothed.beliefs.covariance
        ones = jnp.ones((length, 1))
        regressors = jnp.concatenate([means, ones, x[:length]], axis=1)
        spread = spread + regressors.T @ regressors
        spread = spread.at[:DIM, :DIM].add(jnp.sum(covariances, axis=0))
    width = DIM + ACTIONS + 1
    coefficients = jnp.linalg.solve(moments[:width, :width], moments[:width, width:]).T
    found = learned.model.dynamics
    assert (
        jnp.abs(jnp.concatenate([found.matrix, found.control, found.offset[:, None]], 1) - coefficients).max()
        < AUTODIFF
    )
    noise = (moments[width:, width:] - coefficients @ moments[:width, width:]) / (sum(lengths) - 3)
    assert jnp.abs(found.scale_tril @ found.scale_tril.T - noise).max() < AUTODIFF
    emission = jnp.linalg.solve(spread[: DIM + 1, : DIM + 1], spread[: DIM + 1, DIM + 1 :]).T
    assert jnp.abs(learned.model.emission_matrix - emission[:, :DIM]).max() < AUTODIFF
    assert jnp.abs(learned.log_evidence_nats[0] - evidence) < ALGEBRA
