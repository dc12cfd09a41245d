"""Output densities against SciPy; shapes, floors and refusals."""

import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.stats

from homeostat.models.static import (
    AbstractLikelihood,
    Bernoulli,
    CategoricalOutput,
    ConditionalDiscretizedGaussian,
    ConditionalGaussian,
    DiscretizedGaussian,
    Gaussian,
    Multinomial,
    NegativeBinomialCounts,
    PoissonCounts,
)
from homeostat.models.static._observations import log_multinomial_coefficient
from homeostat.results import BadInputError
from homeostat.testing import assert_zero_mean
from tolerances import ALGEBRA, AUTODIFF, MONTE_CARLO_STANDARD_ERRORS

SHAPE = (2, 3)

LIKELIHOODS: dict[str, AbstractLikelihood] = {
    "Bernoulli": Bernoulli(SHAPE),
    "Bernoulli of one number": Bernoulli(()),
    "Gaussian": Gaussian(SHAPE),
    "Gaussian, a scale for each entry": Gaussian(SHAPE, jnp.linspace(-1.0, 1.0, 6).reshape(SHAPE), jax.nn.sigmoid),
    "conditional Gaussian": ConditionalGaussian(SHAPE),
    "discretized Gaussian": DiscretizedGaussian(SHAPE),
    "discretized Gaussian, a scale for each entry": DiscretizedGaussian(SHAPE, jnp.full(SHAPE, -1.0), low=None),
    "conditional discretized Gaussian": ConditionalDiscretizedGaussian(SHAPE, link=jax.nn.sigmoid),
    "categorical": CategoricalOutput(SHAPE, 4),
    "multinomial": Multinomial(7, total_count=20),
    "Poisson": PoissonCounts(SHAPE, jnp.full(SHAPE, 0.5)),
    "negative binomial": NegativeBinomialCounts(SHAPE, 0.5, jnp.linspace(-0.5, 1.0, 6).reshape(SHAPE)),
}


def features_of(likelihood, key):
    # Where no value is so rare that none of a few thousand samples would show it.
    return jr.uniform(key, (likelihood.num_features,), minval=0.1, maxval=0.9)


@pytest.fixture(params=LIKELIHOODS)
def likelihood(request):
    return LIKELIHOODS[request.param]


def test_a_density_of_one_observation(likelihood, key):
    features_key, draw_key = jr.split(key)
    features = features_of(likelihood, features_key)
    distribution = likelihood(features)
    assert distribution.event_shape == likelihood.shape
    assert distribution.batch_shape == ()
    value = distribution.sample(draw_key)
    assert value.shape == likelihood.shape
    assert distribution.log_prob(value).shape == ()
    assert jax.tree.leaves(distribution.mean)[0].shape == likelihood.shape
    compiled = eqx.filter_jit(lambda module, f, x: module(f).log_prob(x))(likelihood, features, value)
    np.testing.assert_allclose(compiled, distribution.log_prob(value), rtol=ALGEBRA)
    assert likelihood.support_description


def test_samples_come_from_the_density(likelihood, key):
    features_key, draw_key = jr.split(key)
    features = features_of(likelihood, features_key)

    def score(draw):
        value = likelihood(features).sample(draw)
        return eqx.filter_grad(lambda pair: pair[0](pair[1]).log_prob(value))((likelihood, features))

    scores = eqx.filter_jit(jax.vmap(score))(jr.split(draw_key, 4096))
    for leaf in jax.tree.leaves(scores):
        assert_zero_mean(leaf, MONTE_CARLO_STANDARD_ERRORS, "mean score")


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_the_precision_of_the_features_is_kept(likelihood, dtype):
    cast = jax.tree.map(lambda leaf: leaf.astype(dtype) if eqx.is_inexact_array(leaf) else leaf, likelihood)
    value = jnp.zeros(likelihood.shape, jnp.int32 if isinstance(likelihood, CategoricalOutput) else dtype)

    def log_density(features):
        return cast(features).log_prob(value)

    for level in (0.0, 40.0, -40.0):
        features = jnp.full(likelihood.num_features, level, dtype)
        answer, slope = eqx.filter_jit(jax.value_and_grad(log_density))(features)
        # NumPyro computes probabilities of counts in the default precision.
        counts = isinstance(likelihood, PoissonCounts | NegativeBinomialCounts)
        assert answer.dtype == (jnp.result_type(float) if counts else dtype)
        assert np.isfinite(answer)
        assert np.all(np.isfinite(slope))


