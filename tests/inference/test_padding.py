"""Padded sequences give the answers of the sequences themselves, also where steps have durations, and so do masks."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist
import optax
import pytest

from homeostat.distributions import DiagonalGaussian, Masked, MonteCarlo, Parallel, PathGaussian
from homeostat.inference import ForwardBackward, ModelWithFilter, SequenceBatch, filtering_descent, smooth, viterbi
from homeostat.inference._filter import masked
from homeostat.inference.engines import Chain, Direct, Gradient, PathNaturalGradient
from homeostat.inference.filters import SampledHistories, VariationalFilter
from homeostat.inference.learners._sequence_batch import time_major
from homeostat.inference.smoothers import Bidirectional, DirectForm, ProductForm, Structured
from homeostat.inference.smoothers._recognition import in_order
from homeostat.models.sequential import (
    ContinuousLinearDynamics,
    HiddenMarkov,
    LinearGaussian,
    Measurement,
    PoissonEmissions,
    TimedAction,
    lorenz_63,
)
from homeostat.nn import GRU, Dense
from homeostat.objectives import PathEvidence, PathFisher, PathFreeEnergy
from homeostat.results import BadInputError
from tolerances import ALGEBRA

SHORT, LONG = 3, 5


@pytest.fixture
def model() -> LinearGaussian:
    dynamics = ContinuousLinearDynamics(jnp.array([[0.0, 1.0], [-1.0, -0.3]]), diffusion=0.5 * jnp.eye(2))
    return LinearGaussian(jnp.zeros(2), jnp.eye(2), dynamics, jnp.array([[1.0, 0.3]]), jnp.array([[0.4]]))


@pytest.fixture
def values(key):
    return jr.normal(key, (LONG, 1))


DURATIONS = jnp.array([0.5, 1.0, 0.0, 0.0])
"""Padded with zeros, as arrays usually are."""


def test_steps_beyond_the_end_may_last_no_time(model, values, key):
    padded = PathEvidence.of(values, TimedAction(DURATIONS), SHORT)
    alone = PathEvidence.of(values[:SHORT], TimedAction(DURATIONS[: SHORT - 1]))
    energy = jax.value_and_grad(PathFreeEnergy(model).pointwise)
    run = eqx.filter_jit(lambda path: (energy(path, padded, key=key), energy(path[:SHORT], alone, key=key)))
    (value, gradient), (expected, slope) = run(jnp.zeros((LONG, 2)).at[:SHORT].set(jr.normal(key, (SHORT, 2))))
    assert jnp.abs(value - expected - (LONG - SHORT) * jnp.log(2.0 * jnp.pi)) < ALGEBRA  # Standard normal out there.
    assert jnp.abs(gradient[:SHORT] - slope).max() < ALGEBRA
    assert jnp.abs(gradient[SHORT:]).max() < ALGEBRA


def test_irregular_sequences_are_learned_from(key):
    """A ragged batch, and padded once more to a multiple of the truncation."""
    method = VariationalFilter(Gradient(optax.sgd(0.01)), DiagonalGaussian(3), 1, MonteCarlo(1), SampledHistories(1))
    durations = jnp.full((2, LONG - 1), 0.1).at[0, SHORT - 1 :].set(0.0)
    batch = SequenceBatch(jr.normal(key, (2, LONG, 3)), TimedAction(durations), jnp.array([SHORT, LONG]))
    learner = filtering_descent(ModelWithFilter(lorenz_63(num_substeps=1), method), optax.sgd(1e-6), truncation=4)
    state, metrics = eqx.filter_jit(learner.update)(learner.init(key=key), batch, key=key)
    assert metrics.failed_step == -1.0
    moved = state.learned.model.transition_mean.drift.rho
    assert jnp.isfinite(moved) and moved != 28.0


SIZE, DIM = 2, 2
SMALL = {"actions": 1, "width": 4, "depth": 1}
RECOGNITION = {
    "product": lambda key: ProductForm.networks(SIZE, DIM, window=1, **SMALL, key=key),
    "bidirectional": lambda key: DirectForm(
        Bidirectional(GRU(2 * SIZE + 1, 4, 4, key=key), GRU(2 * SIZE + 1, 4, 4, key=key), Dense(8, 9, key=key)), DIM
    ),
}


@pytest.mark.parametrize("name", RECOGNITION)
def test_recognition_does_not_read_the_padding(key, name):
    values, actions = jr.normal(key, (LONG, SIZE)), jr.normal(key, (LONG - 1, 1))
    network = RECOGNITION[name](jr.key(1))
    if name == "product":
        network = eqx.tree_at(lambda n: n.offset, network, jnp.ones(DIM))

    def path(evidence, length):
        q = PathGaussian(evidence.time, DIM)(network(evidence))
        return (q if evidence.length is None else q.cut(length)).marginals()

    alone = path(PathEvidence.of(values[:SHORT], actions[: SHORT - 1]), SHORT)
    padded = path(PathEvidence.of(values, actions, SHORT), SHORT)
    assert jnp.abs(padded.loc[:SHORT] - alone.loc).max() < ALGEBRA
    assert jnp.abs(padded.scale_tril[:SHORT] - alone.scale_tril).max() < ALGEBRA
    assert jnp.abs(padded.gains[: SHORT - 1] - alone.gains).max() < ALGEBRA


def test_recognition_reads_the_noise_and_works_in_the_order_of_the_smoother(model, values, key):
    noises = jnp.linspace(0.2, 2.0, LONG)[:, None, None]
    network = ProductForm.networks(1, 2, noise=1, width=4, key=key)
    run = eqx.filter_jit(lambda network, noises: network(PathEvidence.of(Measurement(values, noises))))
    sequential, other = run(network, noises), run(network, noises.at[-1].set(0.1))
    assert jnp.abs(sequential.loc - other.loc).max() > 1e-3
    method = in_order(Chain((Direct(network), PathNaturalGradient()), (1,)), Parallel())
    moved = method.engines[0].encoder
    assert isinstance(moved.recursion, Parallel)
    assert jnp.abs(sequential.loc - run(moved, noises).loc).max() < ALGEBRA
    with pytest.raises(BadInputError, match="noise=m"):
        ProductForm.networks(1, 2, width=4, key=key)(PathEvidence.of(Measurement(values, noises)))
    with pytest.raises(BadInputError, match="PathEvidence"):
        smooth(Structured(), model, PathEvidence.of(values), key=key, mask=jnp.ones(LONG, bool))


def test_a_mask_and_masked_observations_go_together(key):
    emissions = PoissonEmissions(jnp.array([[0.0, 1.0], [2.0, -1.0]]))
    chain = HiddenMarkov.from_probabilities(jnp.array([0.4, 0.6]), jnp.array([[0.9, 0.1], [0.3, 0.7]]), emissions)
    counts = jr.poisson(key, 2.0, (LONG, 2))
    first = jnp.ones((LONG, 2), bool).at[1, 0].set(False)
    second = jnp.arange(LONG) != 3
    both = Masked(counts, first & second[:, None])
    for verb in (lambda x, **k: smooth(ForwardBackward(), chain, x, **k), lambda x, **k: viterbi(chain, x, **k)):
        expected, found = verb(both), verb(Masked(counts, first), mask=second)
        assert all(
            bool(jnp.all(a == b)) for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True)
        )
    holed = jnp.ones((LONG, 1)).at[0].set(jnp.nan)
    twice = masked(Masked(holed, jnp.arange(LONG)[:, None] != 1), second)
    assert twice.observed[:, 0].tolist() == [False, False, True, False, True]
    batch = time_major(SequenceBatch(Masked(counts[None], first[None]), lengths=jnp.array([SHORT])))
    assert jnp.all(batch.observations.observed[:, 0] == first & (jnp.arange(LONG) < SHORT)[:, None])


def test_small_rates_have_no_curvature():
    """In 32 bits a rate and its derivative both underflow to zero."""
    state = jnp.asarray([-200.0], jnp.float32)
    conditional = lambda z: dist.Poisson(jnp.exp(z)).to_event(1)  # noqa: E731
    curvature = PathFisher().emission(lambda z: jnp.sum(z), conditional, state, jnp.ones(1, bool))
    assert jnp.all(curvature == 0.0)
