"""Helpers of the comparison experiments of chapter 3: figures, budgets, references without latents."""

from dataclasses import replace
from functools import partial

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

from homeostat.experiments.ch3 import cifar10, iterations, mnist, text
from homeostat.experiments.ch3._comparison import EQUAL_TIME, Table, TableOutcome, nats
from homeostat.experiments.ch3._data import DataSet, load_observations
from homeostat.experiments.ch3._methods import Entry, InferenceMethod, Judging, RowScores, scored, update_seconds
from homeostat.experiments.ch3._networks import Networks, NetworkSizes
from homeostat.experiments.kit import Comparison, Method, Result, Training, difference, least_lead, mean_and_error
from homeostat.experiments.kit._method import Trained
from homeostat.inference.engines import Feedback
from homeostat.metrics import count_weights
from homeostat.objectives import Errors, Evidence
from tolerances import ALGEBRA

SIZES = NetworkSizes((3,), 0, 8, 1, 8, 1)


@pytest.fixture(scope="module")
def topics():
    data = load_observations(DataSet.topics)
    return replace(
        data, train=data.train.astype(int), validation=data.validation.astype(int), test=data.test.astype(int)
    )


def scores(likelihood: float, validation: tuple[float, ...]) -> RowScores:
    rows = np.full((len(validation), 2), likelihood) + np.arange(len(validation))[:, None]
    return RowScores(rows, rows - 1.0, np.zeros_like(rows), np.asarray(validation))


def outcome() -> TableOutcome:
    found = {
        "direct": scores(-100.0, (-110.0, -105.0)),
        "longer": scores(-90.0, (-100.0, -108.0)),
        "iterative": scores(-80.0, (-85.0, -85.0)),
    }
    nothing = Trained(None, jnp.zeros(0), jnp.zeros(0))
    results = [
        Result(Method(name, lambda *, key: None, lambda learned: learned, Training(10, 8)), each, 5, (nothing, nothing))
        for name, each in found.items()
    ]
    return TableOutcome(Comparison("one level", tuple(results)), (0.1, 0.1, 0.4))


def test_equal_time_takes_the_direct_model_that_validation_prefers():
    found, shown = outcome(), outcome().shown
    timed = shown.of(EQUAL_TIME).scores
    np.testing.assert_array_equal(
        timed.log_likelihood_nats[0], found.comparison.of("longer").scores.log_likelihood_nats[0]
    )
    np.testing.assert_array_equal(
        timed.log_likelihood_nats[1], found.comparison.of("direct").scores.log_likelihood_nats[1]
    )
    np.testing.assert_array_equal(timed.validation_nats, [-100.0, -105.0])
    assert found.longer_is_better.tolist() == [True, False]
    assert [each.name for each in shown.results] == ["direct", EQUAL_TIME, "iterative"]


def test_leads_and_their_errors():
    first, second = np.array([3.0, 5.0, 4.0]), np.array([1.0, 1.0, 4.0])
    value, error = difference(first, second)
    np.testing.assert_allclose(value, 2.0, atol=ALGEBRA)
    np.testing.assert_allclose(error, np.sqrt(1.0 / 3.0 + 1.0), atol=ALGEBRA)
    alone = mean_and_error(np.array([2.0]))
    assert alone[0] == 2.0 and np.isnan(alone[1])
    # The worst seed of the worst model: direct, first seed, 100 nats.
    figure = Table("mnist", None, Judging()).by_likelihood
    np.testing.assert_allclose(least_lead([outcome().comparison], figure, [150.0]), 50.0, atol=ALGEBRA)


def test_figures_are_those_of_the_tables():
    likelihood, words = np.array([[-10.0, -40.0], [-20.0, -20.0]]), np.array([5.0, 10.0])
    np.testing.assert_allclose(nats(likelihood), [25.0, 20.0], atol=ALGEBRA)
    # exp(-(1/N) sum_i log p(x_i) / n_i)
    expected = np.exp([(10 / 5 + 40 / 10) / 2, (20 / 5 + 20 / 10) / 2])
    np.testing.assert_allclose(text.perplexities(likelihood, words), expected, rtol=ALGEBRA)
    # A uniform density on [0, 1] costs eight bits for each of 256 values.
    np.testing.assert_allclose(cifar10.bits(np.zeros((2, 3)), 12), 8.0, atol=ALGEBRA)


