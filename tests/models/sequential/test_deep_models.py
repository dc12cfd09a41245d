"""Recurrent latent variable models: against loops in NumPy, against static models, at their sizes and by their gradients."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.stats

from deep_problems import DEEP_MODELS, SVG_TINY, VECTOR, VRNN_TINY
from homeostat.core import AbstractMarkovModel
from homeostat.distributions import level_divergences
from homeostat.models.sequential import (
    SRNN_MUSIC,
    SRNN_SPEECH,
    SVG_KTH,
    SVG_MOVING_DIGITS,
    SVG_ROBOT,
    VRNN_LOG_VARIANCE,
    VRNN_SPEECH,
    GatedTransition,
    SRNNSizes,
    SVGSizes,
    TimedAction,
    VRNNSizes,
    deep_markov,
    music_density,
    speech_density,
    srnn,
    svg,
    two_timescales,
    video_density,
    vrnn,
)
from homeostat.models.static import Bernoulli, ConditionalGaussian, LatentGaussian, LearnedLevel
from homeostat.nn import Features
from homeostat.results import BadInputError
from references import lstm_step
from tolerances import ALGEBRA


def unsettled(model):
    """The model with every number moved, so that nothing is zero by construction."""
    leaves, structure = jax.tree.flatten(eqx.filter(model, eqx.is_inexact_array))
    moved = [leaf + 0.1 * jr.normal(jr.fold_in(jr.key(99), i), leaf.shape) for i, leaf in enumerate(leaves)]
    return eqx.combine(jax.tree.unflatten(structure, moved), model)


@eqx.filter_jit
def sample(model, actions, *, key):
    """Latents and observations of a sequence, drawn step by step."""

    def step(carry, inputs):
        action, step_key = inputs
        z_key, x_key = jr.split(step_key)
        state = model.prior(carry).sample(z_key)
        observation = model.emission_given(carry, state).sample(x_key)
        return model.next_carry(carry, state, observation, action), (state, observation)

    return jax.lax.scan(step, model.init_carry(), (actions, jr.split(key, actions.shape[0])))[1]


def log_density(model, states, observations, actions):
    def step(carry, inputs):
        state, observation, action = inputs
        value = model.prior(carry).log_prob(state) + model.emission_given(carry, state).log_prob(observation)
        return model.next_carry(carry, state, observation, action), value

    return jnp.sum(jax.lax.scan(step, model.init_carry(), (states, observations, actions))[1])


def drawn(name, key, action_dim=2, length=4):
    model = unsettled(DEEP_MODELS[name](key=key, action_dim=action_dim))
    actions = jr.normal(jr.key(3), (length, action_dim))
    return model, *sample(model, actions, key=jr.key(4)), actions


# A second implementation in NumPy. A layer is taken from the model by its weights only.


def dense(layer, x):
    return np.asarray(layer.weight) @ x + np.asarray(layer.bias)


def stack(features, x):
    for layer in features.layers:
        x = np.asarray(features.activation(jnp.asarray(dense(layer, x))))
    return x


def normal_log_density(x, loc, log_variance, low, high):
    return float(np.sum(scipy.stats.norm.logpdf(x, loc, np.exp(0.5 * np.clip(log_variance, low, high)))))


def prior_log_density(network, context, z):
    features = context if network.features is None else stack(network.features, context)
    return normal_log_density(z, *np.split(dense(network.head, features), 2), -15.0, 5.0)


def output_log_density(features, x):
    return normal_log_density(np.ravel(x), *np.split(np.ravel(features), 2), -7.0, 15.0)


def by_hand_vrnn(model, states, observations, actions):
    total, (h, c) = 0.0, (np.asarray(leaf) for leaf in model.memory.start)
    for z, x, a in zip(states, observations, actions, strict=True):
        total += prior_log_density(model.latent_prior, h[-1], z)
        read = stack(model.latent_features, z)
        decoded = dense(model.decoder.head, stack(model.decoder.features, np.concatenate([read, h[-1]])))
        total += output_log_density(decoded, x)
        h, c = lstm_step(model.memory, np.concatenate([stack(model.observation_features, x), read, a]), h, c)
    return total


def by_hand_srnn(model, states, observations, actions):
    total, before = 0.0, np.asarray(model.start)
    h, c = (np.asarray(leaf) for leaf in model.memory.start)
    for z, x, a in zip(states, observations, actions, strict=True):
        total += prior_log_density(model.latent_prior, np.concatenate([h[-1], before]), z)
        decoded = dense(model.decoder.head, stack(model.decoder.features, np.concatenate([h[-1], z])))
        total += output_log_density(decoded, x)
        h, c = lstm_step(model.memory, np.concatenate([x, a]), h, c)
        before = z
    return total


def by_hand_svg(model, states, observations, actions):
    total, code = 0.0, np.concatenate([np.asarray(model.start), np.zeros(2)])
    encode, decode = eqx.filter_jit(model.encoder), eqx.filter_jit(model.decoder)
    prior, predictor = ([np.asarray(leaf) for leaf in m.start] for m in (model.prior_memory, model.predictor))
    for z, x, a in zip(states, observations, actions, strict=True):
        prior = lstm_step(model.prior_memory, code, *prior)
        total += prior_log_density(model.latent_prior, prior[0][-1], z)
        predictor = lstm_step(model.predictor, np.concatenate([code, z]), *predictor)
        image = np.asarray(decode(jnp.tanh(dense(model.projection, predictor[0][-1]))))
        # Two channels of means, then two of log variances.
        total += output_log_density(np.stack([image[:, :, :2], image[:, :, 2:]]), x)
        code = np.concatenate([np.asarray(encode(jnp.asarray(x) - 0.5)), a])
    return total


def by_hand_two_time_scales(model, states, observations, actions):
    total, held = 0.0, np.zeros(1)
    fast, slow = ([np.asarray(leaf) for leaf in m.start] for m in (model.fast_memory, model.slow_memory))
    for t, (z, x, a) in enumerate(zip(states, observations, actions, strict=True)):
        if t % 3 == 0:
            slow = lstm_step(model.slow_memory, np.concatenate([fast[0][-1], held]), *slow) if t else slow
            held = z[2:]
            total += prior_log_density(model.slow_prior, slow[0][-1], held)
        else:
            total += float(scipy.stats.norm.logpdf(z[2]))
        h = fast[0][-1]
        total += prior_log_density(model.fast_prior, np.concatenate([held, h]), z[:2])
        decoded = stack(model.decoder.features, np.concatenate([z[:2], held, h]))
        total += output_log_density(dense(model.decoder.head, decoded), x)
        fast = lstm_step(model.fast_memory, np.concatenate([x, z[:2], held, a]), *fast)
    return total


def by_hand_deep_markov(model, states, observations, actions):
    def mlp(network, x):
        for layer in network.layers[:-1]:
            x = np.maximum(dense(layer, x), 0.0)
        return dense(network.layers[-1], x)

    loc, log_variance = np.asarray(model.loc), 2.0 * np.asarray(model.log_scale)
    dynamics, total = model.dynamics, 0.0
    for z, x, a in zip(states, observations, actions, strict=True):
        total += normal_log_density(z, loc, log_variance, -np.inf, np.inf)
        total += output_log_density(mlp(model.decoder, z), x)
        inputs = np.concatenate([z, a])
        gate, proposal = 1.0 / (1.0 + np.exp(-mlp(dynamics.gate, inputs))), mlp(dynamics.proposal, inputs)
        loc = (1.0 - gate) * dense(dynamics.linear, inputs) + gate * proposal
        log_variance = np.log(np.log1p(np.exp(dense(dynamics.scale, np.maximum(proposal, 0.0)))) + 1e-6)
    return total


BY_HAND = {
    "VRNN": by_hand_vrnn,
    "SRNN": by_hand_srnn,
    "SVG": by_hand_svg,
    "two time scales": by_hand_two_time_scales,
    "deep Markov": by_hand_deep_markov,
}


@pytest.mark.parametrize("name", DEEP_MODELS)
def test_log_density_is_that_of_a_loop_by_hand_and_learns_everywhere(name, key):
    model, states, observations, actions = drawn(name, key)
    assert states.shape == (4, model.dim) and observations.shape == (4, *model.density.shape)
    value, gradient = eqx.filter_jit(eqx.filter_value_and_grad(log_density))(model, states, observations, actions)
    expected = BY_HAND[name](model, *(np.asarray(leaf) for leaf in (states, observations, actions)))
    np.testing.assert_allclose(value, expected, rtol=ALGEBRA)
    for leaf in jax.tree.leaves(gradient):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0


@pytest.mark.parametrize("name", DEEP_MODELS)
def test_no_action_counts_as_zero_and_wrong_inputs_are_refused(name, key):
    model = DEEP_MODELS[name](key=key, action_dim=2)
    carry, state = model.init_carry(), 0.3 * jnp.ones(model.dim)
    seen = jnp.zeros(model.density.shape)
    kept, without = (model.next_carry(carry, state, seen, action) for action in (jnp.zeros(2, int), None))
    for a, b, c in zip(*map(jax.tree.leaves, (carry, kept, without)), strict=True):
        assert np.array_equal(b, c) and (a.shape, a.dtype) == (b.shape, b.dtype)
    with pytest.raises(BadInputError, match=r"action of shape \(2,\), got \(3,\)"):
        model.next_carry(carry, state, seen, jnp.zeros(3))
    with pytest.raises(BadInputError, match="how long a step lasts as one more number"):
        model.next_carry(carry, state, seen, TimedAction(0.5, jnp.zeros(2)))
    if not isinstance(model, AbstractMarkovModel):  # The next state of a Markov model does not depend on what was seen.
        with pytest.raises(BadInputError, match="one observation of"):
            model.next_carry(carry, state, jnp.zeros((2, *model.density.shape)), None)
    for wrong in ({"action_dim": -1},):
        with pytest.raises(BadInputError, match="action_dim=-1"):
            DEEP_MODELS[name](key=key, **wrong)


def test_a_vrnn_without_recurrence_is_a_static_model(key):
    model, states, observations, actions = drawn("VRNN", key)
    # What the past says reaches prior and decoder through these columns only.
    first = model.decoder.features.layers[0].weight
    model = eqx.tree_at(
        lambda m: (m.latent_prior.features.layers[0].weight, m.decoder.features.layers[0].weight),
        model,
        (jnp.zeros_like(model.latent_prior.features.layers[0].weight), first.at[:, 3:].set(0.0)),
    )
    constant = model.latent_prior(jnp.zeros(4)).base_dist
    level = eqx.tree_at(lambda top: (top.loc, top.log_scale), LearnedLevel(2), (constant.loc, jnp.log(constant.scale)))

    def decoder(z):
        return model.decoder(jnp.concatenate([model.latent_features(z), jnp.zeros(4)]))

    static = LatentGaussian((level,), decoder, VECTOR)
    carry = model.init_carry()
    for state, observation, action in zip(states, observations, actions, strict=True):
        np.testing.assert_allclose(model.prior(carry).log_prob(state), static.initial().log_prob(state), rtol=ALGEBRA)
        np.testing.assert_allclose(
            model.emission_given(carry, state).log_prob(observation),
            static.emission(state).log_prob(observation),
            rtol=ALGEBRA,
        )
        carry = model.next_carry(carry, state, observation, action)
    assert np.abs(carry.memory.top - model.init_carry().memory.top).max() > 0


def test_slow_latents_change_every_third_step_only(key):
    model, states, observations, actions = drawn("two time scales", key, length=7)
    carry, held, remembered = model.init_carry(), [], []
    for t, (state, observation, action) in enumerate(zip(states, observations, actions, strict=True)):
        assert int(carry.clock) == t % 3
        prior, other = model.prior(carry), state.at[2].add(1.0)
        moved = model.emission_given(carry, other).mean - model.emission_given(carry, state).mean
        # A standard normal posterior of idle latents costs nothing.
        rates = level_divergences(prior, prior, state)
        np.testing.assert_allclose(rates, np.zeros(2), atol=ALGEBRA)
        if t % 3:
            assert not np.any(moved)
            pad_actions = prior.descend(state).conditionals[1]
            assert pad_actions.mean.tolist() == [0.0] and pad_actions.variance.tolist() == [1.0]
        else:
            assert np.any(moved)
        held.append(float(model.split(carry, state)[1][0]))
        remembered.append(np.asarray(carry.slow.hidden))
        carry = model.next_carry(carry, state, observation, action)
    assert held[0] == held[1] == held[2] == float(states[0, 2])
    assert held[3] == held[4] == held[5] == float(states[3, 2]) and held[6] == float(states[6, 2])
    for t in range(1, 7):
        assert np.array_equal(remembered[t], remembered[t - 1]) == (t % 3 != 0)


def test_an_untrained_gated_transition_carries_the_state_along(key):
    transition = GatedTransition(3, 4, key=key, action_dim=1)
    # With closed gates only the linear part is left, which starts as the identity.
    closed = eqx.tree_at(lambda t: t.gate.layers[-1].bias, transition, jnp.full(3, -100.0))
    state = jnp.asarray([0.5, -1.0, 2.0])
    np.testing.assert_allclose(closed(state, jnp.ones(1)).mean, state, atol=ALGEBRA)
    opened = eqx.tree_at(lambda t: t.gate.layers[-1].bias, transition, jnp.full(3, 100.0))
    proposal = transition.proposal(jnp.asarray([0.5, -1.0, 2.0, 1.0]))
    np.testing.assert_allclose(opened(state, jnp.ones(1)).mean, proposal, atol=ALGEBRA)
    assert np.all(transition(state, None).variance > 1e-6)


def count(build):
    leaves = jax.tree.leaves(eqx.filter_eval_shape(build))
    return sum(leaf.size for leaf in leaves if hasattr(leaf, "size"))


def layers(*sizes):
    return sum(b * (a + 1) for a, b in itertools.pairwise(sizes))


def lstm(size, width, depth=1):
    """Four gates of each layer, and where the layer's hidden and cell state start."""
    return sum(4 * width * (n + width + 1) + 2 * width for n in [size] + [width] * (depth - 1))


