"""Forward-backward, Viterbi and Baum-Welch against enumeration of every path and against dynamax."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import pytest

from homeostat.distributions import Masked, Parallel
from homeostat.inference import ForwardBackward, StateParts, StatePrior, baum_welch, filter, smooth, viterbi
from homeostat.inference.filters import Forward, Particle
from homeostat.models.sequential import (
    BernoulliEmissions,
    CategoricalEmissions,
    ControlledTransitions,
    GaussianEmissions,
    HiddenMarkov,
    JumpProcess,
    PoissonEmissions,
    TimedAction,
    TransitionMatrix,
    pendulum,
)
from homeostat.results import BadInputError
from references import enumerate_paths
from tolerances import ALGEBRA, FLOAT32, MONTE_CARLO_STANDARD_ERRORS

STATES, TIME = 3, 5
CHAIN = jnp.array([[0.7, 0.3, 0.0], [0.1, 0.6, 0.3], [0.2, 0.0, 0.8]])
INITIAL = jnp.array([0.6, 0.4, 0.0])


@pytest.fixture
def model() -> HiddenMarkov:
    trils = jnp.array([[[0.7, 0.0], [0.2, 0.5]], [[0.6, 0.0], [0.0, 0.9]], [[1.0, 0.0], [-0.3, 0.4]]])
    emissions = GaussianEmissions(jnp.array([[-1.0, 0.0], [1.0, 0.5], [0.0, 2.0]]), trils)
    return HiddenMarkov.from_probabilities(INITIAL, CHAIN, emissions)


@pytest.fixture
def values(key):
    """With one entry and one time missing."""
    drawn = 1.5 * jr.normal(key, (TIME, 2))
    return drawn.at[1, 0].set(jnp.nan).at[3].set(jnp.nan)


def _likelihoods(model, values):
    """Densities of what was seen, by marginal moments in NumPy."""
    found = np.ones((len(values), STATES))
    for t, value in enumerate(np.asarray(values)):
        seen = ~np.isnan(value)
        for k in range(STATES):
            if seen.any():
                mean = np.asarray(model.observation.loc[k])[seen]
                factor = np.asarray(model.observation.scale_tril[k])
                covariance = (factor @ factor.T)[np.ix_(seen, seen)]
                residual = value[seen] - mean
                quadratic = residual @ np.linalg.solve(covariance, residual)
                found[t, k] = np.exp(-0.5 * quadratic) / np.sqrt(np.linalg.det(2.0 * np.pi * covariance))
    return found


def _close(found, truth):
    assert jnp.abs(found.beliefs.probabilities - truth.marginals).max() < ALGEBRA
    assert jnp.abs(found.pairwise - truth.pairwise).max() < ALGEBRA
    assert jnp.abs(found.log_evidence_nats - truth.log_evidence) < ALGEBRA


@pytest.mark.parametrize("recursion", [Forward().recursion, Parallel()], ids=["sequential", "parallel"])
def test_smoothing_is_the_sum_over_all_paths(model, values, key, recursion):
    truth = enumerate_paths(np.asarray(INITIAL), (TIME - 1) * [np.asarray(CHAIN)], _likelihoods(model, values))
    method = Forward(recursion)
    found = smooth(ForwardBackward(method), model, values)
    _close(found, truth)
    whole = jax.jit(lambda x: method.filter(model, x))(values)
    assert jnp.abs(whole.beliefs.probabilities - found.filtered.beliefs.probabilities).max() < ALGEBRA
    assert jnp.abs(whole.predictions.probabilities - found.filtered.predictions.probabilities).max() < ALGEBRA
    assert jnp.abs(whole.info.free_energy_nats - found.filtered.info.free_energy_nats).max() < ALGEBRA
    alone = smooth(ForwardBackward(method), model, values[:1])
    assert jnp.abs(alone.beliefs.probabilities - alone.filtered.beliefs.probabilities).max() < ALGEBRA
    assert alone.pairwise.shape == (0, STATES, STATES)


def test_the_viterbi_path_is_the_best_of_all(model, values):
    truth = enumerate_paths(np.asarray(INITIAL), (TIME - 1) * [np.asarray(CHAIN)], _likelihoods(model, values))
    found = viterbi(model, values)
    assert np.array_equal(found.states, truth.best)
    assert jnp.abs(found.log_joint_nats - truth.best_log_joint) < ALGEBRA


def test_padding_does_not_bend_the_viterbi_path(model):
    """Missing steps at the end would favour the states that lead to probable ones."""
    leaving = np.array([[0.34, 0.33, 0.33], [0.01, 0.98, 0.01], [0.01, 0.01, 0.98]])
    chain = HiddenMarkov.from_probabilities(jnp.full(STATES, 1 / 3), jnp.asarray(leaving), model.observation)
    values = jnp.array([[0.0, 0.3], [0.0, 0.3]])
    expected = viterbi(chain, values)
    padded = jnp.concatenate([values, jnp.full((6, 2), jnp.nan)])
    found = viterbi(chain, padded, length=jnp.asarray(2))
    assert np.array_equal(found.states[:2], expected.states)
    assert jnp.abs(found.log_joint_nats - expected.log_joint_nats) < ALGEBRA
    assert not np.array_equal(viterbi(chain, padded).states[:2], expected.states)


def test_chains_may_be_steered_or_run_in_continuous_time(model, values):
    logits = jnp.log(jnp.stack([CHAIN, CHAIN[::-1]]))
    choices = jnp.array([0, 1, 1, 0])
    steered = HiddenMarkov(model.initial_logits, ControlledTransitions(logits), model.observation)
    matrices = [np.asarray(CHAIN[::-1] if choice else CHAIN) for choice in choices]
    likelihoods = _likelihoods(model, values)
    _close(
        smooth(ForwardBackward(), steered, values, choices), enumerate_paths(np.asarray(INITIAL), matrices, likelihoods)
    )
    rates = jnp.log(jnp.array([[1.0, 0.4, 0.1], [0.2, 1.0, 0.3], [0.5, 0.6, 1.0]]))
    jumping = HiddenMarkov(model.initial_logits, JumpProcess(rates), model.observation)
    durations = jnp.array([0.5, 0.0, 2.0, 1.0])
    generator = np.exp(np.asarray(rates)) * (1.0 - np.eye(STATES))
    generator -= np.diag(generator.sum(1))
    ends, vectors = np.linalg.eig(generator)
    matrices = [(vectors @ np.diag(np.exp(ends * t)) @ np.linalg.inv(vectors)).real for t in np.asarray(durations)]
    _close(
        smooth(ForwardBackward(), jumping, values, TimedAction(durations)),
        enumerate_paths(np.asarray(INITIAL), matrices, likelihoods),
    )


@pytest.mark.filterwarnings("ignore")
def test_dynamax_agrees(model, key):
    from dynamax.hidden_markov_model import hmm_smoother

    values = jr.normal(key, (30, 2))
    found = smooth(ForwardBackward(), model, values)
    with jax.numpy_rank_promotion("allow"):
        expected = hmm_smoother(INITIAL, CHAIN, eqx.filter_jit(eqx.filter_vmap(model.log_likelihoods))(values))
    assert jnp.abs(found.beliefs.probabilities - expected.smoothed_probs).max() < ALGEBRA
    assert jnp.abs(found.filtered.beliefs.probabilities - expected.filtered_probs).max() < ALGEBRA
    assert jnp.abs(jnp.sum(found.pairwise, 0) - expected.trans_probs).max() < ALGEBRA
    assert jnp.abs(found.log_evidence_nats - expected.marginal_loglik) < ALGEBRA


def test_particles_take_discrete_states(model, values, key):
    count = 20_000
    exact = filter(Forward(), model, values, key=key)
    found = filter(Particle(count), model, values, key=key)
    # No weighted average of numbers below K has a larger standard error than K over the root of the count.
    tolerance = MONTE_CARLO_STANDARD_ERRORS * STATES / count**0.5
    assert jnp.abs(found.free_energy_nats - exact.free_energy_nats) < tolerance
    last = jax.tree.map(lambda leaf: leaf[-1], found.beliefs)
    assert jnp.abs(last.mean - jnp.arange(STATES) @ exact.beliefs.probabilities[-1]) < tolerance
    assert last.covariance.shape == ()


def test_nothing_is_too_unlikely_and_nothing_seen_changes_nothing(model, key):
    far = jnp.full((3, 2), 1e4)
    found = filter(Forward(), model, far, key=key)
    assert jnp.isfinite(found.free_energy_nats)
    assert found.free_energy_nats > 1e7
    blind = filter(Forward(), model, jnp.full((3, 2), jnp.nan), key=key)
    assert jnp.abs(blind.info.free_energy_nats).max() < ALGEBRA
    assert jnp.abs(blind.beliefs.probabilities[2] - INITIAL @ CHAIN @ CHAIN).max() < ALGEBRA


@pytest.mark.parametrize("recursion", [Forward().recursion, Parallel()], ids=["sequential", "parallel"])
def test_a_state_that_was_ruled_out_comes_back(key, recursion):
    """In single precision: e^-200 is no number there, but what comes next is explained by no other state."""
    emissions = GaussianEmissions(jnp.array([[-10.0], [10.0]]), jnp.ones((2, 1, 1)))

    def single(chain):
        model = HiddenMarkov.from_probabilities(jnp.full(2, 0.5), chain, emissions)
        return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), model)

    frozen = single(jnp.eye(2))
    values = jnp.array([[10.0], [-30.0]], jnp.float32)
    found = smooth(ForwardBackward(Forward(recursion)), frozen, values)
    # log p(x) of the path that stays in state k, less a constant: 10 and -30 about -10 and about 10.
    joint = -0.5 * jnp.array([20.0**2 + 20.0**2, 0.0**2 + 40.0**2]) - jnp.log(2.0) - jnp.log(2.0 * jnp.pi)
    assert jnp.abs(found.log_evidence_nats / jax.nn.logsumexp(joint) - 1.0) < FLOAT32
    assert jnp.abs(found.beliefs.probabilities - jnp.array([1.0, 0.0])[None, :]).max() < FLOAT32
    left_right = single(jnp.array([[0.5, 0.5], [0.0, 1.0]]))
    energy = lambda m: filter(Forward(recursion), m, jnp.array([[10.0], [10.0], [-10.0]], jnp.float32), key=key)  # noqa: E731
    assert jnp.isfinite(energy(left_right).free_energy_nats)
    slope = eqx.filter_jit(jax.grad(lambda m: energy(m).free_energy_nats))(left_right)
    assert all(jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(slope.observation))


def _numpy_step(initial, chain, likelihoods):
    """Expected counts of every sequence, from enumeration."""
    return [enumerate_paths(initial, (len(rows) - 1) * [chain], rows) for rows in likelihoods]


def test_one_step_of_baum_welch_is_the_ratio_of_expected_counts(model, key):
    """Symbols, sequences of two lengths, and a missing symbol, by enumeration."""
    emission = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.3, 0.6, 0.1]])
    start = HiddenMarkov(model.initial_logits, model.transitions, CategoricalEmissions(jnp.log(jnp.asarray(emission))))
    symbols = jnp.array([[0, 2, 1, 1], [2, 2, 0, 0]])
    observed = jnp.array([[True, False, True, True], [True, True, True, True]])
    lengths = jnp.array([4, 2])
    rows = [emission[:, np.asarray(s)].T[:n].copy() for s, n in zip(symbols, (4, 2), strict=True)]
    rows[0][1] = 1.0
    found = _numpy_step(np.asarray(INITIAL), np.asarray(CHAIN), rows)
    learned = baum_welch(start, Masked(symbols, observed), lengths=lengths, prior=StatePrior(), num_steps=1)
    pairs = sum(path.pairwise.sum(0) for path in found)
    counts = np.zeros((STATES, 3))
    for path, sequence, seen in zip(found, np.asarray(symbols), np.asarray(observed), strict=True):
        for t, weights in enumerate(path.marginals):
            counts[:, sequence[t]] += weights * seen[t]
    chain = np.exp(np.asarray(learned.model.transitions.log_matrix()))
    assert np.abs(chain - pairs / pairs.sum(1, keepdims=True)).max() < ALGEBRA
    assert np.abs(np.exp(learned.model.initial_logits) - sum(p.marginals[0] for p in found) / 2.0).max() < ALGEBRA
    shares = jax.nn.softmax(learned.model.observation.logits, axis=-1)
    assert np.abs(shares - counts / counts.sum(1, keepdims=True)).max() < ALGEBRA
    assert jnp.abs(learned.log_evidence_nats[0] - sum(path.log_evidence for path in found)) < ALGEBRA


EMISSIONS = {
    "Gaussian": lambda model: model.observation,
    "Bernoulli": lambda model: BernoulliEmissions(model.observation.loc),
    "Poisson": lambda model: PoissonEmissions(model.observation.loc),
}


@pytest.mark.parametrize("name", EMISSIONS)
def test_the_evidence_never_falls(model, key, name):
    truth = HiddenMarkov(jnp.zeros(STATES), model.transitions, EMISSIONS[name](model))
    states = jr.randint(key, (4, 12), 0, STATES)
    draw = lambda state, k: truth.emission(state).sample(k).astype(float)  # noqa: E731
    data = eqx.filter_jit(jax.vmap(jax.vmap(draw)))(states, jr.split(key, (4, 12)))
    data = data.at[0, 3, 0].set(jnp.nan).at[1, 5].set(jnp.nan)
    learned = baum_welch(truth, data, prior=StatePrior(), num_steps=6)
    assert jnp.all(jnp.diff(learned.log_evidence_nats) > -1e-6)
    assert learned.log_evidence_nats[-1] > learned.log_evidence_nats[0] + 0.1


def test_bad_input_is_refused(model, values, key):
    plain = HiddenMarkov(model.initial_logits, model.transitions, lambda k: dist.Normal(k * 1.0, 1.0))
    jumps = HiddenMarkov(model.initial_logits, JumpProcess(jnp.zeros((3, 3))), model.observation)
    refused = [
        (lambda: TransitionMatrix.from_probabilities(jnp.ones((2, 2))), "sum to one"),
        (lambda: HiddenMarkov(jnp.zeros(2), model.transitions, model.observation), "initial logits"),
        (lambda: HiddenMarkov(jnp.zeros(3), model.transitions, PoissonEmissions(jnp.zeros((2, 1)))), "3 states"),
        (lambda: smooth(ForwardBackward(), jumps, values, jnp.zeros((TIME - 1, 1))), "TimedAction"),
        (lambda: baum_welch(plain, jnp.zeros((1, 3))), "AbstractEmissions"),
        (lambda: baum_welch(plain, jnp.zeros(3), parts=StateParts(observation=False)), "leading axis"),
        (lambda: baum_welch(jumps, values[None], TimedAction(jnp.ones((1, TIME - 1)))), "closed-form"),
        (lambda: baum_welch(model, values[None], num_steps=-1), "num_steps"),
        (lambda: Forward().init(pendulum()), "HiddenMarkov"),
    ]
    for build, message in refused:
        with pytest.raises(BadInputError, match=message):
            build()
    assert jnp.isfinite(filter(Forward(), plain, values[:1, 1], key=key).free_energy_nats)
