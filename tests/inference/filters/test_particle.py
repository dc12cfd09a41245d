"""Particle filters and smoothers against the exact answers of a linear-Gaussian model."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import optax
import pytest
from cuthbertlib.resampling import autodiff, ess_decorator, multinomial
from cuthbertlib.smc.smoothing import mcmc, tracing

from homeostat.core import AbstractMarkovModel, AbstractSequentialModel
from homeostat.distributions import DiagonalGaussian, FullGaussian
from homeostat.inference import RauchTungStriebel, filter, smooth
from homeostat.inference.engines import Direct, Gradient, NaturalGradient
from homeostat.inference.filters import (
    AuxiliaryScore,
    BootstrapProposal,
    BoundScore,
    GuidedParticle,
    Kalman,
    NoLookahead,
    Particle,
    ParticleBelief,
    VariationalFilter,
    VariationalProposal,
    auxiliary_particle,
    systematic,
)
from homeostat.inference.filters._variational import step_problem
from homeostat.inference.smoothers import ParticleSmoother
from homeostat.models.sequential import (
    GaussianEmissions,
    HiddenMarkov,
    LinearDynamics,
    LinearGaussian,
    SwitchingLinear,
    TransitionMatrix,
    pendulum,
)
from homeostat.results import BadInputError
from tolerances import ALGEBRA, MONTE_CARLO_STANDARD_ERRORS

DIM, TIME = 2, 5


@pytest.fixture
def model() -> LinearGaussian:
    dynamics = LinearDynamics(jnp.array([[0.9, 0.2], [-0.1, 0.8]]), jnp.eye(DIM), jnp.array([[0.5, 0.0], [0.2, 0.4]]))
    return LinearGaussian(
        jnp.zeros(DIM), jnp.eye(DIM), dynamics, jnp.array([[1.0, 0.5], [0.0, 1.0]]), 0.6 * jnp.eye(DIM)
    )


@pytest.fixture
def data(model, key):
    actions = 0.5 * jr.normal(key, (TIME - 1, DIM))
    return model.sample(actions, key=key).observations.at[2].set(jnp.nan), actions


EXACT_STEP = VariationalFilter(NaturalGradient(rate=1.0), FullGaussian(DIM))
ROUGH_STEP = VariationalFilter(Gradient(optax.sgd(0.05)), DiagonalGaussian(DIM), 2)
SCORED = ess_decorator(autodiff.stop_gradient_decorator(systematic), 0.5)

FILTERS = {
    "bootstrap": Particle(64),
    "bootstrap, multinomial": Particle(64, multinomial.resampling),
    "auxiliary": auxiliary_particle(64),
    "guided": GuidedParticle(VariationalProposal(ROUGH_STEP), num_particles=32),
    "guided, bound ahead": GuidedParticle(
        VariationalProposal(ROUGH_STEP), BoundScore(), num_particles=32, resampling=systematic
    ),
}


@pytest.mark.parametrize("name", FILTERS)
def test_the_evidence_is_unbiased(model, data, key, name):
    values, actions = data
    repeats = 400
    exact = filter(Kalman(), model, values, actions, key=key)
    run = eqx.filter_jit(
        jax.vmap(lambda k: filter(FILTERS[name], model, values, actions, key=k, throw=False).free_energy_nats)
    )
    ratios = jnp.exp(exact.free_energy_nats - run(jr.split(key, repeats)))
    standard_error = jnp.std(ratios, ddof=1) / repeats**0.5
    assert jnp.abs(jnp.mean(ratios) - 1.0) < MONTE_CARLO_STANDARD_ERRORS * standard_error
    assert standard_error < 0.1  # The test would otherwise prove nothing.


def test_an_exact_proposal_makes_every_weight_the_same(model, data, key):
    """Fully adapted: proposals p(z | h, x) and scores p(x | h), so nothing but the choice of ancestors is random."""
    values, actions = data
    method = GuidedParticle(VariationalProposal(EXACT_STEP), BoundScore(), num_particles=16, resampling=systematic)
    found = filter(method, model, values, actions, key=key)
    assert jnp.abs(found.beliefs.log_weights + jnp.log(16.0)).max() < ALGEBRA
    one = filter(method, model, values[:1], actions[:0], key=key)
    exact = filter(Kalman(), model, values[:1], actions[:0], key=key)
    assert jnp.abs(one.free_energy_nats - exact.free_energy_nats) < ALGEBRA


def test_better_proposals_waste_fewer_particles(model, data, key):
    values, actions = data
    guided = GuidedParticle(VariationalProposal(EXACT_STEP), num_particles=64)
    sizes = [
        jnp.mean(
            eqx.filter_jit(jax.vmap(lambda b: b.effective_size))(filter(m, model, values, actions, key=key).beliefs)[:2]
        )
        for m in (Particle(64), guided)
    ]
    assert sizes[1] > 1.2 * sizes[0]


def test_systematic_resampling_keeps_its_promise(key):
    """Every particle has the floor or the ceiling of n w copies, in expectation n w."""
    log_weights = jnp.log(jnp.array([0.05, 0.0, 0.4, 0.3, 0.25, 0.0]))
    draws, _, copies = eqx.filter_jit(jax.vmap(lambda k: systematic(k, log_weights, jnp.arange(6.0), 10)))(
        jr.split(key, 2_000)
    )
    counts = eqx.filter_jit(jax.vmap(partial(jnp.bincount, length=6)))(draws)
    expected = 10.0 * jnp.exp(log_weights)
    assert jnp.all((counts >= jnp.floor(expected)[None]) & (counts <= jnp.ceil(expected - 1e-9)[None]))
    error = jnp.std(counts, axis=0) / 2_000**0.5
    assert jnp.all(jnp.abs(jnp.mean(counts, axis=0) - expected) <= MONTE_CARLO_STANDARD_ERRORS * error + ALGEBRA)
    assert jnp.all(copies == draws)


class Window(dist.Distribution):
    """Uniform on (centre - 1, centre + 1); numpyro's own does not look where its value lies."""

    support = dist.constraints.real_vector

    def __init__(self, centre):
        self.centre = centre
        super().__init__((), (1,))

    def sample(self, key, sample_shape=()):
        return self.centre + jr.uniform(key, (1,), minval=-1.0, maxval=1.0)

    def log_prob(self, value):
        return jnp.where(jnp.abs(value - self.centre)[0] < 1.0, -jnp.log(2.0), -jnp.inf)


