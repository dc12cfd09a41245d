"""Structured smoothing: exact on linear-Gaussian models, and against brute force on others."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import optax
import pytest

from homeostat.core import AbstractMarkovModel
from homeostat.distributions import BlockTridiagonal, FullGaussian, GaussianMoments, Masked, Parallel, natural_markov
from homeostat.inference import ModelWithEngine, RauchTungStriebel, filter, smooth, smoothing_descent
from homeostat.inference.engines import (
    Chain,
    Direct,
    Gradient,
    Hessian,
    NaturalGradient,
    PathNaturalGradient,
    PathNewton,
    StopGradient,
)
from homeostat.inference.filters import VariationalFilter
from homeostat.inference.smoothers import Bidirectional, DirectForm, ProductForm, Structured, extended_path
from homeostat.models.sequential import LinearDynamics, LinearGaussian, Measurement
from homeostat.nn import GRU, Dense
from homeostat.objectives import Neighbours, PathEvidence, PathFreeEnergy, PathHessian, WholePaths, at_paths
from homeostat.results import BadInputError
from tolerances import ALGEBRA, AUTODIFF

DIM, SIZE, TIME = 2, 2, 6


def dense_divergence(q, p):
    """KL(q || p) of two Gaussians over paths, by matrices of all steps together."""

    def covariance(path):
        eye = jnp.eye(TIME * DIM).reshape(-1, TIME, DIM)
        return jnp.linalg.inv(jax.vmap(path.natural.precision.times)(eye).reshape(TIME * DIM, -1))

    full = [dist.MultivariateNormal(path.loc.ravel(), covariance(path)) for path in (q, p)]
    return dist.kl_divergence(*full)


@pytest.fixture
def linear() -> LinearGaussian:
    dynamics = LinearDynamics(
        jnp.array([[0.9, 0.2], [-0.1, 0.8]]),
        jnp.array([[0.5], [1.0]]),
        jnp.array([[0.4, 0.0], [0.1, 0.3]]),
        jnp.ones(2),
    )
    emission = jnp.array([[1.0, 0.5], [0.0, 1.0]])
    return LinearGaussian(
        jnp.array([1.0, -1.0]), jnp.array([[1.0, 0.0], [0.3, 0.7]]), dynamics, emission, 0.5 * jnp.eye(2), jnp.ones(2)
    )


def test_the_path_of_an_extended_smoother_is_exact_where_all_is_linear(linear, key):
    """One padded sequence with a missing step, against what one natural-gradient step finds."""
    values = jr.normal(key, (TIME, SIZE)).at[2].set(jnp.nan)
    evidence = PathEvidence.of(values, jr.normal(jr.fold_in(key, 1), (TIME - 1, 1)), TIME - 1)
    path = eqx.filter_jit(extended_path)(linear, evidence)
    exact = smooth(Structured(num_steps=1), linear, evidence, key=key).path
    np.testing.assert_allclose(path.loc, exact.loc, rtol=AUTODIFF, atol=AUTODIFF)
    for got, want in zip(path.natural.precision, exact.natural.precision, strict=True):
        np.testing.assert_allclose(got, want, rtol=AUTODIFF, atol=AUTODIFF)


ONE_STEP = eqx.filter_jit(Structured(num_steps=1).smooth)
"""Shared, so that it is compiled once for each kind of evidence."""


def data(model, key):
    actions = jr.normal(key, (TIME - 1, 1))
    values = model.sample(actions, key=key).observations
    return values.at[2].set(jnp.nan).at[4, 0].set(jnp.nan), actions


def gap(path, exact):
    return max(
        jnp.abs(path.beliefs.loc - exact.beliefs.loc).max(),
        jnp.abs(path.beliefs.covariance - exact.beliefs.covariance).max(),
        jnp.abs(path.cross_covariances - exact.cross_covariances).max(),
        jnp.abs(path.free_energy_nats + exact.log_evidence_nats),
    )


def test_one_natural_step_is_the_kalman_smoother(linear, key):
    values, actions = data(linear, key)
    assert (
        gap(ONE_STEP(linear, values, actions, key=key), smooth(RauchTungStriebel(), linear, values, actions)) < ALGEBRA
    )
    nothing = ONE_STEP(linear, jnp.full_like(values, jnp.nan), actions, key=key)
    assert jnp.abs(nothing.free_energy_nats) < ALGEBRA
    seen = jnp.broadcast_to(jnp.arange(TIME)[:, None] < 4, values.shape) & ~jnp.isnan(values)
    masked = ONE_STEP(linear, Masked(values, seen), actions, key=key)
    cut = ONE_STEP(linear, values.at[4:].set(jnp.nan), actions, key=key)
    assert jnp.abs(masked.path.loc - cut.path.loc).max() < ALGEBRA


def test_one_newton_step_is_the_kalman_smoother(linear, key):
    """Here worked through in parallel."""
    values, actions = data(linear, key)
    found = smooth(Structured(PathNewton(), 1, recursion=Parallel()), linear, values, actions, key=key)
    assert gap(found, smooth(RauchTungStriebel(), linear, values, actions)) < ALGEBRA


def test_measurements_bring_their_noise(linear, key):
    values, actions = data(linear, key)
    noises = jnp.linspace(0.2, 2.0, TIME)[:, None, None] * jnp.eye(SIZE)[None]
    measured = Measurement(values, noises)
    found = ONE_STEP(linear, measured, actions, key=key)
    assert gap(found, smooth(RauchTungStriebel(), linear, measured, actions)) < ALGEBRA


def test_any_engine_descends_to_the_kalman_smoother(linear, key):
    values, actions = data(linear, key)
    engine = Gradient(optax.adam(optax.exponential_decay(0.1, 300, 0.4)))
    found = eqx.filter_jit(Structured(engine, 3_000).smooth)(linear, values, actions, key=key)
    assert gap(found, smooth(RauchTungStriebel(), linear, values, actions)) < AUTODIFF


def test_padding_changes_nothing(linear, key):
    """A padded sequence gives the answers of the sequence itself, by length and by mask."""
    values, actions = data(linear, key)
    short = smooth(RauchTungStriebel(), linear, values[:4], actions[:3])
    evidence = PathEvidence.of(values.at[4:].set(7.0), actions, 4)
    padded = ONE_STEP(linear, evidence, key=key)
    assert jnp.abs(padded.free_energy_nats + short.log_evidence_nats) < ALGEBRA
    assert jnp.abs(padded.beliefs.loc[:4] - short.beliefs.loc).max() < ALGEBRA
    assert jnp.abs(padded.beliefs.covariance[:4] - short.beliefs.covariance).max() < ALGEBRA
    assert jnp.abs(padded.beliefs.loc[4:]).max() < ALGEBRA


def test_sites_of_the_natural_gradient_are_diagonal(linear, key):
    """With linear-Gaussian dynamics every iterate is the prior times one Gaussian factor for each observation."""
    values, actions = data(linear, key)
    model = Counts(linear, jnp.zeros(SIZE))
    counts = jnp.abs(jnp.round(jnp.nan_to_num(values)))

    @eqx.filter_jit
    def run(linear):
        found = Structured(PathNaturalGradient(0.5), 4).smooth(model, counts, actions, key=key)
        initial = GaussianMoments(linear.initial_mean, linear.initial_scale_tril)
        steps = jax.vmap(lambda _, action: linear.dynamics.step(action))(jnp.arange(TIME - 1), actions)
        prior = BlockTridiagonal.from_natural(natural_markov(initial, *steps))
        site = jax.tree.map(lambda a, b: a - b, found.path.natural.precision, prior.natural.precision)
        terms = PathFreeEnergy(model).terms(found.path, PathEvidence.of(counts, actions), key=key)
        return site, jnp.sum(terms.rates_nats), dense_divergence(found.path, prior)

    site, rate, divergence = run(linear)
    assert jnp.abs(site.coupling).max() < ALGEBRA
    assert jnp.all(jnp.linalg.eigvalsh(site.diagonal) > 0.0)
    assert jnp.abs(rate - divergence) < ALGEBRA


class Counts(AbstractMarkovModel):
    """Linear dynamics seen through Poisson counts with rates exp(C z + b)."""

    linear: LinearGaussian
    offset: jax.Array

    def initial(self):
        return self.linear.initial()

    def transition(self, state, action):
        return self.linear.transition(state, action)

    def emission(self, state):
        return dist.Poisson(jnp.exp(0.3 * self.linear.emission_matrix @ state + self.offset)).to_event(1)


class Bent(AbstractMarkovModel):
    """One nonlinear state: z' ~ N(z + sin z, 0.4^2), counts with rate exp(z)."""

    def initial(self):
        return dist.Normal(jnp.zeros(1), 0.7).to_event(1)

    def transition(self, state, action):
        return dist.Normal(state + 0.5 * jnp.sin(state), 0.4).to_event(1)

    def emission(self, state):
        return dist.Poisson(jnp.exp(state)).to_event(1)


