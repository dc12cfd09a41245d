"""Predictive coding: local errors add up to the gradient of the whole energy, in the latents and in the weights."""

from functools import partial
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import optax
import pytest

import catalogue
import references
from homeostat.core import AbstractModel
from homeostat.distributions import Delta, DiagonalGaussian
from homeostat.inference import ModelWithEngine, free_energy_descent, infer, local_gradients, predictive_coding_descent
from homeostat.inference.engines import Chain, ConstantGain, Direct, Gradient, PredictiveCoding
from homeostat.models.static import (
    Bernoulli,
    CategoricalOutput,
    ConditionalGaussian,
    DiscretizedGaussian,
    FactorAnalysis,
    Gaussian,
    LearnedLevel,
    NoSkip,
    ProbabilisticPCA,
    Skip,
    SparseCoding,
    latent_gaussian,
)
from homeostat.nn import MLP
from homeostat.objectives import Beta, Evidence, FreeEnergy, ImportanceWeighted, Unweighted, Weighted
from homeostat.results import BadInputError
from homeostat.testing import check_engine, check_learner
from tolerances import ALGEBRA, AUTODIFF

SIZE, DIMS = 4, (3, 2, 2)
NETWORK = partial(MLP, width=4, depth=1, activation=jax.nn.tanh)


def deep(likelihood, wiring=NoSkip(), dims=DIMS, units=0):
    return latent_gaussian(
        likelihood, dims, key=jr.key(3), mapping=NETWORK, units=units, wiring=wiring, top=LearnedLevel
    )


def factors():
    # Standard deviations well away from one, where sigma and sigma squared differ.
    return FactorAnalysis(
        jr.normal(jr.key(4), (SIZE, 2)), jr.normal(jr.key(5), (SIZE,)), jnp.log(jnp.array([0.3, 0.5, 0.8, 2.0]))
    )


MODELS = {
    "Gaussian, three levels": lambda: deep(Gaussian((SIZE,), -0.7)),
    "Bernoulli, units and skips": lambda: deep(Bernoulli((SIZE,)), Skip(), units=2),
    "conditional Gaussian, units": lambda: deep(ConditionalGaussian((SIZE,)), units=2),
    "discretised Gaussian": lambda: deep(DiscretizedGaussian((SIZE,))),
    "constant conditional scales": lambda: latent_gaussian(
        Gaussian((SIZE,)), (2, 2), key=jr.key(6), mapping=NETWORK, conditional_scale=jnp.zeros
    ),
    "factor analysis": factors,
    "correlated prior": lambda: catalogue.linear_model(2, SIZE),
}


class Encoder(eqx.Module):
    """A network that reads the observation."""

    network: MLP

    def __call__(self, evidence):
        return self.network(evidence.observation)


@final
class LinearOutput(AbstractModel):
    """x ~ N(z, L L^T)."""

    scale_tril: jax.Array

    def initial(self):
        return dist.Normal(jnp.zeros(2), 1.0).to_event(1)

    def emission(self, state):
        return dist.MultivariateNormal(state, scale_tril=self.scale_tril)


def dim(model):
    return model.initial().event_shape[0]


def observations(count=3):
    # Zeros and ones lie in the support of every output density here.
    return jr.bernoulli(jr.key(7), 0.5, (count, SIZE)).astype(float)


def run(engine, model, x, key, num_steps=1, **options):
    objective = options.pop("objective", FreeEnergy(model))
    run_ = eqx.filter_jit(partial(infer, num_steps=num_steps, **options))
    return run_(objective, engine, Delta(dim(model)), Evidence(x), key=key)


# ------------------------------------------------------------------------------------------------------------ inference