def test_bernoulli_takes_fractions(key):
    logits = jr.normal(key, (6,))
    grey = jnp.linspace(0.0, 1.0, 6).reshape(SHAPE)
    probability = scipy.special.expit(logits).reshape(SHAPE)
    expected = np.sum(grey * np.log(probability) + (1.0 - grey) * np.log1p(-probability))
    np.testing.assert_allclose(Bernoulli(SHAPE)(logits).log_prob(grey), expected, rtol=ALGEBRA)
    # At logits of zero, where a new decoder starts, the slope is x - 1/2.
    slope = eqx.filter_jit(jax.grad(lambda f: Bernoulli(SHAPE)(f).log_prob(grey)))(jnp.zeros(6))
    np.testing.assert_allclose(slope, grey.ravel() - 0.5, atol=ALGEBRA)


def test_gaussian_is_scipys(key):
    features = jr.normal(key, (6,))
    scale = np.sqrt(np.exp(2.0 * -0.7) + 1e-5)
    value = np.linspace(0.0, 1.0, 6)
    constant = Gaussian(SHAPE, -0.7, jax.nn.sigmoid)
    expected = scipy.stats.norm.logpdf(value, scipy.special.expit(features), scale).sum()
    np.testing.assert_allclose(constant(features).log_prob(value.reshape(SHAPE)), expected, rtol=ALGEBRA)
    conditional = ConditionalGaussian(SHAPE, jax.nn.sigmoid)
    both = jnp.concatenate([features, 2.0 * features])
    expected = scipy.stats.norm.logpdf(value, scipy.special.expit(features), np.exp(features)).sum()
    np.testing.assert_allclose(conditional(both).log_prob(value.reshape(SHAPE)), expected, rtol=ALGEBRA)


def test_scales_have_a_floor_that_does_not_stop_learning():
    likelihood = Gaussian((2,), -5.0)
    slope = eqx.filter_jit(eqx.filter_grad(lambda module: module(jnp.zeros(2)).log_prob(jnp.ones(2))))(
        likelihood
    ).log_scale
    assert slope > 0.0
    scale = np.sqrt(Gaussian((2,), -100.0)(jnp.zeros(2)).variance)
    np.testing.assert_allclose(scale, np.sqrt(1e-5), rtol=ALGEBRA)
    variance = ConditionalGaussian((2,))(jnp.asarray([0.0, 0.0, -50.0, 50.0])).variance
    np.testing.assert_allclose(variance, np.exp([-7.0, 15.0]), rtol=ALGEBRA)


def test_discretized_masses_sum_to_one(key):
    levels = jnp.arange(256)[:, None] / 255.0
    for likelihood in (DiscretizedGaussian((1,)), ConditionalDiscretizedGaussian((1,))):
        distribution = likelihood(features_of(likelihood, key))
        total = jnp.sum(jnp.exp(eqx.filter_jit(jax.vmap(distribution.log_prob))(levels)))
        np.testing.assert_allclose(total, 1.0, rtol=ALGEBRA)


def test_categorical_masses_sum_to_one(key):
    distribution = CategoricalOutput((2,), 3)(jr.normal(key, (6,)))
    values = jnp.asarray(list(itertools.product(range(3), repeat=2)))
    np.testing.assert_allclose(
        jnp.sum(jnp.exp(eqx.filter_jit(jax.vmap(distribution.log_prob))(values))), 1.0, rtol=ALGEBRA
    )


