"""Inference as optimisation: optima that are known, races whose winner is known, and gradients that must not flow."""

from dataclasses import replace
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

from homeostat.distributions import Cubature, DiagonalGaussian, MonteCarlo
from homeostat.experiments.ch3 import _optimizers_report as passage, _racing as racing
from homeostat.experiments.ch3._data import SplitData, binarize, centred, dequantize
from homeostat.experiments.ch3._methods import InferenceMethod, update_seconds
from homeostat.experiments.ch3._networks import Networks, NetworkSizes, data_encoding
from homeostat.experiments.ch3._semi import refining_methods
from homeostat.experiments.ch3._surface import Grid, best_points, bound_on_grid, climb
from homeostat.experiments.kit import Training
from homeostat.inference import Weigh
from homeostat.inference.engines import (
    Chain,
    Direct,
    Estimate,
    Gradient,
    InferenceGradient,
    Iterative,
    LogGradient,
    WeightedErrors,
)
from homeostat.models.static import Bernoulli, Gaussian, LatentGaussian, StandardLevel
from homeostat.nn import Dense
from homeostat.objectives import Evidence, FreeEnergy
from tolerances import ALGEBRA, AUTODIFF, FLOAT32, MONTE_CARLO_STANDARD_ERRORS

SIZES = NetworkSizes((2,), 0, 5, 1, 5, 1)


@pytest.fixture(scope="module")
def data():
    grey = np.random.default_rng(0).integers(0, 256, (24, 6)).astype(np.uint8)
    return SplitData(grey, grey[:8], grey[8:16], (2, 3), Bernoulli((6,)), binarize, centred)


@pytest.fixture(scope="module")
def linear():
    """z ~ N(0, I), x ~ N(W z + b, s^2): the mode is known in closed form."""
    decoder = Dense(2, 4, key=jr.key(1))
    decoder = eqx.tree_at(lambda d: d.bias, decoder, jnp.arange(4.0))
    return LatentGaussian([StandardLevel(2)], decoder, Gaussian((4,), -1.0, minimum_scale=0.0))


def mode(model, rows):
    weight, bias, precision = model.decoder.weight, model.decoder.bias, jnp.exp(2.0)
    curvature = jnp.eye(2) + precision * weight.T @ weight
    return jnp.linalg.solve(curvature, precision * weight.T @ (rows - bias[None, :]).T).T


# --------------------------------------------------------------------------------------------------------- the optimum


def test_the_optimum_of_a_linear_model_is_its_posterior_mean(linear):
    rows = jr.normal(jr.key(2), (3, 4)) + jnp.arange(4.0)[None, :]
    grid = Grid(4.0, 9)
    expected = mode(linear, rows)
    found, height = best_points(linear, rows, jnp.zeros((3, 1, 2)), grid, num_steps=4)
    np.testing.assert_allclose(found, expected, rtol=AUTODIFF, atol=AUTODIFF)
    joint = eqx.filter_jit(jax.vmap(lambda z, x: linear.initial().log_prob(z) + linear.emission(z).log_prob(x)))(
        expected, rows
    )
    np.testing.assert_allclose(height, joint, rtol=ALGEBRA)
    # One Newton step from anywhere lands there, because the surface is quadratic.
    one_step, _ = climb(linear, rows, jnp.full((3, 1, 2), -3.0), num_steps=1)
    np.testing.assert_allclose(one_step, expected, rtol=AUTODIFF, atol=AUTODIFF)
    surface = bound_on_grid(linear, rows, grid)
    at = jnp.asarray(grid.points[13])
    joint = eqx.filter_jit(jax.vmap(lambda x: linear.initial().log_prob(at) + linear.emission(at).log_prob(x)))(rows)
    np.testing.assert_allclose(surface[:, 13], joint, rtol=ALGEBRA)
    assert grid.points[1, 0] > grid.points[0, 0]
    assert grid.points[1, 1] == grid.points[0, 1]


# ----------------------------------------------------------------------------------------------------------- the races


def test_first_passages_and_their_ratio():
    rising = np.array([-8.0, -4.0, -2.0, -1.0, -1.0])
    assert passage.first_passage(rising, -2.0) == 2.0
    assert passage.first_passage(rising, 0.0) == float("inf")
    slow = np.tile(np.linspace(-10.0, 0.0, 41), (3, 1))
    assert passage.final_level(slow) == pytest.approx(np.linspace(-10.0, 0.0, 41)[-4:].mean())
    quick = np.tile(np.concatenate([[-10.0, -5.0], np.zeros(39)]), (3, 1))
    # The last tenth of the slow curve has the mean of its 38th and 39th place, so the 39th is the first above it.
    value, error = passage.iterations_ratio(quick, slow, seed=0, num_resamples=4)
    assert (value, error) == (39.0 / 2.0, 0.0)
    assert passage.iterations_ratio(slow - 20.0, slow, seed=0, num_resamples=4)[0] == 0.0