@pytest.mark.parametrize("name", MODELS)
def test_equals_the_gradient_of_the_whole_energy_step_by_step(name, key):
    model, x = MODELS[name](), observations()[0]
    # An optimiser with a memory sees the same slopes; one model is enough for it.
    optimizer = optax.adam(0.1) if name == "factor analysis" else optax.sgd(0.05)
    start = Delta(dim(model)).init()._replace(loc=jr.normal(key, (dim(model),)))
    options = {"key": key, "num_steps": 4, "record": True, "params": start}
    local, whole = (run(kind(optimizer), model, x, **options) for kind in (PredictiveCoding, Gradient))
    np.testing.assert_allclose(local.path.loc, whole.path.loc, rtol=ALGEBRA, atol=ALGEBRA)
    np.testing.assert_allclose(local.params.loc, whole.params.loc, rtol=ALGEBRA, atol=ALGEBRA)
    np.testing.assert_allclose(local.path_nats, whole.path_nats, rtol=ALGEBRA)
    np.testing.assert_allclose(local.energy_nats, whole.energy_nats, rtol=ALGEBRA)


def test_missing_entries_have_no_error(key):
    evidence = Evidence(observations()[0], observed=jnp.array([True, False, True, False]))
    step = eqx.filter_jit(partial(infer, num_steps=2))
    local, whole = (
        step(FreeEnergy(factors()), kind(optax.sgd(0.05)), Delta(2), evidence, key=key)
        for kind in (PredictiveCoding, Gradient)
    )
    np.testing.assert_allclose(local.params.loc, whole.params.loc, rtol=ALGEBRA, atol=ALGEBRA)
    np.testing.assert_allclose(local.path_nats, whole.path_nats, rtol=ALGEBRA)
    correlated = LinearOutput(jnp.eye(2))
    with pytest.raises(BadInputError, match="independent outputs where entries are missing"):
        infer(
            FreeEnergy(correlated),
            PredictiveCoding(optax.sgd(0.05)),
            Delta(2),
            Evidence(jnp.zeros(2), observed=jnp.array([True, False])),
            key=key,
        )


def test_reaches_the_exact_posterior_mean_of_a_linear_model(key):
    model, evidence = catalogue.linear_model(), catalogue.evidence()
    found = run(PredictiveCoding(optax.sgd(0.05)), model, evidence.observation, key, 2000).params.loc
    exact = references.conjugate(model, evidence.observation).mean
    np.testing.assert_allclose(found, exact, rtol=ALGEBRA, atol=ALGEBRA)

    x = observations()[0]
    found = run(PredictiveCoding(optax.sgd(0.03)), factors(), x, key, 2000).params.loc
    np.testing.assert_allclose(found, factors().posterior(x).loc, rtol=ALGEBRA, atol=ALGEBRA)


def test_reaches_the_mode_of_a_nonlinear_hierarchy(key):
    model, x = deep(Gaussian((SIZE,)), dims=(2, 2)), observations()[0]
    settled = run(PredictiveCoding(optax.sgd(0.1)), model, x, key, 3000)
    searched = run(Gradient(optax.adam(optax.cosine_decay_schedule(0.05, 2000))), model, x, key, 2000)
    np.testing.assert_allclose(settled.params.loc, searched.params.loc, rtol=AUTODIFF, atol=AUTODIFF)
    assert settled.energy_nats < settled.path_nats[0] - 0.1
    slope = eqx.filter_jit(jax.grad(lambda z: FreeEnergy(model).pointwise(z, Evidence(x), key=key)))(settled.params.loc)
    np.testing.assert_allclose(slope, 0.0, atol=ALGEBRA)


