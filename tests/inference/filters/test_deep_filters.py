"""The hand-crafted filters of deep sequential models, and amortized variational filtering, on models of a few numbers."""

import itertools
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from deep_problems import DEEP_FILTERS, DEEP_MODELS, IMAGE, SRNN_TINY, SVG_TINY, VECTOR, VRNN_TINY
from homeostat.distributions import Hierarchical
from homeostat.inference import filter
from homeostat.inference.engines import Feedback, Gated, LearnedSGD, ScaledGradient
from homeostat.inference.filters import (
    FlatReader,
    NormalizedMean,
    StepContext,
    amortized_variational_filter,
    srnn_filter,
    svg_filter,
    vrnn_filter,
)
from homeostat.inference.filters._memory import RecurrentState
from homeostat.models.sequential import (
    SRNN_MUSIC,
    SRNN_SPEECH,
    SVG_KTH,
    VRNN_LOG_VARIANCE,
    VRNN_SPEECH,
    StateSpace,
    music_density,
    speech_density,
    srnn,
    svg,
    video_density,
    vrnn,
)
from homeostat.objectives import Evidence
from homeostat.results import BadInputError
from problems import MixtureModel
from references import lstm_step
from tolerances import ALGEBRA

AVF = partial(amortized_variational_filter, width=4, depth=1)


@eqx.filter_jit
@eqx.filter_value_and_grad
def bound(pair, observations, actions, key):
    model, method = pair
    return filter(method, model, observations, actions, key=key, throw=False).free_energy_nats


def sequence(model, length=3):
    return jr.normal(jr.key(5), (length, *model.density.shape)), jr.normal(jr.key(6), (length - 1, 1))


@pytest.mark.parametrize(
    "name", [name if name == "VRNN" else pytest.param(name, marks=pytest.mark.slow) for name in DEEP_MODELS]
)
def test_a_published_filter_bounds_and_learns_everywhere(name, key):
    model = DEEP_MODELS[name](key=key, action_dim=1)
    method = DEEP_FILTERS[name](model, key=jr.key(1))
    value, (model_gradient, engine_gradient) = bound((model, method), *sequence(model), key)
    assert np.isfinite(value)
    for leaf in jax.tree.leaves(model_gradient):
        assert np.isfinite(leaf).all()
    for leaf in jax.tree.leaves(engine_gradient):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0


@pytest.mark.parametrize("name", [pytest.param("VRNN", marks=pytest.mark.slow), "two time scales"])
def test_amortized_variational_filtering_takes_any_model(name, key):
    model = DEEP_MODELS[name](key=key, action_dim=1)
    update = ScaledGradient(LearnedSGD(), 1 / 16)
    method = AVF(model, key=jr.key(1), num_steps=2, num_samples=2, update=update, reader=FlatReader())
    assert method.engine.network.projection.weight.shape == (4, 4 * model.dim + 5)
    value, (_, gradient) = bound((model, method), *sequence(model), key)
    assert np.isfinite(value)
    for leaf in jax.tree.leaves(eqx.filter(gradient.engine.network, eqx.is_inexact_array)):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0
    assert isinstance(model.prior(model.init_carry()), Hierarchical) == (name == "two time scales")


def test_a_filter_maps_over_sequences_and_is_traced_once(key):
    model = DEEP_MODELS["VRNN"](key=key, action_dim=1)
    method, traces = DEEP_FILTERS["VRNN"](model, key=jr.key(1)), []

    @eqx.filter_jit
    @partial(jax.vmap, in_axes=(0, 0, 0))
    def run(observations, actions, keys):
        traces.append(1)
        return filter(method, model, observations, actions, key=keys, throw=False).info.free_energy_nats

    observations, actions = (jnp.stack([leaf, -leaf]) for leaf in sequence(model))
    keys = jr.split(key, 2)
    together = run(observations, actions, keys)
    run(observations + 1.0, actions, keys)
    assert together.shape == (2, 3) and len(traces) == 1
    alone = filter(method, model, observations[1], actions[1], key=keys[1])
    np.testing.assert_allclose(together[1], alone.info.free_energy_nats, rtol=ALGEBRA)
    assert alone.beliefs.mean.shape == (3, 2) and alone.beliefs.covariance.shape == (3, 2, 2)


def dense(layer, x):
    return np.asarray(layer.weight) @ x + np.asarray(layer.bias)


def test_encoders_read_what_was_published(key):
    x = jnp.asarray([0.5, -1.0, 2.0, 0.0, 1.0])
    model = vrnn(VECTOR, VRNN_TINY, key=key)
    encoder = vrnn_filter(model, VRNN_TINY, key=jr.key(1)).engine.encoder
    carry = model.next_carry(model.init_carry(), jnp.ones(2), -x, None)
    read = np.maximum(dense(encoder.reader.network.layers[0], np.asarray(x)), 0.0)
    inputs = np.concatenate([read, carry.memory.top])
    expected = dense(encoder.network.head, np.maximum(dense(encoder.network.features.layers[0], inputs), 0.0))
    got = encoder(Evidence(x, model.prior(carry), StepContext(carry, None)))
    np.testing.assert_allclose(got, np.concatenate([expected[:2], np.clip(expected[2:], -7.5, 2.5)]), rtol=ALGEBRA)

    model = srnn(VECTOR, SRNN_TINY, key=key)
    encoder = srnn_filter(model, SRNN_TINY, key=jr.key(1)).engine.encoder
    carry = model.next_carry(model.init_carry(), jnp.ones(2), -x, None)
    inputs = dense(encoder.network.features.layers[0], np.concatenate([x, carry.memory.top]))
    expected = dense(encoder.network.head, np.clip(np.where(inputs > 0, inputs, inputs / 3), -3, 3))
    got = encoder(Evidence(x, model.prior(carry), StepContext(carry, None)))
    np.testing.assert_allclose(got, expected, rtol=ALGEBRA)


