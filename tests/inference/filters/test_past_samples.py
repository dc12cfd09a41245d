"""Filters of models that are not Markov, against the dense joint Gaussian, and the filtering bound in closed form."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import pytest

from homeostat.distributions import Delta, DiagonalGaussian, FullGaussian
from homeostat.inference import filter
from homeostat.inference.engines import Direct, NaturalGradient
from homeostat.inference.filters import (
    Kalman,
    MomentMatching,
    Particle,
    RecurrentMemory,
    SampledHistories,
    VariationalFilter,
)
from homeostat.models.sequential import LinearDynamics, LinearGaussian, StateSpace
from homeostat.nn import GRU
from homeostat.results import BadInputError
from problems import Remembering, remembering
from references import affine_sequence
from tolerances import ALGEBRA, MONTE_CARLO_STANDARD_ERRORS

TIME = 4


class Case(NamedTuple):
    model: Remembering
    actions: jax.Array
    observations: jax.Array


@pytest.fixture
def case(key) -> Case:
    actions, noise = jr.normal(key, (TIME - 1, 1)), jr.normal(jr.key(2), (TIME, 2))
    return Case(remembering(), actions, noise)


def _holes(observations):
    return observations.at[1, 0].set(jnp.nan).at[2].set(jnp.nan)


def _sampled(num_samples, family=FullGaussian(2), **options):
    return VariationalFilter(NaturalGradient(1.0), family, propagation=SampledHistories(num_samples), **options)


def _filtering_bound(model, observations, actions):
    """Expected step bounds with every q(z_t | x_t, h_t) exact, by moments of the carry (thesis, Eqs. 4.5 and 4.7)."""
    m = {name: np.asarray(getattr(model, name)) for name in model.__dataclass_fields__}
    prior, noise = np.diag(m["state_scale"] ** 2), np.diag(m["noise"] ** 2)
    mean, covariance, bounds = m["start"], np.zeros((len(m["start"]),) * 2), []
    posterior = np.linalg.inv(np.linalg.inv(prior) + m["observe"].T @ np.linalg.solve(noise, m["observe"]))
    gain = posterior @ m["observe"].T @ np.linalg.inv(noise)
    marginal = m["observe"] @ prior @ m["observe"].T + noise
    seen_by = m["observe"] @ m["predict"] + m["read"]
    for t, x in enumerate(np.asarray(observations)):
        error = x - seen_by @ mean
        precision = np.linalg.inv(marginal)
        spread = np.trace(precision @ seen_by @ covariance @ seen_by.T)
        bounds.append(0.5 * (error @ precision @ error + spread + np.linalg.slogdet(2 * np.pi * marginal)[1]))
        # z = F h + K (x - (C F + D) h) + noise of the posterior.
        through = m["predict"] - gain @ seen_by
        move = m["keep"] + m["from_state"] @ through
        mean = move @ mean + m["from_state"] @ gain @ x + m["from_observation"] @ x
        covariance = move @ covariance @ move.T + m["from_state"] @ posterior @ m["from_state"].T
        if t < len(observations) - 1:
            mean = mean + m["from_action"] @ np.asarray(actions)[t]
    return np.array(bounds)


def test_sampled_pasts_give_the_filtering_bound(case, key):
    """With exact posteriors of every step the mean over pasts is the bound of Eq. 4.5, in expectation, and no lower than -log p."""
    repeats = 16
    run = jax.vmap(lambda k: filter(_sampled(64), case.model, case.observations, case.actions, key=k))
    found = run(jr.split(key, repeats)).info.free_energy_nats
    bounds = _filtering_bound(case.model, case.observations, case.actions)
    errors = jnp.std(found, axis=0, ddof=1) / repeats**0.5
    assert jnp.all(jnp.abs(jnp.mean(found, axis=0) - bounds) < MONTE_CARLO_STANDARD_ERRORS * errors + ALGEBRA)
    assert jnp.all(errors < 0.1)
    evidence = affine_sequence(case.model, case.actions, TIME).condition(case.observations, TIME)[2]
    assert jnp.sum(bounds) > -evidence


def test_the_first_step_is_exact_and_missing_steps_cost_nothing(case, key):
    found = filter(_sampled(3), case.model, _holes(case.observations), case.actions, key=key)
    evidence = affine_sequence(case.model, case.actions, TIME).condition(case.observations, 1)[2]
    assert jnp.abs(found.info.free_energy_nats[0] + evidence) < ALGEBRA
    assert found.info.free_energy_nats[2] == 0.0
    assert jnp.abs(found.beliefs.loc[2] - found.predictions.loc[2]).max() < ALGEBRA
    assert found.beliefs.covariance.shape == (TIME, 2, 2)


def test_particles_with_a_past_agree_with_the_dense_joint(case, key):
    observations = _holes(case.observations)
    found = filter(Particle(20_000), case.model, observations, case.actions, key=key)
    dense = affine_sequence(case.model, case.actions, TIME)
    means, sizes = eqx.filter_jit(jax.vmap(lambda b: (b.mean, b.effective_size)))(found.beliefs)
    evidence = 0.0
    for t in range(TIME):
        mean, covariance, log_evidence = dense.condition(observations, t + 1)
        error = jnp.sqrt(jnp.diagonal(covariance) / sizes[t])
        # As for Markov models: resampling adds to the variance of independent weighted particles.
        assert jnp.all(jnp.abs(means[t] - mean) < 2.0 * MONTE_CARLO_STANDARD_ERRORS * error)
        step = found.info.free_energy_nats[t] + log_evidence - evidence
        assert jnp.abs(step) < 2.0 * MONTE_CARLO_STANDARD_ERRORS / sizes[t] ** 0.5
        evidence = log_evidence


@pytest.mark.parametrize("diagonal", [False, True])
def test_missing_entries_are_integrated_out_as_a_kalman_filter_does(key, diagonal):
    """With either form of the likelihood: a correlated Gaussian, or independent entries through their Fisher information."""
    dynamics = LinearDynamics(jnp.array([[0.9, 0.1], [0.0, 0.8]]), None, 0.3 * jnp.eye(2))
    noise = jnp.diag(jnp.array([0.4, 0.6])) if diagonal else jnp.array([[0.4, 0.0], [0.3, 0.6]])
    exact = LinearGaussian(jnp.zeros(2), jnp.eye(2), dynamics, jnp.array([[1.0, 0.5], [0.0, 1.0]]), noise)
    model = exact
    if diagonal:
        scales = jnp.diagonal(noise)
        model = StateSpace(
            exact.initial, dynamics, lambda z: dist.Normal(exact.emission_matrix @ z, scales).to_event(1)
        )
    observations = _holes(jr.normal(key, (TIME, 2)))
    found = filter(VariationalFilter(NaturalGradient(1.0), FullGaussian(2)), model, observations, key=key)
    expected = filter(Kalman(), exact, observations, key=key)
    assert jnp.abs(found.beliefs.loc - expected.beliefs.loc).max() < ALGEBRA
    assert jnp.abs(found.beliefs.covariance - expected.beliefs.covariance).max() < ALGEBRA
    assert jnp.abs(found.info.free_energy_nats - expected.info.free_energy_nats).max() < ALGEBRA


class Read(eqx.Module):
    """Estimates from what the filter's own memory puts out."""

    def __call__(self, args):
        return args.context.memory.output