class Boxed(AbstractMarkovModel):
    """A walk seen through a window: observations outside the window of every particle are impossible."""

    def initial(self):
        return dist.Normal(jnp.zeros(1), 1.0).to_event(1)

    def transition(self, state, action):
        return dist.Normal(state, 0.1).to_event(1)

    def emission(self, state):
        return Window(state)


@pytest.mark.parametrize("method", [Particle(50), auxiliary_particle(50)], ids=["bootstrap", "auxiliary"])
def test_degenerate_weights_are_reported_and_never_nan(key, method):
    values = jnp.array([[0.0], [90.0], [0.0]])
    found = filter(method, Boxed(), values, key=key, throw=False)
    assert not jnp.any(jnp.isnan(found.beliefs.log_weights)) and not jnp.any(jnp.isnan(found.beliefs.particles))
    assert found.info.free_energy_nats[1] == jnp.inf
    assert jnp.isfinite(found.info.free_energy_nats[0])
    assert jnp.abs(found.beliefs.log_weights[1] + jnp.log(50.0)).max() < ALGEBRA
    with pytest.raises(RuntimeError, match="No particle can explain"):
        filter(method, Boxed(), values, key=key)
    gradient = eqx.filter_jit(
        jax.grad(lambda x: filter(method, Boxed(), x, key=key, throw=False).info.free_energy_nats[0])
    )(values)
    assert jnp.all(jnp.isfinite(gradient))