def test_step_is_the_thesis_equation_with_variances(key):
    # One level, p(x | z) = N(W z + b, sigma^2), p(z) = N(0, 1): by hand, with sigma^2 where Eq. 8.5 prints sigma.
    model, x, rate = factors(), np.asarray(observations()[0]), 0.01
    weights, offset, sigma = (np.asarray(part) for part in (model.loadings, model.offset, model.noise_scale))
    start = np.array([0.7, -0.4])
    xi_x, xi_z = (x - weights @ start - offset) / sigma**2, start
    params = Delta(2).init()._replace(loc=jnp.asarray(start))
    engine = PredictiveCoding(optax.sgd(rate))
    errors = engine.errors(FreeEnergy(model), Delta(2), params, Evidence(jnp.asarray(x)))
    np.testing.assert_allclose(errors.observation, xi_x, rtol=ALGEBRA)
    np.testing.assert_allclose(errors.latent[0], xi_z, rtol=ALGEBRA)
    moved = run(engine, model, jnp.asarray(x), key, params=params).params.loc
    np.testing.assert_allclose(moved, start + rate * (weights.T @ xi_x - xi_z), rtol=ALGEBRA)


def test_only_neighbours_matter():
    # With z held, another observation changes neither what the upper levels are told nor what they learn.
    model, z = deep(Gaussian((SIZE,))), jr.normal(jr.key(8), (1, sum(DIMS)))
    first, second = (local_gradients(model, x[None], z) for x in observations()[:2])
    np.testing.assert_array_equal(first.latents[:, DIMS[0] :], second.latents[:, DIMS[0] :])
    assert np.all(first.latents[:, : DIMS[0]] != second.latents[:, : DIMS[0]])
    assert eqx.tree_equal(first.weights.levels, second.weights.levels)
    assert not eqx.tree_equal(first.weights.decoder, second.weights.decoder)


def test_a_gain_acts_as_a_precision(key):
    model, x, gain = factors(), observations()[0], jnp.array([4.0, 0.0, 1.0, 2.0])
    engine = PredictiveCoding(optax.sgd(0.01), ConstantGain(gain, (0.5,)))
    found = run(engine, model, x, key, 4000)
    precision = 0.5 * np.eye(2) + model.loadings.T @ np.diag(gain / model.noise_scale**2) @ model.loadings
    shift = model.loadings.T @ (gain / model.noise_scale**2 * (x - model.offset))
    np.testing.assert_allclose(found.params.loc, np.linalg.solve(precision, shift), rtol=ALGEBRA, atol=ALGEBRA)
    # The energy stays the model's own.
    np.testing.assert_allclose(
        found.energy_nats, FreeEnergy(model).pointwise(found.params.loc, Evidence(x), key=key), rtol=ALGEBRA
    )


def test_a_feedforward_pass_gives_the_start(key):
    model, x = factors(), observations()[0]
    exact = model.posterior(x).loc
    encoder = Direct(lambda evidence: model.posterior(evidence.observation).loc + 0.01)
    engine = Chain((encoder, PredictiveCoding(optax.sgd(0.01))), (1,))
    amortised = run(engine, model, x, key, 4, record=True)
    np.testing.assert_allclose(amortised.path.loc[1], exact + 0.01, rtol=ALGEBRA)
    cold = run(PredictiveCoding(optax.sgd(0.01)), model, x, key, 4)
    far, near = (np.linalg.norm(found.params.loc - exact) for found in (cold, amortised))
    assert near < np.linalg.norm(amortised.path.loc[1] - exact) < far


def test_other_priors_and_unweighted_objectives(key):
    model, x = factors(), observations()[0]
    prior = dist.MultivariateNormal(jnp.array([1.0, -1.0]), scale_tril=jnp.array([[0.5, 0.0], [0.2, 0.7]]))
    evidence, family = Evidence(x, prior), Delta(2)
    objective = Weighted(FreeEnergy(model), Unweighted())
    local, whole = (
        infer(objective, kind(optax.sgd(0.02)), family, evidence, key=key, num_steps=3)
        for kind in (PredictiveCoding, Gradient)
    )
    np.testing.assert_allclose(local.params.loc, whole.params.loc, rtol=ALGEBRA)
    np.testing.assert_allclose(local.path_nats, whole.path_nats, rtol=ALGEBRA)