def brute_force(counts):
    """Log evidence, and posterior means and variances on a grid, by forward-backward summation."""
    grid = np.linspace(-5.0, 7.0, 1_201)
    step = grid[1] - grid[0]
    model = Bent()
    first = np.exp(np.asarray(eqx.filter_jit(jax.vmap(lambda z: model.initial().log_prob(z)))(grid[:, None])))
    moved = np.exp(-0.5 * ((grid[None, :] - grid[:, None] - 0.5 * np.sin(grid)[:, None]) / 0.4) ** 2)
    moved /= 0.4 * np.sqrt(2.0 * np.pi)
    likelihoods = [
        np.ones_like(grid)
        if np.isnan(count)
        else np.exp(
            np.asarray(
                eqx.filter_jit(jax.vmap(lambda z, c=count: model.emission(z).log_prob(jnp.array([c]))))(grid[:, None])
            )
        )
        for count in counts
    ]
    forward, backward = [first * likelihoods[0]], [np.ones_like(grid)]
    for likelihood in likelihoods[1:]:
        forward.append(step * (forward[-1] @ moved) * likelihood)
    for likelihood in likelihoods[:0:-1]:
        backward.append(step * (moved @ (backward[-1] * likelihood)))
    both = np.stack(forward) * np.stack(backward[::-1])
    evidence = step * both.sum(axis=1)
    means = step * both @ grid / evidence
    return np.log(evidence[-1]), means, step * both @ grid**2 / evidence - means**2