def test_the_bound_teaches_model_and_proposal(model, data, key):
    """The FIVO bound: its gradient moves an encoder and the model so that it falls."""
    values, actions = data
    values = values.at[2].set(0.0)
    layer = eqx.nn.Linear(DIM, 2 * DIM, key=key)

    def method(layer, resampling=systematic):
        encode = lambda args: 0.1 * layer(args.observation)  # noqa: E731
        step = VariationalFilter(Direct(encode), DiagonalGaussian(DIM))
        return GuidedParticle(VariationalProposal(step), num_particles=16, resampling=resampling)

    def bound(learned, keys, resampling=systematic):
        layer, model = learned
        run = lambda k: filter(method(layer, resampling), model, values, actions, key=k, throw=False).free_energy_nats  # noqa: E731
        return jnp.mean(jax.vmap(run)(keys))

    @eqx.filter_jit
    def descend(learned):
        arrays, static = eqx.partition(learned, eqx.is_inexact_array)

        def body(arrays, k):
            loss = lambda a: bound(eqx.combine(a, static), jr.split(k, 8))  # noqa: E731
            value, gradient = jax.value_and_grad(loss)(arrays)
            return jax.tree.map(lambda a, g: a - 0.02 * g, arrays, gradient), value

        return jax.lax.scan(body, arrays, jr.split(key, 40))[1]

    values_nats = descend((layer, model))
    assert jnp.all(jnp.isfinite(values_nats))
    assert jnp.mean(values_nats[-5:]) < jnp.mean(values_nats[:5]) - 0.5


def test_the_score_of_resampling_makes_the_gradient_unbiased(model, data, key):
    """With it, the gradient of the bootstrap evidence is that of the exact evidence on average (Fisher's identity)."""
    values, actions = data

    def energy(shift, method, k):
        moved = eqx.tree_at(lambda m: m.dynamics.offset, model, model.dynamics.offset + shift)
        return filter(method, moved, values, actions, key=k, throw=False).free_energy_nats

    exact = eqx.filter_jit(jax.grad(lambda s: jnp.exp(-energy(s, Kalman(), key))))(jnp.zeros(DIM))
    run = eqx.filter_jit(
        jax.vmap(jax.grad(lambda s, k: jnp.exp(-energy(s, Particle(64, SCORED), k))), in_axes=(None, 0))
    )
    gradients = run(jnp.zeros(DIM), jr.split(key, 2_000))
    error = jnp.std(gradients, axis=0) / 2_000**0.5
    assert jnp.all(jnp.abs(jnp.mean(gradients, axis=0) - exact) < MONTE_CARLO_STANDARD_ERRORS * error)
    assert jnp.all(error < 0.1 * jnp.abs(exact).max())


SMOOTHERS = {
    "backward simulation": ParticleSmoother(Particle(400), 400),
    "backward, by chains": ParticleSmoother(Particle(400), 400, partial(mcmc.simulate, n_steps=10)),
    "genealogy": ParticleSmoother(Particle(20_000), 20_000, tracing.simulate),
    "backward through guided": ParticleSmoother(
        GuidedParticle(VariationalProposal(EXACT_STEP), num_particles=400), 400
    ),
}


@pytest.mark.parametrize("name", SMOOTHERS)
def test_paths_have_the_exact_moments(model, data, key, name):
    values, actions = data
    exact = smooth(RauchTungStriebel(), model, values, actions)
    repeats = 20
    run = lambda k: smooth(SMOOTHERS[name], model, values, actions, key=k, throw=False)  # noqa: E731
    found = eqx.filter_jit(jax.vmap(lambda k: (lambda s: (s.mean, s.covariance, s.cross_covariances))(run(k))))
    estimates = found(jr.split(key, repeats))
    truth = (exact.beliefs.loc, exact.beliefs.covariance, exact.cross_covariances)
    for estimate, target in zip(estimates, truth, strict=True):
        error = jnp.std(estimate, axis=0, ddof=1) / repeats**0.5
        # Ratios of estimates are biased by an amount of order 1 / n, which the second term leaves room for.
        assert jnp.all(jnp.abs(jnp.mean(estimate, axis=0) - target) < MONTE_CARLO_STANDARD_ERRORS * error + 5e-3)
        assert jnp.all(error < 0.05)


