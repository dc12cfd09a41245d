"""The most probable sparse code against scikit-learn's lasso and its certificate; dictionary learning."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.stats
import sklearn.linear_model

from homeostat.inference import learn_dictionary, map_estimate
from homeostat.models.static import SparseCoding, unit_columns
from homeostat.objectives import Evidence, FreeEnergy
from homeostat.results import BadInputError
from tolerances import ALGEBRA, AUTODIFF

OBSERVED, ATOMS, ROWS = 8, 12, 300


@pytest.fixture
def model(key):
    return SparseCoding(unit_columns(jr.normal(key, (OBSERVED, ATOMS))), -1.0, -0.5)


def draw(model, key, count):
    def one(k):
        state_key, noise_key = jr.split(k)
        return model.emission(model.initial().sample(state_key)).sample(noise_key)

    return eqx.filter_jit(jax.vmap(one))(jr.split(key, count))


def test_densities_are_scipys(model, key):
    latent, observation = jr.normal(key, (ATOMS,)), draw(model, key, 1)[0]
    prior = scipy.stats.laplace(scale=np.exp(-0.5)).logpdf(latent).sum()
    np.testing.assert_allclose(model.initial().log_prob(latent), prior, rtol=ALGEBRA)
    fit = scipy.stats.norm(model.dictionary @ latent, np.exp(-1.0)).logpdf(observation).sum()
    np.testing.assert_allclose(model.emission(latent).log_prob(observation), fit, rtol=ALGEBRA)


def test_the_estimate_is_scikit_learns_lasso(model, key):
    observations = draw(model, jr.fold_in(key, 1), 4)
    estimate = eqx.filter_jit(jax.vmap(lambda x: map_estimate(model, x, tolerance_nats=1e-13)))(observations)
    for row, latent in zip(np.asarray(observations), estimate.latent, strict=True):
        # scikit-learn divides the squared error by the number of entries.
        oracle = sklearn.linear_model.Lasso(
            float(model.penalty) / OBSERVED, fit_intercept=False, tol=1e-14, max_iter=200_000
        )
        oracle.fit(np.asarray(model.dictionary), row)
        np.testing.assert_allclose(latent, oracle.coef_, atol=AUTODIFF)
        np.testing.assert_array_equal(np.abs(latent) > AUTODIFF, np.abs(oracle.coef_) > AUTODIFF)
    assert 0 < np.sum(estimate.latent == 0.0) < estimate.latent.size


def test_the_gap_bounds_the_error_of_every_answer(model, key):
    observation = 3.0 * draw(model, key, 1)[0]
    best = map_estimate(model, observation, tolerance_nats=1e-12)
    assert 0.0 <= best.gap_nats <= 1e-12
    errors = []
    for steps in (0, 1, 3, 10, 30):
        rough = map_estimate(model, observation, max_steps=steps)
        assert rough.num_steps <= steps
        error = rough.energy_nats - best.energy_nats
        assert -ALGEBRA <= error <= rough.gap_nats + ALGEBRA
        errors.append(float(error))
    assert errors == sorted(errors, reverse=True)
    energy = FreeEnergy(model).pointwise(best.latent, Evidence(observation), key=key)
    np.testing.assert_allclose(best.energy_nats, energy, rtol=ALGEBRA)


def test_optimality_conditions_hold(model, key):
    observation = draw(model, key, 1)[0]
    latent = map_estimate(model, observation, tolerance_nats=1e-13).latent
    slope = model.dictionary.T @ (observation - model.dictionary @ latent)
    active = np.asarray(latent) != 0.0
    np.testing.assert_allclose(slope[active], model.penalty * np.sign(latent[active]), atol=AUTODIFF)
    assert np.all(np.abs(slope) <= model.penalty + AUTODIFF)


def test_a_warm_start_and_a_silent_dictionary(model, key):
    observation = draw(model, key, 1)[0]
    best = map_estimate(model, observation, tolerance_nats=1e-10)
    again = map_estimate(model, observation, best.latent, tolerance_nats=1e-10)
    assert again.num_steps == 0
    silent = eqx.tree_at(lambda m: m.dictionary, model, jnp.zeros((OBSERVED, ATOMS)))
    none = map_estimate(silent, observation)
    np.testing.assert_array_equal(none.latent, 0.0)
    assert none.gap_nats == 0.0
    with pytest.raises(BadInputError, match="number of steps"):
        map_estimate(model, observation, max_steps=-1)
    with pytest.raises(BadInputError, match="dictionary"):
        SparseCoding(jnp.zeros((3, 0)))


def test_dictionary_learning_goes_down_and_finds_the_atoms(key):
    truth_key, data_key, start_key = jr.split(key, 3)
    truth = SparseCoding(unit_columns(jr.normal(truth_key, (OBSERVED, 4))), -1.5, 0.0)
    rows = draw(truth, data_key, ROWS)
    begin = SparseCoding(jr.normal(start_key, (OBSERVED, 4)), -1.5, 0.0)
    learned = learn_dictionary(begin, rows, num_rounds=2000, tolerance_nats=1e-4)
    energy = learned.energy_nats
    assert np.all(np.diff(energy) <= 1e-4 + ALGEBRA)
    assert energy[-1] < energy[0] - 0.1
    np.testing.assert_allclose(jnp.linalg.norm(learned.model.dictionary, axis=0), 1.0, rtol=ALGEBRA)
    assert learned.latents.shape == (ROWS, 4)
    # Every true atom is found, up to its sign.
    likeness = np.max(np.abs(truth.dictionary.T @ learned.model.dictionary), axis=1)
    assert np.all(likeness > 0.95), likeness
    with pytest.raises(BadInputError, match="at least one round"):
        learn_dictionary(begin, rows, num_rounds=0)


def test_columns_of_zeros_stay():
    matrix = jnp.asarray([[3.0, 0.0], [4.0, 0.0]])
    np.testing.assert_allclose(unit_columns(matrix), [[0.6, 0.0], [0.8, 0.0]], rtol=ALGEBRA)
    np.testing.assert_allclose(SparseCoding(matrix).normalised().dictionary, unit_columns(matrix), rtol=ALGEBRA)