@pytest.mark.slow
def test_obeys_the_laws_of_engines(key):
    model = deep(Bernoulli((SIZE,)), Skip(), units=1)
    check_engine(
        PredictiveCoding(optax.sgd(0.05)), FreeEnergy(model), Delta(sum(DIMS)), Evidence(observations()[0]), key=key
    )


# ------------------------------------------------------------------------------------------------------------- learning


@pytest.mark.parametrize(
    "name", [*list(MODELS)[:2], *(pytest.param(n, marks=pytest.mark.slow) for n in list(MODELS)[2:])]
)
def test_local_slopes_are_those_of_the_whole_energy(name, key):
    model, x = MODELS[name](), observations()
    z = jr.normal(key, (len(x), dim(model)))

    def mean_energy(model, z):
        return jnp.mean(jax.vmap(lambda x, z: FreeEnergy(model).pointwise(z, Evidence(x), key=key))(x, z))

    found = local_gradients(model, x, z)
    whole = eqx.filter_jit(eqx.filter_grad(mean_energy))(model, z)
    for local, expected in zip(*map(jax.tree.leaves, (found.weights, whole)), strict=True):
        np.testing.assert_allclose(local, expected, rtol=ALGEBRA, atol=ALGEBRA)
    np.testing.assert_allclose(
        found.latents / len(x), eqx.filter_jit(jax.grad(mean_energy, argnums=1))(model, z), rtol=ALGEBRA, atol=ALGEBRA
    )
    np.testing.assert_allclose(found.distortion_nats + found.rate_nats, mean_energy(model, z), rtol=ALGEBRA)


def test_weight_slopes_are_the_formula():
    model, x, z = factors(), observations(), jr.normal(jr.key(9), (3, 2))
    sigma = np.asarray(model.noise_scale)
    xi = (np.asarray(x) - np.asarray(z) @ np.asarray(model.loadings).T - np.asarray(model.offset)) / sigma**2
    found = local_gradients(model, x, z).weights
    np.testing.assert_allclose(found.loadings, -np.einsum("ni,nj->ij", xi, z) / 3, rtol=ALGEBRA)
    np.testing.assert_allclose(found.offset, -xi.mean(axis=0), rtol=ALGEBRA)
    np.testing.assert_allclose(found.log_scale, -(sigma**2 * xi**2 - 1.0).mean(axis=0), rtol=ALGEBRA)


def test_a_learned_precision_is_that_of_the_residuals(key):
    generator = np.random.default_rng(0)
    loadings = jnp.asarray(generator.normal(size=(8, 2)))
    x = jnp.asarray(generator.normal(size=(64, 2))) @ loadings.T + 0.4 * jnp.asarray(generator.normal(size=(64, 8)))
    model = ProbabilisticPCA(loadings, jnp.zeros(8), jnp.zeros(()))
    fixed = jax.tree.map(lambda _: False, model)
    learner = predictive_coding_descent(
        model,
        optax.sgd(0.02),
        # The mode's curvature is at most 1 + |W|^2 / sigma^2.
        PredictiveCoding(optax.sgd(0.005)),
        num_steps=40,
        learnable=lambda _: eqx.tree_at(lambda m: m.log_sigma, fixed, True),
    )

    def body(state, step_key):
        return learner.update(state, x, key=step_key)

    state, metrics = jax.lax.scan(body, learner.init(key=key), jr.split(key, 200))
    settled = learner.problem.settle(state.learned, x, key=key)
    residual = np.mean((np.asarray(x) - np.asarray(settled) @ np.asarray(loadings).T) ** 2)
    np.testing.assert_allclose(np.exp(2.0 * state.learned.log_sigma), residual, rtol=AUTODIFF)
    assert 0.05 < residual < 0.3
    assert metrics.energy_nats[-1] < metrics.energy_nats[0]
    np.testing.assert_array_equal(state.learned.loadings, loadings)