def test_counts_against_brute_force(key):
    """On a nonlinear chain of counts: the bound is below the evidence, close to it, and above that of the Laplace posterior."""
    counts = jnp.array([[1.0], [3.0], [jnp.nan], [4.0], [2.0]])
    log_evidence, means, variances = brute_force(np.asarray(counts[:, 0]))
    natural = eqx.filter_jit(Structured(PathNaturalGradient(0.8, curvature=PathHessian()), 40).smooth)
    newton = eqx.filter_jit(Structured(PathNewton(), 12).smooth)
    best, laplace = natural(Bent(), counts, key=key), newton(Bent(), counts, key=key)
    # The remaining gap is KL(q || posterior), small but not zero for a posterior that is no Gaussian.
    assert 0.0 < best.free_energy_nats + log_evidence < 0.05
    assert 0.0 < laplace.free_energy_nats + log_evidence < 0.2
    assert best.free_energy_nats < laplace.free_energy_nats
    assert np.abs((best.beliefs.loc[:, 0] - means) / np.sqrt(variances)).max() < 0.05
    # Minimising KL(q || posterior) gives up some spread where the posterior is skewed.
    assert np.abs(best.beliefs.covariance[:, 0, 0] / variances - 1.0).max() < 0.15
    gradient = jax.grad(lambda path: PathFreeEnergy(Bent()).pointwise(path, PathEvidence.of(counts), key=key))
    assert jnp.abs(gradient(laplace.path.loc)).max() < AUTODIFF


def test_a_filter_does_the_same_online(key):
    """The variational filter's natural gradients are those of a path of length one."""
    count = jnp.array([[1.0]])
    step = VariationalFilter(NaturalGradient(0.3, curvature=Hessian()), FullGaussian(1), 3)
    online = filter(step, Bent(), count, key=key)
    path = smooth(Structured(PathNaturalGradient(0.3, curvature=PathHessian()), 3), Bent(), count, key=key)
    assert jnp.abs(online.beliefs.loc - path.beliefs.loc).max() < ALGEBRA
    assert jnp.abs(online.beliefs.covariance - path.beliefs.covariance).max() < ALGEBRA
    assert jnp.abs(online.free_energy_nats - path.free_energy_nats) < ALGEBRA


