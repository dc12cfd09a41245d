"""Names become objects: every engine traces on every kind of data, likelihoods are chosen, contradictions are refused."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from homeostat.data import ArrayRows
from homeostat.distributions import Delta, FullGaussian, Ladder
from homeostat.flows import ConditionalFlow, NormalizingFlow
from homeostat.inference import infer
from homeostat.inference.engines import Iterative, LevelwiseIterative
from homeostat.models.static import (
    Bernoulli,
    CategoricalOutput,
    ConditionalGaussian,
    DiscretizedGaussian,
    FactorAnalysis,
    Gaussian,
    LatentGaussian,
    Multinomial,
    NegativeBinomialCounts,
    PoissonCounts,
    SparseCoding,
)
from homeostat.objectives import Annealing, Beta, DistortionConstraint, Evidence, FreeBits, RateConstraint
from homeostat.results import BadInputError
from homeostat.workflow import RowsOptions, RowsTask, Selected
from homeostat.workflow.rows._describe import describe_rows
from tolerances import ALGEBRA

ROWS, SIZE = 24, 6
RANDOM = np.random.default_rng(1)
BINARY = (RANDOM.random((ROWS, SIZE)) < 0.4).astype(np.float32)
REAL = 5.0 + 3.0 * RANDOM.normal(size=(ROWS, SIZE))
COUNTS = RANDOM.integers(1, 4, (ROWS, SIZE))
GREY = RANDOM.integers(0, 256, (ROWS, 4, 4)).astype(np.uint8)
CATEGORIES = RANDOM.integers(0, 3, (ROWS, SIZE))

TINY = RowsOptions(latents="2", width=4, depth=1, iterations=2)


def observed(array, config=TINY):
    rows = ArrayRows(array)
    return describe_rows(rows, rows, config)


ENGINES = [
    ("direct", BINARY, {}),
    ("iterative", BINARY, {"mapping": "highway", "encoding": "log-gradients+errors+plain-errors+data"}),
    ("iterative", COUNTS, {"update": "learned-sgd"}),
    ("iterative", CATEGORIES, {"likelihood": "categorical", "update": "residual", "free_bits": 0.5}),
    ("iterative", REAL, {"scale": "conditional", "prior": "learned"}),
    ("iterative", REAL, {"model": "sparse-coding", "latents": "8"}),
    ("direct", REAL, {"model": "factor-analysis"}),
    ("direct", GREY, {"mapping": "convolutional"}),
    ("levelwise", GREY, {"latents": "3,2", "units": 2, "wiring": "skip", "scale": "conditional"}),
    ("ladder", BINARY, {"latents": "3,2", "level_scale": "constant", "free_bits": 0.1}),
    ("semi-amortized", BINARY, {"beta": 0.5}),
    ("gradient", REAL, {"anneal": 10}),
    ("natural-gradient", BINARY, {"latents": "3,2"}),
    ("predictive-coding", REAL, {"latents": "3,2"}),
    ("exact", REAL, {"model": "probabilistic-pca"}),
    ("direct", BINARY, {"posterior": "full", "latents": "3,2", "free_bits": 0.5}),
    ("natural-gradient", REAL, {"posterior": "full"}),
    ("iterative", REAL, {"posterior": "flow", "latents": "3", "encoding": "log-gradients+errors+data"}),
    ("semi-amortized", BINARY, {"posterior": "flow"}),
    ("gradient", BINARY, {"posterior": "flow"}),
]


@pytest.mark.parametrize(
    ("engine", "array", "options"), ENGINES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_engine_trains_and_reports(engine, array, options):
    """Shapes only, so that nothing is compiled."""
    config = replace(TINY, engine=engine, **options)
    observations = observed(array, config)
    system = RowsTask(config).build(observations, key=None)
    prepared = observations.prepare(array)
    batch = jnp.asarray(prepared, jnp.result_type(float) if prepared.dtype == np.float32 else None)

    def train(key):
        built = RowsTask(config).build(observations, key=key)
        learner = built.learner()
        state = learner.init(key=key)
        new, metrics = learner.update(state, batch, key=key)
        return state, new, metrics

    before, after, metrics = eqx.filter_eval_shape(train, jr.key(0))
    assert jax.tree.map(jnp.shape, eqx.filter(before, eqx.is_array_like)) == jax.tree.map(
        jnp.shape, eqx.filter(after, eqx.is_array_like)
    )
    assert metrics.free_energy_nats.shape == ()

    def explain(learned):
        setup = system.setup(Selected(learned, system.weighting.init()))
        found = infer(
            setup.objective,
            setup.engine,
            setup.family,
            Evidence(batch[0]),
            key=jr.key(0),
            num_steps=setup.num_steps,
            throw=False,
        )
        return found.distribution.sample(jr.key(1))

    assert eqx.filter_eval_shape(explain, system.learned).shape == (sum(system.dims),)


def test_names_make_the_objects_they_say():
    def built(array, **options):
        config = replace(TINY, **options)
        return RowsTask(config).build(observed(array, config), key=None)

    levels = built(BINARY, engine="levelwise", latents="3,2")
    assert isinstance(levels.learned.engine, LevelwiseIterative)
    assert isinstance(levels.learned.model, LatentGaussian)
    assert levels.dims == levels.learned.model.dims == (3, 2)
    assert isinstance(built(BINARY).learned.engine, Iterative)
    assert isinstance(built(BINARY, engine="ladder", latents="3,2").inference.family, Ladder)
    assert isinstance(built(REAL, engine="predictive-coding").inference.family, Delta)
    assert isinstance(built(REAL, posterior="full").inference.family, FullGaussian)
    assert isinstance(built(REAL, posterior="flow").learned.family, ConditionalFlow)
    assert isinstance(built(REAL, engine="gradient", posterior="flow").inference.family, NormalizingFlow)
    exact = built(REAL, model="factor-analysis", engine="exact")
    assert isinstance(exact.learned.model, FactorAnalysis)
    assert isinstance(exact.inference.family, FullGaussian)
    assert isinstance(built(REAL, model="sparse-coding").learned.model, SparseCoding)
    for options, kind in [
        ({"beta": 2.0}, Beta),
        ({"anneal": 5}, Annealing),
        ({"free_bits": 1.0}, FreeBits),
        ({"rate_constraint": 1.0}, RateConstraint),
        ({"distortion_constraint": -1.0}, DistortionConstraint),
    ]:
        assert isinstance(built(BINARY, **options).weighting, kind)


@pytest.mark.parametrize(
    ("array", "options", "name", "kind"),
    [
        (BINARY, {}, "bernoulli", Bernoulli),
        (GREY, {}, "discretized-gaussian", DiscretizedGaussian),
        (GREY.reshape(ROWS, 16), {}, "discretized-gaussian", DiscretizedGaussian),
        (COUNTS, {"likelihood": "multinomial"}, "multinomial", Multinomial),
        (COUNTS, {}, "gaussian", Gaussian),
        (COUNTS, {"likelihood": "poisson"}, "poisson", PoissonCounts),
        (COUNTS, {"likelihood": "negative-binomial"}, "negative-binomial", NegativeBinomialCounts),
        (REAL / (1 + np.abs(REAL)) ** 2 / 2 + 0.5, {}, "gaussian", Gaussian),
        (REAL, {"scale": "conditional"}, "gaussian", ConditionalGaussian),
        (COUNTS - 2, {"scale": "conditional"}, "gaussian", ConditionalGaussian),
        (CATEGORIES, {"likelihood": "categorical"}, "categorical", CategoricalOutput),
    ],
)
def test_the_likelihood_fits_the_data(array, options, name, kind):
    config = replace(TINY, **options)
    observations = observed(array, config)
    assert observations.likelihood == name
    model = RowsTask(config).build(observations, key=None).learned.model
    assert isinstance(model, LatentGaussian)
    assert isinstance(model.density, kind)


def test_prepared_rows_come_back_in_their_own_unit():
    for array in (BINARY, REAL, COUNTS, GREY):
        observations = observed(array)
        prepared = observations.prepare(array)
        assert prepared.dtype == np.float32
        np.testing.assert_allclose(observations.restore(prepared), array, rtol=1e-5, atol=1e-5)
    standard = observed(REAL).prepare(REAL)
    np.testing.assert_allclose(standard.mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(standard.std(axis=0), 1.0, atol=1e-5)


def test_small_changes_of_large_numbers_survive():
    far = 1.6e9 + REAL
    observations = observed(far)
    prepared = observations.prepare(far)
    np.testing.assert_allclose(prepared, observed(REAL).prepare(REAL), atol=1e-5)
    np.testing.assert_allclose(observations.restore(prepared), far, rtol=0.0, atol=1e-5)


def test_the_unit_of_a_density_is_that_of_the_data():
    """log p(x) = log p(x') - log |dx / dx'|, here for a normal density."""
    config = replace(TINY, divide_by=2.0)
    observations = observed(REAL, config)
    loc, scale = REAL.mean(axis=0), REAL.std(axis=0)
    prepared = (REAL - loc) / scale
    inner = -0.5 * (prepared**2).sum(axis=1) - 0.5 * SIZE * np.log(2.0 * np.pi)
    direct = inner - np.log(scale).sum()
    np.testing.assert_allclose(inner - observations.log_unit_nats, direct, atol=1e2 * ALGEBRA)


def test_only_training_rows_set_the_units():
    rows = ArrayRows(REAL)
    train = rows.select(np.arange(10))
    observations = describe_rows(rows, train, TINY)
    np.testing.assert_allclose(observations.scaling.loc, REAL[:10].mean(axis=0), atol=ALGEBRA)
    np.testing.assert_allclose(observations.scaling.scale, REAL[:10].std(axis=0), atol=ALGEBRA)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"beta": 1.0, "free_bits": 1.0}, "--beta and --free-bits"),
        ({"latents": "0"}, "at least one latent variable"),
        ({"latents": "2,x"}, "as 64 or 64,32"),
        ({"width": 0}, "--width"),
        ({"depth": 0, "mapping": "highway"}, "--depth"),
        ({"validation_fraction": 1.0}, "--validation-fraction"),
        ({"engine": "exact"}, "--engine exact"),
        ({"engine": "natural-gradient", "beta": 2.0}, "no weighting"),
        ({"engine": "natural-gradient", "inference_rate": 2.0}, "--inference-rate"),
        ({"model": "sparse-coding", "engine": "natural-gradient"}, "smooth prior"),
        ({"model": "sparse-coding", "engine": "predictive-coding"}, "latent-gaussian"),
        ({"model": "factor-analysis", "latents": "2,2"}, "only latent-gaussian has levels"),
        ({"free_bits": -1.0}, "--free-bits"),
        ({"engine": "ladder", "latents": "2,2", "posterior": "full"}, "made for one of its own"),
        ({"engine": "natural-gradient", "posterior": "flow"}, "Expected a Gaussian"),
        ({"posterior": "flow", "latents": "1"}, "at least two latent variables"),
        ({"learning_rate": 0.0}, "--learning-rate"),
    ],
)
def test_contradictions_are_refused_before_data_is_read(options, said):
    with pytest.raises(BadInputError, match="Expected") as caught:
        RowsTask(replace(TINY, **options)).check()
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("array", "options", "said"),
    [
        (BINARY, {"engine": "ladder"}, "at least two levels"),
        (BINARY, {"encoding": "gradient"}, "--encoding made of"),
        (CATEGORIES, {"likelihood": "categorical", "encoding": "errors"}, "without errors"),
        (BINARY, {"scale": "conditional"}, "which has no scale"),
        (BINARY, {"mapping": "convolutional"}, "square grey images"),
        (GREY, {"mapping": "convolutional", "scale": "conditional"}, "one feature for each pixel"),
        (REAL, {"model": "factor-analysis", "latents": "6"}, "fewer latent variables"),
        (BINARY, {"model": "factor-analysis", "likelihood": "bernoulli"}, "gaussian likelihood"),
        (REAL, {"binarize": True}, "bernoulli likelihood for --binarize"),
        (GREY, {"divide_by": 255.0, "likelihood": "discretized-gaussian"}, "grey values are scaled"),
        (BINARY, {"divide_by": 0.0}, "positive number to divide by"),
        (BINARY, {"image_shape": "2,2"}, "--image-shape 2,2"),
        (REAL, {"likelihood": "bernoulli"}, "numbers from 0 to 1"),
        (COUNTS - 2, {"likelihood": "multinomial"}, "counts"),
        (COUNTS * (np.arange(ROWS) != 3)[:, None], {"likelihood": "multinomial"}, "at least one count in every row"),
        (np.where(REAL > 7.0, np.inf, REAL), {}, "finite numbers"),
        (np.where(REAL > 7.0, 1e300, REAL), {}, "that 32 bits can hold"),
        (CATEGORIES, {"likelihood": "categorical", "classes": 2}, "categories"),
    ],
)
def test_options_that_do_not_fit_the_data_are_refused(array, options, said):
    config = replace(TINY, **options)
    with pytest.raises(BadInputError, match="Expected") as caught:
        RowsTask(config).build(observed(array, config), key=None)
    assert said in str(caught.value)
