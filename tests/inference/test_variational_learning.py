"""Learning by the free energy: exact where it can be, and no gradient where there should be none."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import optax
import pytest

from homeostat.core import AbstractModel
from homeostat.distributions import Cubature, DiagonalGaussian, FullGaussian
from homeostat.inference import IndexedData, ModelWithEngine, free_energy_descent, variational_em
from homeostat.inference.engines import Direct, NaturalGradient
from homeostat.models.static import Gaussian, LatentGaussian, SpatialTransformer, StandardLevel
from homeostat.results import BadInputError
from tolerances import ALGEBRA


class FactorAnalysis(AbstractModel):
    """x = w z + b + noise: its evidence is Gaussian, so learning can be checked against maximum likelihood."""

    loading: jax.Array
    offset: jax.Array
    log_sigma: jax.Array

    def initial(self):
        return dist.Normal(jnp.zeros(1), jnp.ones(1)).to_event(1)

    def emission(self, state):
        return dist.Normal(self.loading * state[0] + self.offset, jnp.exp(self.log_sigma)).to_event(1)


def log_evidence(model, data):
    covariance = jnp.outer(model.loading, model.loading) + jnp.exp(2 * model.log_sigma) * jnp.eye(3)
    return jnp.mean(eqx.filter_jit(jax.vmap(dist.MultivariateNormal(model.offset, covariance).log_prob))(data))


@pytest.fixture
def data(key):
    z_key, x_key = jr.split(key)
    truth = jnp.asarray([1.0, -0.5, 0.8])
    return jr.normal(z_key, (200, 1)) * truth[None] + 0.3 * jr.normal(x_key, (200, 3)) + jnp.asarray([[0.5, 0.0, -1.0]])


def learner_of(data, **options):
    model = FactorAnalysis(jnp.asarray([0.1, 0.1, 0.2]), jnp.zeros(3), jnp.zeros(()))
    family = FullGaussian(1)
    start = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (data.shape[0], *leaf.shape)), family.init())
    return variational_em(model, start, NaturalGradient(rate=1.0), family, optax.adam(0.05), **options)


def run(learner, batch, key, num_steps):
    state = learner.init(key=key)
    step = eqx.filter_jit(lambda state, key: learner.update(state, batch, key=key))
    for number in range(num_steps):
        state, metrics = step(state, jr.fold_in(key, number))
    return state, metrics


def test_variational_em_reaches_maximum_likelihood(data, key):
    state, metrics = run(learner_of(data), IndexedData(data, jnp.arange(200)), key, 300)
    # For one factor the best likelihood is known: the largest eigenvalue is explained, the rest is noise.
    values, vectors = np.linalg.eigh(np.cov(np.asarray(data).T, bias=True))
    noise = values[:2].mean()
    best = FactorAnalysis(
        jnp.asarray(np.sqrt(values[2] - noise) * vectors[:, 2]), data.mean(0), jnp.asarray(0.5 * np.log(noise))
    )
    assert abs(float(log_evidence(state.learned, data) - log_evidence(best, data))) < 1e-3
    # The engine is exact here, so the free energy is the evidence itself (of the model before the last step).
    np.testing.assert_allclose(metrics.free_energy_nats, -log_evidence(best, data), atol=1e-2)


def test_only_the_batch_and_the_learnable_leaves_change(data, key):
    def offsets(model):
        nothing = jax.tree.map(lambda leaf: False, model)
        return eqx.tree_at(lambda m: m.offset, nothing, True)

    learner = learner_of(data, learnable=offsets)
    state, _ = run(learner, IndexedData(data[:5], jnp.arange(5)), key, 3)
    assert jnp.all(state.carry.loc[5:] == learner.problem.first.loc[5:]) and jnp.all(state.carry.loc[:5] != 0.0)
    np.testing.assert_array_equal(state.learned.loading, learner.learned.loading)
    np.testing.assert_array_equal(state.learned.log_sigma, learner.learned.log_sigma)
    assert jnp.all(state.learned.offset != learner.learned.offset)


def test_the_projection_holds_after_every_step(data, key):
    learner = learner_of(data, project=lambda m: eqx.tree_at(lambda m: m.log_sigma, m, jnp.maximum(m.log_sigma, -0.1)))
    state, _ = run(learner, IndexedData(data, jnp.arange(200)), key, 40)
    np.testing.assert_allclose(state.learned.log_sigma, -0.1, atol=ALGEBRA)


def test_failed_inference_keeps_the_last_estimate(data, key):
    broken = data.at[0].set(jnp.nan)
    learner = learner_of(data, learnable=lambda model: jax.tree.map(lambda leaf: False, model))
    state, _ = run(learner, IndexedData(broken, jnp.arange(200)), key, 1)
    np.testing.assert_array_equal(state.carry.loc[0], learner.problem.first.loc[0])
    assert jnp.all(jnp.isfinite(state.carry.loc))


@pytest.mark.slow
def test_a_template_is_learned_from_a_wrong_one(key):
    grid = jnp.linspace(-1.0, 1.0, 12)
    truth = jax.nn.sigmoid(8.0 * (0.5 - jnp.hypot(grid[:, None] + 0.2 * grid[None, :], 1.5 * grid[None, :])))
    model = SpatialTransformer(truth, log_sigma=jnp.log(0.05), size=24, extent=6.0)
    coordinates = eqx.tree_at(
        lambda c: (c.offset, c.gain),
        model.coordinates,
        (jnp.asarray([1.0, 0.0, 12.0, 12.0]), jnp.asarray([0.1, 0.3, 1.0, 1.0])),
    )
    model = eqx.tree_at(lambda m: m.coordinates, model, coordinates)
    z = jr.normal(key, (24, 4))
    images = eqx.filter_jit(eqx.filter_vmap(model.image))(z) + 0.05 * jr.normal(jr.key(1), (24, 24, 24))
    family = FullGaussian(4)
    start = eqx.filter_jit(jax.vmap(lambda m: family.from_scale_tril(m, 0.05 * jnp.eye(4))))(z)
    wrong = eqx.tree_at(lambda m: m.template, model, 0.2 + 0.5 * truth.T)
    learner = variational_em(
        wrong, start, NaturalGradient(rate=0.5), family, optax.adam(0.05),
        learnable=lambda m: eqx.tree_at(lambda m: m.template, jax.tree.map(lambda leaf: False, m), True),
    )  # fmt: skip
    state, _ = run(learner, IndexedData(images, jnp.arange(24)), key, 40)
    correlation = jnp.corrcoef(jnp.stack([state.learned.template.ravel(), truth.ravel()]))[0, 1]
    before = jnp.corrcoef(jnp.stack([wrong.template.ravel(), truth.ravel()]))[0, 1]
    assert before < 0.9 and correlation > 0.95


class Linear(eqx.Module):
    matrix: jax.Array

    def __call__(self, z):
        return self.matrix @ z


class LinearEncoder(eqx.Module):
    matrix: jax.Array
    log_scale: jax.Array

    def __call__(self, args):
        return jnp.concatenate([self.matrix @ args.observation, self.log_scale])


def test_free_energy_descent_trains_model_and_encoder_together(data, key):
    centred = data - data.mean(0, keepdims=True)
    learned = ModelWithEngine(
        LatentGaussian((StandardLevel(1),), Linear(jnp.full((3, 1), 0.1)), Gaussian((3,))),
        Direct(LinearEncoder(jnp.full((1, 3), 0.1), jnp.zeros(1))),
    )
    learner = free_energy_descent(learned, DiagonalGaussian(1), optax.adam(0.03), Cubature())
    state, metrics = run(learner, centred, key, 600)
    values = np.linalg.eigvalsh(np.cov(np.asarray(centred).T, bias=True))
    noise = values[:2].mean()
    best = 0.5 * (3 * np.log(2 * np.pi) + np.log(values[2]) + 2 * np.log(noise) + 3)
    # A linear encoder with one variance is exact for this model, so the bound meets the evidence.
    np.testing.assert_allclose(metrics.free_energy_nats, best, atol=0.02)
    np.testing.assert_allclose(jnp.exp(2 * state.learned.model.density.log_scale), noise, rtol=0.05)


def test_bad_settings_are_refused(data):
    with pytest.raises(BadInputError, match="at least one step"):
        learner_of(data, num_model_steps=0)