def test_derivatives_are_those_of_the_energy(linear, key):
    """The block-tridiagonal Hessian is the dense one, and E_q[U] by neighbours is that by whole paths."""
    values, actions = data(linear, key)
    model, counts = Counts(linear, jnp.zeros(SIZE)), jnp.abs(jnp.round(jnp.nan_to_num(values)))
    evidence = PathEvidence.of(counts, actions, 5)
    objective = PathFreeEnergy(model)

    @eqx.filter_jit
    def run(model):
        found = Structured(num_steps=1).smooth(model, evidence, key=key)
        path = found.path.sample(key)
        points = at_paths(path[None], jnp.ones(1))
        energy = lambda z: objective.pointwise(z, evidence, key=key)  # noqa: E731
        whole = PathFreeEnergy(model, WholePaths(4_000))(found.path, evidence, key=key)
        brute = (energy(path), jax.grad(energy)(path), jax.hessian(energy)(path))
        return objective.derivatives(points, evidence, PathHessian()), brute, whole - found.free_energy_nats

    derivatives, (energy, gradient, dense), error = run(model)
    assert jnp.abs(derivatives.energy_nats - energy) < ALGEBRA
    assert jnp.abs(derivatives.gradient - gradient).max() < ALGEBRA
    index = jnp.arange(TIME)
    assert jnp.abs(derivatives.curvature.diagonal - dense[index, :, index]).max() < ALGEBRA
    assert jnp.abs(derivatives.curvature.coupling - dense[index[1:], :, index[:-1]]).max() < ALGEBRA
    assert jnp.abs(dense[index[2:], :, index[:-2]]).max() < ALGEBRA
    assert jnp.abs(error) < 0.1


def sequences(model, key, count=8):
    def one(k):
        actions = jr.normal(k, (TIME - 1, 1))
        return model.sample(actions, key=k).observations, actions

    values, actions = eqx.filter_jit(jax.vmap(one))(jr.split(key, count))
    lengths = jnp.arange(count) % 3 + TIME - 2
    return eqx.filter_jit(jax.vmap(PathEvidence.of))(values.at[:, 1, 0].set(jnp.nan), actions, lengths)


RECOGNITION = {
    "product": lambda key: ProductForm.networks(SIZE, DIM, actions=1, width=8, key=key),
    "direct": lambda key: DirectForm.networks(SIZE, DIM, actions=1, width=8, key=key),
    "bidirectional": lambda key: DirectForm(
        Bidirectional(GRU(2 * SIZE + 1, 4, 4, key=key), GRU(2 * SIZE + 1, 4, 4, key=key), Dense(8, 9, key=key)), DIM
    ),
}


def standing_still(learned):
    """Everything of the model, so that its evidence stays what the bound is compared with."""
    return ModelWithEngine(jax.tree.map(lambda _: True, learned.model), jax.tree.map(lambda _: False, learned.engine))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n == "product" else []) for n in RECOGNITION]
)
def test_recognition_networks_learn(linear, key, name):
    """The free energy of ragged sequences with holes falls, and never below the evidence."""
    batch = sequences(linear, key)
    learner = smoothing_descent(
        ModelWithEngine(linear, Direct(RECOGNITION[name](jr.key(1)))),
        optax.chain(optax.masked(optax.set_to_zero(), standing_still), optax.adam(3e-2)),
        expectation=Neighbours(),
    )
    state, keys = learner.init(key=key), jr.split(key, 150)

    @eqx.filter_jit
    def train(state):
        arrays, static = eqx.partition(state, eqx.is_array)

        def body(arrays, k):
            new, metrics = learner.update(eqx.combine(arrays, static), batch, key=k)
            return eqx.filter(new, eqx.is_array), metrics

        return jax.lax.scan(body, arrays, keys)[1]

    metrics = train(state)
    exact = eqx.filter_jit(jax.vmap(lambda e, k: Structured(num_steps=1).smooth(linear, e, key=k, throw=False)))(
        batch, jr.split(key, 8)
    )
    per_step = jnp.sum(exact.free_energy_nats) / jnp.sum(batch.length)
    assert metrics.free_energy_nats[-1] < metrics.free_energy_nats[0] - 0.5
    assert jnp.all(metrics.free_energy_nats > per_step)
    assert metrics.free_energy_nats[-1] - per_step < 0.5
    assert jnp.all(metrics.failed_step == -1.0)