def test_word_counts_are_read_and_learned_steadily():
    counts = jnp.asarray([0.0, 3.0, 1.0, 400.0, 0.0])
    read = text.normalized_log_counts(counts)
    np.testing.assert_allclose(jnp.mean(read), 0.0, atol=ALGEBRA)
    # 1e-5 is added to the variance, which is about 5 here.
    np.testing.assert_allclose(jnp.std(read), 1.0, atol=1e-5)
    optimizer = Training(10, 8, 1e-3, largest_gradient=2.0).optimizer()
    weights = jnp.zeros(4)
    _, state = optimizer.update(jnp.full(4, 50.0), optimizer.init(weights), weights)
    mean = optax.tree_utils.tree_get(state, "mu")
    # Adam's first mean is a tenth of the gradient, whose norm of 100 was clipped to 2.
    np.testing.assert_allclose(jnp.linalg.norm(mean), 0.2, rtol=ALGEBRA)


def test_configurations_are_the_authors_at_paper_scale():
    single, double = mnist.Config.for_scale("paper").one_level, mnist.Config.for_scale("paper").two_levels
    assert (single.sizes.latents, single.num_samples, single.direct_samples) == ((64,), 10, 1)
    assert (double.sizes.latents, double.sizes.units, double.training.batch_size) == ((64, 32), 64, 256)
    assert single.num_iterations == double.num_iterations == 5
    colour = cifar10.Config.for_scale("paper").two_levels
    assert (colour.sizes.latents, colour.sizes.encoder_depth, colour.training.learning_rate) == ((1_024, 512), 3, 1e-4)
    assert mnist.Config.for_scale("paper").reporting == Judging(3, 1_000, 10_000, 5_000)
    assert iterations.Config.for_scale("paper").iterations == (2, 5, 10, 16)
    assert iterations.Config.for_scale("paper").samples == (1, 5, 10, 20)


@pytest.mark.parametrize(
    ("inputs", "extra"),
    [
        (iterations.Inputs.gradients, 4 * 3),
        (iterations.Inputs.errors, 200 + 3),
        (iterations.Inputs.gradients_data, 4 * 3 + 200),
        (iterations.Inputs.errors_data, 200 + 3 + 200),
    ],
)
def test_inputs_read_what_they_say(topics, inputs, extra):
    encodings = inputs.encodings(topics)
    assert Networks(topics, SIZES).encoding_size(encodings, 6) == 6 + extra
    zero = Errors(jnp.zeros(200), jnp.zeros(3), jnp.zeros(200), jnp.zeros(3))

    def read(gradient: float, error: float, seen: float):
        errors = eqx.tree_at(lambda e: (e.observation, e.latent), zero, (jnp.full(200, error), jnp.full(3, error)))
        feedback = Feedback(jnp.zeros(6), jnp.full(6, gradient), Evidence(jnp.full(200, seen)), lambda: errors)
        return np.concatenate([np.asarray(encoding(feedback)) for encoding in encodings])

    changed = [
        bool(np.any(read(*each) != read(1.0, 0.0, 0.0))) for each in ((2.0, 0.0, 0.0), (1.0, 1.0, 0.0), (1.0, 0.0, 1.0))
    ]
    assert changed == ["gradients" in inputs.value, "errors" in inputs.value, "data" in inputs.value]


def test_pace_and_scores(topics, key):
    networks = Networks(topics, SIZES)
    methods = [InferenceMethod(name, networks, networks.direct) for name in ("direct", "longer")]
    build = methods[0].build
    # Encoder 200-8-6 with a gated layer: projection, layer and gate of 200 x 8; decoder 3-8-200.
    assert count_weights(partial(build, key=key)) == 3 * 8 * 201 + 6 * 9 + 8 * 4 + 200 * 9
    seconds = update_seconds(methods, Training(4, 8), key=key, updates=2, repeats=3)
    # The same plan is timed once, so that equal samples cannot give different budgets.
    assert seconds[0] == seconds[1] > 0.0
    found = scored(Judging(1, 6, 5, 30), methods[0], build(key=key), key=key)
    assert found.log_likelihood_nats.shape == found.bound_nats.shape == found.pareto_k.shape == (5,)
    # An untrained decoder says about the same of every document: near the uniform distribution over words.
    words = topics.test[:5].sum(axis=1)
    uniform = Entry(SIZES).num_samples * -words * np.log(200.0)
    assert np.all(np.abs(found.log_likelihood_nats - uniform) < 0.5 * np.abs(uniform))
    assert np.mean(found.log_likelihood_nats - found.bound_nats) > 0.0
    other = scored(Judging(1, 6, 5, 30), methods[0], build(key=key), key=jr.key(1))
    assert np.any(other.log_likelihood_nats != found.log_likelihood_nats)
