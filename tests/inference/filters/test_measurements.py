"""Measurements with noise of their own, in every kind of filter, against Kalman; and the same with entries missing."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist
import optax
import pytest

from homeostat.distributions import DiagonalGaussian, FullGaussian
from homeostat.inference import ModelWithFilter, RauchTungStriebel, SequenceBatch, filter, filtering_descent, smooth
from homeostat.inference.engines import Gradient, NaturalGradient
from homeostat.inference.filters import (
    BoundScore,
    GuidedParticle,
    Kalman,
    Particle,
    SampledHistories,
    VariationalFilter,
    VariationalProposal,
)
from homeostat.inference.smoothers import ParticleSmoother
from homeostat.models.sequential import LinearDynamics, LinearGaussian, Measurement, PoissonEmission, StateSpace
from homeostat.results import BadInputError
from tolerances import ALGEBRA, MONTE_CARLO_STANDARD_ERRORS

DIM, TIME = 2, 4


@pytest.fixture
def model() -> LinearGaussian:
    dynamics = LinearDynamics(jnp.array([[0.9, 0.2], [-0.1, 0.8]]), scale_tril=0.5 * jnp.eye(DIM))
    return LinearGaussian(jnp.zeros(DIM), jnp.eye(DIM), dynamics, jnp.array([[1.0, 0.5], [0.0, 1.0]]), jnp.eye(DIM))


@pytest.fixture
def measurements(key) -> Measurement:
    """One with an entry missing, and one that is missing with all of its noise."""
    values = jr.normal(key, (TIME, DIM)).at[1, 0].set(jnp.nan).at[2].set(jnp.nan)
    factors = jnp.linspace(0.4, 1.5, TIME)[:, None, None] * jnp.array([[1.0, 0.0], [0.5, 0.8]])[None]
    return Measurement(values, factors.at[2].set(jnp.nan))


EXACT = VariationalFilter(NaturalGradient(rate=1.0), FullGaussian(DIM))


def test_a_variational_filter_is_exact(model, measurements, key):
    exact = filter(Kalman(), model, measurements, key=key)
    found = filter(EXACT, model, measurements, key=key)
    assert jnp.abs(found.info.free_energy_nats - exact.info.free_energy_nats).max() < ALGEBRA
    assert jnp.abs(found.beliefs.loc - exact.beliefs.loc).max() < ALGEBRA
    assert jnp.abs(found.beliefs.covariance - exact.beliefs.covariance).max() < ALGEBRA


@pytest.mark.slow
def test_particles_are_unbiased(model, measurements, key):
    """Evidence of a bootstrap and of a guided filter, and means of paths that were drawn backwards."""
    exact = smooth(RauchTungStriebel(), model, measurements)
    guided = GuidedParticle(VariationalProposal(EXACT), BoundScore(), num_particles=16)
    repeats = 200

    @eqx.filter_jit
    @jax.vmap
    def run(k):
        paths = smooth(ParticleSmoother(Particle(100), 100), model, measurements, key=k, throw=False)
        other = filter(guided, model, measurements, key=k, throw=False)
        return jnp.stack([paths.log_evidence_nats, -other.free_energy_nats]), paths.mean

    log_evidences, means = run(jr.split(key, repeats))
    ratios = jnp.exp(log_evidences - exact.log_evidence_nats)
    error = jnp.std(ratios, axis=0, ddof=1) / repeats**0.5
    assert jnp.all(jnp.abs(jnp.mean(ratios, axis=0) - 1.0) < MONTE_CARLO_STANDARD_ERRORS * error)
    assert jnp.all(error < 0.05)
    error = jnp.std(means, axis=0, ddof=1) / repeats**0.5
    # Means of paths are biased by an amount of order 1 / n.
    gap = jnp.abs(jnp.mean(means, axis=0) - exact.beliefs.loc)
    assert jnp.all(gap < MONTE_CARLO_STANDARD_ERRORS * error + 1e-2)
    assert jnp.all(error < 0.02)


def test_filters_learn_from_measurements(model, measurements, key):
    """With the model's noise as each measurement's own the update is that of plain observations, otherwise another."""
    values, lengths = jnp.nan_to_num(measurements.value)[None], jnp.array([TIME - 1])
    method = VariationalFilter(Gradient(optax.sgd(0.1)), DiagonalGaussian(DIM), propagation=SampledHistories(2))
    learner = filtering_descent(ModelWithFilter(model, method), optax.sgd(0.1))

    @eqx.filter_jit
    def update(observations):
        state, metrics = learner.update(learner.init(key=key), SequenceBatch(observations, lengths=lengths), key=key)
        return state.learned.model.dynamics.matrix, metrics.failed_step

    own = jnp.broadcast_to(jnp.eye(DIM), (1, TIME, DIM, DIM))
    plain, same, other = (update(x) for x in (values, Measurement(values, own), Measurement(values, 0.5 * own)))
    assert plain[1] == same[1] == other[1] == -1.0
    assert jnp.abs(plain[0] - same[0]).max() < ALGEBRA
    assert jnp.abs(plain[0] - other[0]).max() > 1e-3


def test_measurements_of_other_observations_are_refused(measurements, key):
    counts = StateSpace(
        dist.Normal(jnp.zeros(DIM), jnp.ones(DIM)).to_event(1),
        lambda z, a: dist.Normal(0.9 * z, 0.2).to_event(1),
        PoissonEmission.linear(jnp.eye(DIM)),
    )
    with pytest.raises(BadInputError, match="Gaussian observations of 2 entries"):
        filter(Particle(8), counts, measurements, key=key)
