"""Priors of Baum-Welch: proper, with a fixed centre, against SciPy's densities, numerical maxima and closed forms."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from homeostat.distributions import Masked
from homeostat.inference import StateParts, StatePrior, baum_welch, pooled_prior
from homeostat.models.sequential import (
    BernoulliEmissions,
    CategoricalEmissions,
    ConjugatePrior,
    ControlledTransitions,
    GaussianEmissions,
    HiddenMarkov,
    JumpProcess,
    PoissonEmissions,
    TransitionMatrix,
    most_probable_logits,
)
from homeostat.results import BadInputError
from tolerances import ALGEBRA, AUTODIFF

COUNT, SAMPLES = 1.7, 40

GAUSSIAN = GaussianEmissions(
    jnp.array([[-1.0, 0.0], [1.0, 0.5]]), jnp.array([[[0.7, 0.0], [0.2, 0.5]], [[0.6, 0.0], [0.0, 0.9]]])
)
EMISSIONS = {
    "Gaussian": GAUSSIAN,
    "Bernoulli": BernoulliEmissions(jnp.array([[-2.0, 0.5], [1.0, 0.0]])),
    "Poisson": PoissonEmissions(jnp.array([[-1.0, 0.5], [1.0, 0.0]])),
    "categorical": CategoricalEmissions(jnp.log(jnp.array([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]]))),
}


def draws(emissions, shape, key):
    """Observations of states drawn at random."""
    states = jr.randint(key, shape, 0, 2).reshape(-1)
    draw = eqx.filter_jit(jax.vmap(lambda state, k: emissions(state).sample(k)))
    values = draw(states, jr.split(key, states.shape[0]))
    return values.reshape(*shape, *values.shape[1:])


# A part of each kind as a vector without constraints, and its log likelihood and log prior by SciPy: the prior as the density that
# the docstring names, times the Jacobian that makes it one of natural parameters. State 0 only.


def gaussian(theta, centre):
    root = np.array([[np.exp(theta[2]), 0.0], [theta[3], np.exp(theta[4])]])
    covariance, mean = root @ root.T, theta[:2]
    middle, spread = np.asarray(centre.loc[0]), np.asarray(centre.scale_tril[0] @ centre.scale_tril[0].T)
    prior = scipy.stats.invwishart(COUNT + 4.0, COUNT * spread).logpdf(covariance)
    prior += scipy.stats.multivariate_normal(middle, covariance / COUNT).logpdf(mean)
    return lambda x: scipy.stats.multivariate_normal(mean, covariance).logpdf(x), prior + 4.0 * np.log(
        np.linalg.det(covariance)
    )


def bernoulli(theta, centre):
    share, middle = scipy.special.expit(theta), scipy.special.expit(np.asarray(centre.logits[0]))
    prior = scipy.stats.beta(COUNT * middle, COUNT * (1.0 - middle)).logpdf(share) + np.log(share * (1.0 - share))
    return lambda x: scipy.stats.bernoulli(share).logpmf(x).sum(-1), prior.sum()


def poisson(theta, centre):
    rate, middle = np.exp(theta), np.exp(np.asarray(centre.log_rates[0]))
    prior = scipy.stats.gamma(COUNT * middle, scale=1.0 / COUNT).logpdf(rate) + np.log(rate)
    return lambda x: scipy.stats.poisson(rate).logpmf(x).sum(-1), prior.sum()


def categorical(theta, centre):
    share = scipy.special.softmax(np.append(theta, 0.0))
    middle = np.asarray(jax.nn.softmax(centre.logits[0]))
    prior = scipy.stats.dirichlet(COUNT * middle).logpdf(share / share.sum()) + np.log(share).sum()
    return lambda x: np.log(share)[x], prior


KINDS = {
    "Gaussian": (
        gaussian,
        lambda part: [
            *part.loc[0],
            np.log(part.scale_tril[0, 0, 0]),
            part.scale_tril[0, 1, 0],
            np.log(part.scale_tril[0, 1, 1]),
        ],
    ),
    "Bernoulli": (bernoulli, lambda part: part.logits[0]),
    "Poisson": (poisson, lambda part: part.log_rates[0]),
    "categorical": (categorical, lambda part: part.logits[0, :2] - part.logits[0, 2]),
}


@pytest.mark.parametrize("name", EMISSIONS)
def test_a_step_is_the_mode_under_the_prior_that_scipy_knows(name, key):
    emissions, (evaluate, flatten) = EMISSIONS[name], KINDS[name]
    values, weights = draws(emissions, (SAMPLES,), key), jr.uniform(key, (SAMPLES, 2))
    prior = ConjugatePrior(eqx.filter_jit(emissions.centre)(values), COUNT)
    found = eqx.filter_jit(lambda x, w: emissions.maximise(x, w, prior))(values, weights)
    data, weight = np.asarray(values), np.asarray(weights[:, 0])

    def objective(theta):
        log_likelihood, log_prior = evaluate(np.asarray(theta), prior.centre)
        return -(weight @ log_likelihood(data) + log_prior)

    start = np.asarray(flatten(emissions), float)
    best = scipy.optimize.minimize(objective, start, method="BFGS", options={"gtol": 1e-7}).x
    np.testing.assert_allclose(np.asarray(flatten(found)), best, atol=1e-5)
    # The divergence from the centre is this density up to a constant: between the start and the mode, state 1 being the same.
    mixed = jax.tree.map(lambda new, old: jnp.stack([new[0], old[1]]), found, emissions)
    expected = evaluate(np.asarray(flatten(found)), prior.centre)[1] - evaluate(start, prior.centre)[1]
    divergence = eqx.filter_jit(lambda part: part.divergence(prior.centre))
    assert abs(COUNT * (divergence(emissions) - divergence(mixed)) - expected) < ALGEBRA


def test_rows_of_probabilities_have_a_dirichlet_prior():
    counts, centre = (
        jnp.array([[3.0, 0.0, 2.0], [0.0, 0.0, 0.0]]),
        jnp.log(jnp.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])),
    )
    found = jnp.exp(most_probable_logits(counts, ConjugatePrior(centre, COUNT), centre))
    expected = np.array([[3.0 + COUNT * 0.2, COUNT * 0.5, 2.0 + COUNT * 0.3], [COUNT * 0.1, COUNT * 0.1, COUNT * 0.8]])
    np.testing.assert_allclose(found, expected / expected.sum(1, keepdims=True), rtol=ALGEBRA)


@pytest.fixture
def two_levels() -> HiddenMarkov:
    emissions = GaussianEmissions(jnp.array([[0.2], [0.7]]), jnp.full((2, 1, 1), 0.5))
    return HiddenMarkov.from_probabilities(jnp.full(2, 0.5), jnp.array([[0.7, 0.3], [0.3, 0.7]]), emissions)


def test_repeated_values_leave_evidence_finite_and_at_its_closed_form(two_levels):
    """Twenty zeros, then thirty ones: states without spread would explain them with an infinite density."""
    values = jnp.concatenate([jnp.zeros(20), jnp.ones(30)])[None, :, None]
    # An inverse-gamma factor exp(-0.005 / variance) on each variance and nothing else: the default prior of hmmlearn 0.3, as the
    # limit of few pseudo-observations that are far apart. Evidence of the path, the only one that counts:
    few, deviation = 1e-9, 0.1
    wide = GaussianEmissions(jnp.full((2, 1), 0.6), jnp.full((2, 1, 1), deviation / few**0.5))
    path = 19.0 * np.log(19.0 / 20.0) - np.log(20.0)
    expected = path - sum(0.5 * n * np.log(2.0 * np.pi * deviation**2 / n) for n in (20, 30))
    found = baum_welch(two_levels, values, prior=StatePrior(observation=ConjugatePrior(wide, few)), num_steps=40)
    np.testing.assert_allclose(found.log_evidence_nats[jnp.array([5, 20, 40])], expected, atol=AUTODIFF)
    assert abs(expected - 146.2) < 0.05
    # The default: one more observation in each state, of mean 0.6 and variance 0.24; and half a step to either state.
    expected = 0.0
    for n, value in ((20, 0.0), (30, 1.0)):
        mean = (n * value + 0.6) / (n + 1)
        variance = (0.24 + (0.6 - mean) ** 2 + n * (value - mean) ** 2) / (n + 1)
        expected -= 0.5 * n * (np.log(2.0 * np.pi * variance) + (value - mean) ** 2 / variance)
    expected += np.log(1.5 / 2.0) + 19.0 * np.log(19.5 / 21.0) + np.log(1.5 / 21.0) + 29.0 * np.log(29.5 / 30.0)
    found = baum_welch(two_levels, values, num_steps=40)
    # Other paths add a little.
    np.testing.assert_allclose(found.log_evidence_nats[jnp.array([5, 20, 40])], expected, atol=1e-3)


def test_a_likelihood_without_a_maximum_is_named(two_levels):
    values = jnp.concatenate([jnp.zeros(20), jnp.ones(30)])[None, :, None]
    with pytest.raises(eqx.EquinoxRuntimeError, match="give a prior to one that explains copies of one value"):
        baum_welch(two_levels, values, prior=StatePrior(), num_steps=40)


@pytest.mark.parametrize("name", EMISSIONS)
def test_no_step_lowers_evidence_and_prior_together(name, key):
    """With missing entries, sequences of three lengths, and one of two actions; nothing becomes infinite."""
    emissions = EMISSIONS[name]
    logits = jnp.log(jnp.array([[[0.8, 0.2], [0.3, 0.7]], [[0.5, 0.5], [0.0, 1.0]]]))
    start = HiddenMarkov(jnp.array([0.0, 1.0]), ControlledTransitions(logits), emissions)
    values = draws(emissions, (3, 12), key)
    observed = jnp.ones(values.shape, bool).at[0, 3].set(False)
    observed = observed if values.ndim == 2 else observed.at[1, 5, 0].set(False)
    data = Masked(values, observed) if name == "categorical" else jnp.where(observed, values, jnp.nan)
    lengths, actions = jnp.array([12, 9, 2]), jr.bernoulli(key, 0.3, (3, 11)).astype(int)
    found = baum_welch(start, data, actions, lengths=lengths, num_steps=30)
    assert found.log_prior_nats is not None and found.log_prior_nats.max() <= 0.0
    objective = found.log_evidence_nats + found.log_prior_nats
    assert jnp.diff(objective).min() > -ALGEBRA
    assert objective[-1] > objective[0] + 1.0
    assert jnp.isfinite(objective).all()
    possible = logits > -jnp.inf
    assert jnp.array_equal(found.model.transitions.logits > -jnp.inf, possible)
    assert all(
        jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((found.model.initial_logits, found.model.observation))
    )


def test_the_centre_has_the_moments_of_what_was_seen(key):
    values = np.array(jr.normal(key, (2, 6, 2)))
    values[0, 3, 1] = values[1, 2] = np.nan
    seen = [values[0], values[1, :4]]
    lengths = jnp.array([6, 4])
    pooled = np.concatenate(seen)
    model = HiddenMarkov(jnp.array([0.0, -jnp.inf]), TransitionMatrix(jnp.zeros((2, 2))), GAUSSIAN)
    prior = pooled_prior(model, jnp.asarray(values), lengths=lengths, count=2.0)
    np.testing.assert_allclose(prior.observation.centre.loc[1], np.nanmean(pooled, 0), rtol=ALGEBRA)
    np.testing.assert_allclose(prior.observation.centre.scale_tril[1], np.diag(np.nanstd(pooled, 0)), rtol=ALGEBRA)
    assert prior.observation.count == prior.initial.count == 2.0
    assert jnp.array_equal(prior.initial.centre, jnp.array([0.0, -jnp.inf]))
    counts = jnp.array([[[0.0, 3.0], [jnp.nan, 0.0], [0.0, 1.0]]])
    centre = lambda part: pooled_prior(eqx.tree_at(lambda m: m.observation, model, part), counts).observation.centre  # noqa: E731
    np.testing.assert_allclose(jnp.exp(centre(EMISSIONS["Poisson"]).log_rates[0]), [0.25, 1.5], rtol=ALGEBRA)
    ones = jnp.minimum(counts, 1.0)
    bernoulli = pooled_prior(eqx.tree_at(lambda m: m.observation, model, EMISSIONS["Bernoulli"]), ones).observation
    np.testing.assert_allclose(jax.nn.sigmoid(bernoulli.centre.logits[0]), [0.5 / 3.0, 2.5 / 4.0], rtol=ALGEBRA)
    symbols = Masked(jnp.array([[0, 2, 2]]), jnp.array([[True, True, False]]))
    part = pooled_prior(eqx.tree_at(lambda m: m.observation, model, EMISSIONS["categorical"]), symbols).observation
    np.testing.assert_allclose(jax.nn.softmax(part.centre.logits[0]), np.array([1.5, 0.5, 1.5]) / 3.5, rtol=ALGEBRA)


def test_units_and_origin_of_a_column_change_nothing_else(key):
    start = HiddenMarkov(jnp.zeros(2), TransitionMatrix(jnp.zeros((2, 2))), GAUSSIAN)
    values = draws(GAUSSIAN, (2, 15), key).at[0, 4, 1].set(jnp.nan)
    plain = baum_welch(start, values, num_steps=10)
    for scale, offset in (((1e3, 1e-3), (0.0, 0.0)), ((1e-5, 1.0), (0.0, 0.0)), ((1.0, 1.0), (1e6, -1e6))):
        scale, offset = np.array(scale), np.array(offset)
        moved = GaussianEmissions(
            jnp.asarray(scale * np.asarray(GAUSSIAN.loc) + offset),
            jnp.asarray(scale[:, None] * np.asarray(GAUSSIAN.scale_tril)),
        )
        moved = eqx.tree_at(lambda model: model.observation, start, moved)
        found = baum_welch(moved, jnp.asarray(scale * np.asarray(values) + offset), num_steps=10)
        shift = np.sum(np.sum(~np.isnan(values), axis=(0, 1)) * np.log(scale))
        np.testing.assert_allclose(found.log_evidence_nats + shift, plain.log_evidence_nats, rtol=AUTODIFF)
        np.testing.assert_allclose(found.log_prior_nats, plain.log_prior_nats, rtol=AUTODIFF)
        np.testing.assert_allclose(found.model.transitions.logits, plain.model.transitions.logits, atol=AUTODIFF)
        mean = (np.asarray(found.model.observation.loc) - offset) / scale
        np.testing.assert_allclose(mean, plain.model.observation.loc, atol=AUTODIFF)
        factor = np.asarray(found.model.observation.scale_tril) / scale[:, None]
        np.testing.assert_allclose(factor, plain.model.observation.scale_tril, atol=AUTODIFF)


def test_priors_that_say_nothing_are_refused(two_levels):
    constant = jnp.stack([jnp.full((1, 4), 0.1), jnp.arange(4.0)[None, :]], axis=-1)[..., ::-1]
    unseen = jnp.full((1, 4, 2), jnp.nan)
    pair = HiddenMarkov(jnp.zeros(2), TransitionMatrix(jnp.zeros((2, 2))), GAUSSIAN)
    counting = HiddenMarkov(jnp.zeros(2), pair.transitions, EMISSIONS["Poisson"])
    other = StatePrior(transitions=ConjugatePrior(TransitionMatrix(jnp.zeros((3, 3)))))
    jumps = HiddenMarkov(jnp.zeros(2), JumpProcess(jnp.zeros((2, 2))), GAUSSIAN)
    refused = [
        (
            lambda: baum_welch(pair, constant),
            "every column of the observations to vary, got 4 values of mean 0.1 .* column 1",
        ),
        (lambda: baum_welch(counting, unseen), "to be seen, got 0 values"),
        (lambda: baum_welch(pair, constant, prior=other), r"TransitionMatrix of shapes \[\(2, 2\)\], got"),
        (lambda: ConjugatePrior(jnp.zeros(2), 0.0), "pass None in place of the prior"),
        (lambda: pooled_prior(jumps, constant), "closed-form M-step"),
    ]
    for build, message in refused:
        with pytest.raises(BadInputError, match=message):
            build()
    fixed = pooled_prior(jumps, unseen, parts=StateParts(transitions=False, observation=False))
    assert fixed.transitions is None and fixed.observation is None