def test_published_sizes_have_the_numbers_of_weights_counted_by_hand(key):
    speech = speech_density(200, log_variance_bounds=VRNN_LOG_VARIANCE)
    expected = layers(200, 600, 600, 600, 600) + layers(200, 500, 500, 500, 500) + lstm(600 + 500, 2000)
    expected += layers(2000, 500, 500, 500, 500, 2 * 200) + layers(500 + 2000, 600, 600, 600, 600, 2 * 200)
    assert count(lambda: vrnn(speech, VRNN_SPEECH, key=key)) == expected == 31_641_600

    expected = lstm(200, 1024) + layers(1024 + 256, 512, 512, 2 * 256) + layers(1024 + 256, 512, 512, 2 * 200) + 256
    assert count(lambda: srnn(speech, SRNN_SPEECH, key=key)) == expected

    expected = lstm(88, 300) + layers(300 + 100, 500, 2 * 100) + layers(300 + 100, 500, 500, 88) + 100
    assert count(lambda: srnn(music_density(), SRNN_MUSIC, key=key)) == expected


@pytest.mark.parametrize(
    ("sizes", "density", "channels", "dim"),
    [
        (SVG_KTH, video_density(), (1, 2), 512),
        (SVG_ROBOT, video_density(64, 64, 3), (3, 6), 64),
        (SVG_MOVING_DIGITS, Bernoulli((64, 64)), (1, 1), 10),
    ],
)
def test_svg_has_the_numbers_of_weights_counted_by_hand(key, sizes, density, channels, dim):
    images = count(lambda: sizes.encoder(64, 128, key=key, in_channels=channels[0]))
    images += count(lambda: sizes.decoder(128, 64, key=key, out_channels=channels[1]))
    expected = images + lstm(128, 256) + layers(256, 2 * dim) + lstm(128 + dim, 256, 2) + layers(256, 128) + 128
    assert count(lambda: svg(density, sizes, key=key)) == expected