@pytest.mark.slow
def test_learning_lowers_the_energy_of_a_hierarchy_and_keeps_the_laws(key):
    learner = predictive_coding_descent(deep(Bernoulli((SIZE,)), units=1), optax.adam(0.02), num_steps=10)
    check_learner(learner, observations(), key=key)
    # Networks carry functions beside their arrays, which a scan does not.
    update, state, energies = eqx.filter_jit(learner.update), learner.init(key=key), []
    for step_key in jr.split(key, 60):
        state, metrics = update(state, observations(), key=step_key)
        energies.append(float(metrics.energy_nats))
    assert energies[-1] < energies[0] - 0.5
    assert int(metrics.failed_step) == -1
    assert np.isfinite(metrics.unrest_nats)
    assert int(state.step) == 60


def test_what_is_not_finite_stops_learning_and_keeps_the_model(key):
    learner = predictive_coding_descent(factors(), optax.sgd(0.01), num_steps=2)
    state, _ = learner.update(learner.init(key=key), observations(), key=key)
    bad, metrics = learner.update(state, observations().at[0, 0].set(jnp.nan), key=key)
    assert int(metrics.failed_step) == 1
    assert bool(bad.failure.distortion)
    assert eqx.tree_equal(bad.learned, state.learned)
    after, metrics = learner.update(bad, observations(), key=key)
    assert int(metrics.failed_step) == 1
    assert eqx.tree_equal(after.learned, state.learned)


def test_an_encoder_can_be_trained_beside_it(key):
    # The learner of other engines differentiates through the steps as they run.
    encoder = Direct(Encoder(MLP(SIZE, 2, 4, 1, key=key)))
    engine = Chain((encoder, PredictiveCoding(optax.sgd(0.01))), (1,))
    learner = free_energy_descent(ModelWithEngine(factors(), engine), Delta(2), optax.adam(1e-2), num_steps=2)
    update = eqx.filter_jit(learner.update)
    state, first = update(learner.init(key=key), observations(), key=key)
    assert not eqx.tree_equal(state.learned.engine, engine)
    for _ in range(20):
        state, metrics = update(state, observations(), key=key)
    assert metrics.free_energy_nats < first.free_energy_nats


# -------------------------------------------------------------------------------------------------------------- refusals


def test_refuses_what_it_cannot_do(key):
    engine, x, model = PredictiveCoding(optax.sgd(0.1)), observations()[0], factors()
    with pytest.raises(BadInputError, match="Expected a point-mass family"):
        infer(FreeEnergy(model), engine, DiagonalGaussian(2), Evidence(x), key=key)
    for objective in (ImportanceWeighted(model), Weighted(FreeEnergy(model), Beta(2.0))):
        with pytest.raises(BadInputError, match="Expected a `FreeEnergy`"):
            run(engine, model, x, key, objective=objective)
    with pytest.raises(BadInputError, match="Expected Gaussian latents"):
        run(engine, SparseCoding(jnp.ones((SIZE, 2))), x, key)
    with pytest.raises(BadInputError, match="a hierarchy of levels"):
        infer(FreeEnergy(model), engine, Delta(7), Evidence(x, deep(Gaussian((SIZE,))).initial()), key=key)
    with pytest.raises(BadInputError, match="Bernoulli output"):
        run(engine, deep(CategoricalOutput((SIZE,), 3)), x, key)
    with pytest.raises(BadInputError, match="Expected a value of shape"):
        run(engine, model, observations(), key)
    with pytest.raises(BadInputError, match="a gain for each level"):
        run(PredictiveCoding(optax.sgd(0.1), ConstantGain()), deep(Gaussian((SIZE,))), x, key)
    with pytest.raises(BadInputError, match="Expected one gain"):
        run(PredictiveCoding(optax.sgd(0.1), ConstantGain(jnp.ones(3))), model, x, key)
    with pytest.raises(BadInputError, match="at least one step"):
        predictive_coding_descent(model, optax.sgd(0.1), num_steps=0)