def test_word_counts_are_scipys_multinomial_without_its_coefficient(key):
    logits = jr.normal(key, (4,))
    counts = np.array([3, 0, 1, 5])
    distribution = Multinomial(4)(logits)
    probability = np.asarray(jax.nn.softmax(logits))
    of_words = np.sum(counts * np.log(probability))
    np.testing.assert_allclose(distribution.log_prob(jnp.asarray(counts)), of_words, rtol=ALGEBRA)
    of_counts = scipy.stats.multinomial(9, probability / probability.sum()).logpmf(counts)
    coefficient = log_multinomial_coefficient(jnp.asarray(counts))
    np.testing.assert_allclose(of_words + coefficient, of_counts, rtol=ALGEBRA)
    # Documents of equally likely words have a perplexity of the size of the vocabulary.
    uniform = Multinomial(4)(jnp.zeros(4)).log_prob(jnp.asarray(counts))
    np.testing.assert_allclose(np.exp(-uniform / counts.sum()), 4.0, rtol=ALGEBRA)
    assert Multinomial(4)(logits).log_prob(jnp.zeros(4)) == 0.0


def test_documents_have_the_stated_length_and_frequencies(key):
    distribution = Multinomial(5, total_count=50)(jr.normal(key, (5,)))
    documents = distribution.sample(key, (2000,))
    np.testing.assert_array_equal(documents.sum(1), 50.0)
    assert_zero_mean(documents - distribution.mean[None, :], MONTE_CARLO_STANDARD_ERRORS, "mean of counts")
    spread = (documents - distribution.mean[None, :]) ** 2 - distribution.variance[None, :]
    assert_zero_mean(spread, MONTE_CARLO_STANDARD_ERRORS, "variance of counts")


def test_a_discretized_decoder_has_a_curvature(key):
    """The Hessian in the features is the one of the Gaussian where bins are narrow."""
    features = jr.normal(key, (6,))
    narrow = DiscretizedGaussian(SHAPE, 0.0, bin_width=1e-3, low=None, high=None)
    value = jnp.full(SHAPE, 0.5)
    got = eqx.filter_jit(jax.hessian(lambda f: narrow(f).log_prob(value)))(features)
    expected = eqx.filter_jit(jax.hessian(lambda f: Gaussian(SHAPE, 0.0)(f).log_prob(value)))(features)
    np.testing.assert_allclose(got, expected, atol=AUTODIFF)


def test_wrong_sizes_are_refused():
    with pytest.raises(BadInputError, match="12 features"):
        ConditionalGaussian(SHAPE)(jnp.zeros(6))
    with pytest.raises(BadInputError, match="one log scale"):
        Gaussian(SHAPE, jnp.zeros(3))
    with pytest.raises(BadInputError, match="at least one entry"):
        Bernoulli((0,))
    with pytest.raises(BadInputError, match="at least one class"):
        CategoricalOutput(SHAPE, 0)
    with pytest.raises(BadInputError, match="bins"):
        DiscretizedGaussian(SHAPE, bin_width=0.3)
    with pytest.raises(BadInputError, match="number of words"):
        Multinomial(3, total_count=-1)


def test_a_learned_scale_is_strongly_typed():
    assert not Gaussian(SHAPE).log_scale.weak_type
    assert math.prod(SHAPE) == Gaussian(SHAPE).num_features


def test_counts_are_scipys():
    features, counts = jnp.asarray([0.3, -1.0, 2.0]), np.array([2.0, 0.0, 11.0])
    mean = np.exp(np.asarray(features) + 0.5)
    poisson = PoissonCounts((3,), 0.5)(features)
    np.testing.assert_allclose(poisson.log_prob(counts), scipy.stats.poisson(mean).logpmf(counts).sum(), rtol=ALGEBRA)
    found = NegativeBinomialCounts((3,), 0.5, 0.2)(features)
    size = np.exp(0.2)
    oracle = scipy.stats.nbinom(size, size / (size + mean))
    np.testing.assert_allclose(found.log_prob(counts), oracle.logpmf(counts).sum(), rtol=AUTODIFF)
    np.testing.assert_allclose(found.variance, mean + mean**2 / size, rtol=ALGEBRA)
    # An untrained network may say anything.
    assert np.isfinite(NegativeBinomialCounts((3,))(jnp.asarray([200.0, -200.0, 0.0])).log_prob(counts))