def test_densities_of_the_chapter():
    speech, video = speech_density(3), video_density(2, 2)
    assert (speech.num_features, video.num_features, music_density().num_features) == (6, 8, 88)
    # Bins of speech tile the line; the 256 grey values take all of the mass.
    marginal = speech(jnp.zeros(6)).base_dist
    step = 0.0018190742
    np.testing.assert_allclose(
        jnp.exp(marginal.log_prob(jnp.full(3, 7 * step))),
        scipy.stats.norm.cdf(7.5 * step) - scipy.stats.norm.cdf(6.5 * step),
        rtol=ALGEBRA,
    )
    grey = jnp.broadcast_to(jnp.arange(256)[:, None, None] / 256.0, (256, 2, 2))
    mass = jnp.exp(video(jnp.concatenate([jnp.zeros(4), jnp.full(4, -3.0)])).base_dist.log_prob(grey))
    np.testing.assert_allclose(jnp.sum(mass, axis=0), np.ones((2, 2)), atol=ALGEBRA)


def test_models_without_latents_or_images_are_refused(key):
    for build in (
        lambda: vrnn(VECTOR, VRNNSizes(0), key=key),
        lambda: srnn(VECTOR, SRNNSizes(0), key=key),
        lambda: svg(ConditionalGaussian((16, 16)), SVGSizes(0), key=key),
        lambda: deep_markov(VECTOR, 0, key=key),
        lambda: two_timescales(VECTOR, (2, 0), key=key),
    ):
        with pytest.raises(BadInputError, match="at least one latent variable"):
            build()
    with pytest.raises(BadInputError, match="square frames"):
        svg(VECTOR, SVG_TINY, key=key)
    with pytest.raises(BadInputError, match="period of at least one step"):
        two_timescales(VECTOR, (2, 1), 0, key=key)


def test_rectifiers_get_their_gain(key):
    relu = vrnn(VECTOR, VRNN_TINY, key=key).observation_features
    x_key = jr.split(key, 5)[0]
    plain = Features(5, 3, 1, key=x_key, activation=jax.nn.relu)
    np.testing.assert_allclose(relu.layers[0].weight, np.sqrt(2.0) * plain.layers[0].weight, rtol=ALGEBRA)