def test_a_filter_may_have_a_memory_of_its_own(case, key):
    """It reads every observation once, and stays as it is where there was none."""
    network = GRU(2 + 3, 4, 3, key=jr.key(5))
    memory = RecurrentMemory(network, lambda e: jnp.concatenate([e.observation, e.context.carry]), 4)
    method = VariationalFilter(Direct(Read()), DiagonalGaussian(2), propagation=SampledHistories(1), memory=memory)
    observations = case.observations.at[2].set(jnp.nan)
    found = filter(method, case.model, observations, case.actions, key=key)
    hidden, carries = network.init(), found.predictions.past.carry[:, 0]
    for t in (0, 1, 3):
        output, hidden = network(jnp.concatenate([observations[t], carries[t]]), hidden)
        assert jnp.abs(found.beliefs.memory.hidden[t, 0] - hidden).max() < ALGEBRA
        assert jnp.abs(found.beliefs.loc[t, 0] - output[:2]).max() < ALGEBRA
    assert jnp.all(found.beliefs.memory.hidden[2] == found.beliefs.memory.hidden[1])


def test_what_does_not_fit_together_is_refused(case, key):
    with pytest.raises(BadInputError, match="Markov"):
        VariationalFilter(NaturalGradient(1.0), FullGaussian(2)).init(case.model)
    with pytest.raises(BadInputError, match="Gaussian family"):
        VariationalFilter(NaturalGradient(1.0), Delta(2), propagation=MomentMatching())
    with pytest.raises(BadInputError, match="at least one sample"):
        SampledHistories(0)
    with pytest.raises(BadInputError, match="Expected a key"):
        _sampled(2).init(case.model)
    particles = Particle(4).init(case.model, key=key)
    with pytest.raises(BadInputError, match="Expected a key"):
        Particle(4).update(case.model, particles, jnp.zeros(2))
    mixed = StateSpace(
        dist.Normal(jnp.zeros(2), 1.0).to_event(1),
        LinearDynamics(jnp.eye(2)),
        lambda z: dist.Normal(z, 1.0).to_event(1),
    )
    with pytest.raises(BadInputError, match="keep its structure"):
        filter(_sampled(2), mixed, jnp.zeros((3, 2)), key=key)