def test_the_filter_of_svg_remembers_frames_by_itself(key):
    model = svg(IMAGE, SVG_TINY, key=key)
    method = svg_filter(model, SVG_TINY, key=jr.key(1))
    frames = jr.uniform(jr.key(2), (3, 8, 8, 2))
    found = filter(method, model, frames, key=key)
    network = method.memory.network
    hidden, cell = (np.asarray(leaf) for leaf in network.init())
    encode = eqx.filter_jit(method.memory.features.reader.network)
    for t, frame in enumerate(frames):
        hidden, cell = lstm_step(network, np.asarray(encode(frame - 0.5)), hidden, cell)
        np.testing.assert_allclose(found.beliefs.memory.output[t, 0], hidden[-1], rtol=ALGEBRA, atol=ALGEBRA)
        loc, log_scale = np.split(dense(method.engine.encoder.head, hidden[-1]), 2)
        np.testing.assert_allclose(found.beliefs.loc[t, 0], loc, rtol=ALGEBRA, atol=ALGEBRA)
        np.testing.assert_allclose(found.beliefs.scale[t, 0], np.exp(log_scale), rtol=ALGEBRA)
    assert isinstance(found.beliefs.memory, RecurrentState)


def count(build):
    leaves = jax.tree.leaves(eqx.filter_eval_shape(build))
    return sum(leaf.size for leaf in leaves if hasattr(leaf, "size"))


def layers(*sizes):
    return sum(b * (a + 1) for a, b in itertools.pairwise(sizes))


def test_published_filters_have_the_numbers_of_weights_counted_by_hand(key):
    """Without `count` building a model: its shapes are enough."""
    speech = speech_density(200, log_variance_bounds=VRNN_LOG_VARIANCE)

    def weights(build, make, sizes):
        def both():
            return make(build(sizes, key=key), sizes, key=key)

        return count(both)

    expected = layers(200, 600, 600, 600, 600) + layers(600 + 2000, 500, 500, 500, 500, 2 * 200)
    assert weights(partial(vrnn, speech), vrnn_filter, VRNN_SPEECH) == expected
    expected = layers(200 + 1024, 512, 512, 2 * 256)
    assert weights(partial(srnn, speech), srnn_filter, SRNN_SPEECH) == expected
    assert weights(partial(srnn, music_density()), srnn_filter, SRNN_MUSIC) == layers(88 + 300, 500, 2 * 100)
    images = count(lambda: SVG_KTH.encoder(64, 128, key=key, in_channels=1))
    expected = images + 4 * 256 * (128 + 256 + 1) + 2 * 256 + layers(256, 2 * 512)
    assert weights(partial(svg, video_density()), svg_filter, SVG_KTH) == expected
    # The update network: a projection, two layers with gates, and an output of proposals and gates.
    expected = layers(4 * 100, 1024) + 2 * (layers(4 * 100, 1024) + layers(1024, 1024)) + layers(1024, 4 * 100)

    def avf():
        return amortized_variational_filter(srnn(music_density(), SRNN_MUSIC, key=key), key=key)

    # What `Gated` and the normalisations hold besides are fixed numbers, no weights.
    assert count(lambda: avf().engine.network) == expected
    assert isinstance(eqx.filter_eval_shape(avf).engine.update, Gated)


def test_a_scaled_gradient_is_the_rule_at_another_unit():
    feedback = Feedback(jnp.asarray([1.0, -2.0]), jnp.asarray([8.0, 4.0]), None)
    output = jnp.asarray([0.5, 0.25, 0.0, 100.0])
    rule = ScaledGradient(LearnedSGD(), 0.25)
    assert rule.outputs(2) == 4
    np.testing.assert_allclose(rule(feedback, output), [1.0 - 0.5 * 2.0 + 0.5, -2.0 - 1.0 + 0.25], atol=ALGEBRA)


def test_the_mean_is_normalised_and_the_log_scale_bounded():
    estimate = jnp.asarray([1.0, 2.0, 3.0, 9.0, -9.0, 0.5])
    got = NormalizedMean()(estimate)
    spread = np.sqrt(2 / 3 + 1e-5)
    np.testing.assert_allclose(got, [-1 / spread, 0.0, 1 / spread, 2.5, -7.5, 0.5], atol=ALGEBRA)


def test_latents_that_are_no_vector_are_refused(key):
    still = MixtureModel(jnp.zeros(3), jnp.zeros((3, 2)), jnp.ones(2))
    scalar = StateSpace(still.initial(), lambda state, action: still.initial(), still)
    with pytest.raises(BadInputError, match=r"latents are one vector, got shape \(\)"):
        AVF(scalar, key=key)