class Wandering(AbstractSequentialModel):
    """The carry adds up all that was seen: not Markov in z."""

    def init_carry(self):
        return jnp.zeros(1)

    def prior(self, carry):
        return dist.Normal(0.5 * carry, 1.0).to_event(1)

    def emission_given(self, carry, state):
        return dist.Normal(state + carry, 0.5).to_event(1)

    def next_carry(self, carry, state, observation, action):
        return 0.5 * (carry + observation)


def test_models_with_a_past_are_filtered_and_traced(key):
    """Given what was seen the carry is known, so every step is one conjugate Gaussian."""
    values = jnp.array([[0.5], [1.0], [-0.5]])
    carry, exact = 0.0, []
    for value in np.asarray(values[:, 0]):
        exact.append(dist.Normal(1.5 * carry, (1.0 + 0.25) ** 0.5).log_prob(value))
        carry = 0.5 * (carry + value)
    step = VariationalFilter(NaturalGradient(rate=1.0), FullGaussian(1))
    method = GuidedParticle(VariationalProposal(step), BoundScore(), num_particles=8)
    found = smooth(ParticleSmoother(method, 8, tracing.simulate), Wandering(), values, key=key)
    assert jnp.abs(found.log_evidence_nats - sum(exact)) < ALGEBRA
    with pytest.raises(BadInputError, match="Markov"):
        smooth(ParticleSmoother(method, 8), Wandering(), values, key=key)


def test_singular_noise_is_reported_or_not_looked_at(key):
    """A pendulum has no noise in its angle, so that steps have no density; only drawing backwards asks for one."""
    values, swinging = jnp.array([[0.1], [0.2]]), pendulum()
    with pytest.raises(RuntimeError, match="process noise in every direction"):
        smooth(ParticleSmoother(Particle(8), 8), swinging, values, key=key)
    method = auxiliary_particle(16)
    for_next = method.predict(swinging, method.init(swinging, key=key), None, key=key)
    after, info = eqx.filter_jit(method.update)(swinging, for_next, values[1], key=key)
    assert jnp.isfinite(info.free_energy_nats) and jnp.all(jnp.isfinite(after.particles))


def test_predictions_without_a_mean_are_refused():
    emissions = GaussianEmissions(jnp.array([[-1.0], [1.0]]), jnp.ones((2, 1, 1)))
    chain = HiddenMarkov.from_probabilities(jnp.array([0.5, 0.5]), jnp.array([[0.9, 0.1], [0.3, 0.7]]), emissions)
    regime = LinearGaussian(jnp.zeros(1), jnp.eye(1), LinearDynamics(jnp.eye(1)), jnp.eye(1), jnp.eye(1))
    switching = SwitchingLinear(jnp.zeros(2), TransitionMatrix(jnp.zeros((2, 2))), (regime, regime))
    for model in (chain, switching):
        step = step_problem(model, model.init_carry(), None, jnp.ones(1))
        proposed = BootstrapProposal().propose(step.model, step.evidence, key=jr.key(0))
        assert NoLookahead()(step.model, step.evidence, proposed) == 0.0
        with pytest.raises(BadInputError, match=r"lookahead=NoLookahead\(\), or BoundScore"):
            AuxiliaryScore()(step.model, step.evidence, proposed)


def test_bad_input_is_refused(model):
    with pytest.raises(BadInputError, match="particle"):
        GuidedParticle(num_particles=0)
    with pytest.raises(BadInputError, match="key"):
        auxiliary_particle(4).init(model)
    with pytest.raises(BadInputError, match="path"):
        ParticleSmoother(num_paths=0)


def test_a_belief_without_ancestors_keeps_its_structure(key):
    """Forecasts of a plan loop over predictions, which asks for one structure."""
    belief = ParticleBelief(jnp.zeros((4, 2)), jnp.full(4, -jnp.log(4.0)))
    moved = Particle(4).predict(pendulum(), belief, None, key=key)
    assert jax.tree.structure(moved) == jax.tree.structure(belief)