@pytest.mark.slow
def test_semi_amortized_and_expectation_maximisation(linear, key):
    """An encoder refined by one natural step is exact here, and its gradient in the model is that of the evidence."""
    values, actions = data(linear, key)
    recognition = ProductForm.networks(SIZE, DIM, actions=1, width=4, key=jr.key(1))
    engine = Chain((Direct(recognition), PathNaturalGradient()), (1,))
    found = eqx.filter_jit(Structured(engine, 2).smooth)(linear, values, actions, key=key)
    assert gap(found, smooth(RauchTungStriebel(), linear, values, actions)) < ALGEBRA

    batch = jax.tree.map(lambda leaf: leaf[None], PathEvidence.of(values, actions))
    learner = smoothing_descent(
        ModelWithEngine(linear, StopGradient(PathNaturalGradient())), optax.sgd(1.0), expectation=Neighbours()
    )
    state, metrics = eqx.filter_jit(learner.update)(learner.init(key=key), batch, key=key)
    moved = state.learned.model.dynamics.matrix - linear.dynamics.matrix

    @eqx.filter_jit
    @eqx.filter_grad
    def gradient(model):
        return -smooth(RauchTungStriebel(), model, values, actions).log_evidence_nats / TIME

    assert jnp.abs(moved + gradient(linear).dynamics.matrix).max() < AUTODIFF
    assert metrics.failed_step == -1.0


def test_an_update_that_is_not_finite_is_refused(linear, key):
    batch = sequences(linear, key, 2)
    broken = eqx.tree_at(lambda e: e.observations, batch, batch.observations.at[0, 0, 1].set(jnp.inf))
    learner = smoothing_descent(
        ModelWithEngine(linear, Direct(RECOGNITION["direct"](jr.key(1)))), optax.adam(1e-2), expectation=WholePaths()
    )
    update = eqx.filter_jit(learner.update)
    state, metrics = update(learner.init(key=key), broken, key=key)
    again, later = update(state, batch, key=key)
    assert metrics.failed_step == 0.0 and later.failed_step == 0.0
    assert jnp.all(again.learned.model.dynamics.matrix == linear.dynamics.matrix)


def test_a_path_of_one_step(linear, key):
    value = jnp.ones((1, SIZE))
    found = ONE_STEP(linear, value, None, key=key)
    emission, tril = linear.emission_matrix, linear.initial_scale_tril
    innovation = emission @ tril @ tril.T @ emission.T + 0.25 * jnp.eye(SIZE)
    centre = emission @ linear.initial_mean + linear.emission_offset
    mean = linear.initial_mean + tril @ tril.T @ emission.T @ jnp.linalg.solve(innovation, value[0] - centre)
    assert jnp.abs(found.beliefs.loc[0] - mean).max() < ALGEBRA
    evidence = dist.MultivariateNormal(centre, innovation).log_prob(value[0])
    assert jnp.abs(found.free_energy_nats + evidence) < ALGEBRA


def test_bad_input_is_refused(linear, key):
    with pytest.raises(BadInputError, match="one action between every two"):
        PathEvidence.of(jnp.ones((3, 2)), jnp.ones((3, 1)))
    with pytest.raises(BadInputError, match="time axis"):
        PathEvidence.of(jnp.ones((0, 2)))
    with pytest.raises(BadInputError, match="rate"):
        PathNaturalGradient(0.0)


def test_a_chain_may_grow(key):
    """On the way of learning the matrix of the chain may double the state at every step."""
    form = ProductForm.networks(2, 2, depth=0, key=key)
    form = eqx.tree_at(lambda f: f.matrix, form, 2.0 * jnp.eye(2))
    values = jr.normal(key, (60, 2))
    slope = eqx.filter_jit(eqx.filter_grad(lambda f: jnp.sum(f(PathEvidence.of(values, None)).loc)))(form)
    assert all(jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(slope))