def test_a_race_takes_the_step_size_that_ends_highest(linear, key):
    rows = jr.normal(key, (4, 4)) + jnp.arange(4.0)[None, :]
    contender = racing.TunedOptimizer("descent", lambda rate: Gradient(optax.sgd(rate)), (0.0, 0.02, 1e6))
    found = racing.race(linear, contender, rows, rows, key=key, num_steps=60, expectation=Cubature(), num_samples=256)
    assert float(found.setting) == 0.02
    assert found.bounds.shape == (4, 61)
    assert float(found.seconds) > 0.0
    family = DiagonalGaussian(2)
    start = -eqx.filter_jit(
        jax.vmap(lambda x: FreeEnergy(linear, Cubature())(family(family.init()), Evidence(x), key=key))
    )(rows)
    # Exact at the start by cubature; measured with samples.
    np.testing.assert_allclose(found.bounds[:, 0].mean(), start.mean(), rtol=0.2)
    assert jnp.all(found.bounds[:, -1] > found.bounds[:, 0])
    path = racing.path_of(linear, Cubature(), (contender.engine, jnp.asarray(0.02)), rows, key, 400)
    np.testing.assert_allclose(path.loc[:, -1], mode(linear, rows), atol=FLOAT32)
    ends = jax.tree.map(lambda leaf: leaf[:, ::400], path)
    norms = racing.along(racing.mean_gradient_norm, linear, ends, rows, key, 64)
    assert jnp.all(norms[:, 1] < norms[:, 0])


# ------------------------------------------------------------------------------------------------------- semi-amortized


def first_of(engine):
    assert isinstance(engine, Chain)
    return engine.engines[0]


def direct_method(data, expectation):
    networks = Networks(data, SIZES)
    return InferenceMethod("direct", networks, networks.direct, 1, expectation)


def gradients(method, batch, key):
    learned = eqx.filter_jit(method.build)(key=key)
    learner = replace(method.method(Training(10, 4, 1e-3)).learner(learned), prepare=None)
    weigh = Weigh(learner.weighting, None)
    found = eqx.filter_jit(learner.problem.slope)(learner.learned, None, batch, weigh, key=key)
    return learner.learned, found.gradient


def test_krishnan_teaches_the_encoder_by_its_own_estimate_and_the_model_by_the_refined_one(data, key):
    batch = data.prepared(data.train, 4, key=key)
    refining = {method.name: method for method in refining_methods(Networks(data, SIZES), Cubature(), 3, (0.05, 0.05))}
    direct, krishnan, kim = (direct_method(data, Cubature()), *(refining[n] for n in refining if "semi" in n))
    learned, by_direct = gradients(direct, batch, key)
    semi, by_krishnan = gradients(krishnan, batch, key)
    # All start from the same weights.
    assert eqx.tree_equal(learned.model, semi.model)
    assert eqx.tree_equal(learned.engine, first_of(semi.engine))
    encoder = first_of(by_krishnan.engine)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=AUTODIFF, atol=AUTODIFF), encoder, by_direct.engine)
    # The model's gradient is that at the refined estimates, held fixed.
    path = racing.path_of(semi.model, Cubature(), semi.engine, batch, key, krishnan.num_steps)
    ends = jax.tree.map(lambda leaf: leaf[:, -1], path)
    family = DiagonalGaussian(2)

    def mean_energy(model):
        def one(params, x):
            return FreeEnergy(model, Cubature())(family(params), Evidence(x), key=key)

        return jnp.mean(jax.vmap(one)(ends, batch))

    expected = eqx.filter_jit(eqx.filter_grad(mean_energy))(semi.model)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=AUTODIFF, atol=AUTODIFF), by_krishnan.model, expected
    )
    # Through the refinement, the encoder gets another gradient.
    _, by_kim = gradients(kim, batch, key)
    other = jax.tree.leaves(first_of(by_kim.engine))[0]
    assert jnp.all(jnp.isfinite(other))
    assert float(jnp.max(jnp.abs(other - jax.tree.leaves(encoder)[0]))) > AUTODIFF


def test_updates_are_timed(data, key):
    found = update_seconds((direct_method(data, MonteCarlo(1)),), Training(10, 4, 1e-3), key=key, updates=2, repeats=2)
    assert found.shape == (1,)
    assert found[0] > 0.0


# ------------------------------------------------------------------------------------------------- data and networks


def test_pixels_are_binarized_with_their_own_probability(key):
    grey = jnp.tile(jnp.asarray([[0, 51, 204, 255]], jnp.uint8), (4_000, 1))
    mean = np.asarray(jnp.mean(binarize(grey, key=key), axis=0))
    expected = np.array([0.0, 0.2, 0.8, 1.0])
    error = np.sqrt(expected * (1.0 - expected) / 4_000)
    # White may turn black once in 65,536 pixels.
    assert np.all(np.abs(mean - expected) <= MONTE_CARLO_STANDARD_ERRORS * error + 1e-3)
    noisy = dequantize(grey, key=key)
    np.testing.assert_array_equal(jnp.floor(256.0 * noisy), grey)


def test_networks_fit_their_inputs_and_start_from_equal_models(data, key):
    """K parameters, 2 K for magnitude and sign, as many errors as data and latents."""
    encodings = (Estimate(), LogGradient(), InferenceGradient(), WeightedErrors(), data_encoding(data))
    networks = Networks(data, SIZES)
    assert networks.encoding_size(encodings, 4) == 4 + 8 + 4 + (6 + 2) + 6
    engines = (networks.direct, partial(networks.iterative, encodings))
    direct, iterative = (InferenceMethod("", networks, engine).build(key=key) for engine in engines)
    assert eqx.tree_equal(direct.model, iterative.model)
    assert isinstance(direct.engine, Direct)
    assert isinstance(iterative.engine, Iterative)
    # The gated update takes a proposal and a gate for every parameter.
    outputs = iterative.engine.network(jnp.zeros(30))
    assert outputs.shape == (8,)
