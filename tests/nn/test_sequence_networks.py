"""Long short-term memory, stacks of features, and networks of video models: against references written out by hand."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import tolerances
from homeostat.nn import (
    LSTM,
    RELU_GAIN,
    DCGANDecoder,
    DCGANEncoder,
    Features,
    GroupNorm,
    LSTMState,
    VGGDecoder,
    VGGEncoder,
    clipped_leaky_relu,
)
from homeostat.nn._images import Upsampling
from homeostat.results import BadInputError
from references import lstm_step


def test_lstm_is_the_textbook_one(key):
    network = LSTM(3, 4, 2, key=key)
    start = LSTMState(*(0.5 * jr.normal(jr.key(i), (2, 4)) for i in (1, 2)))
    network = eqx.tree_at(lambda n: (n.start.hidden, n.start.cell), network, tuple(start))
    x, state = jnp.asarray([0.3, -1.0, 2.0]), network.init()
    hidden, cell = np.asarray(start.hidden), np.asarray(start.cell)
    for _ in range(3):
        output, state = network(x, state)
        hidden, cell = lstm_step(network, np.asarray(x), hidden, cell)
        np.testing.assert_allclose(output, hidden[-1], atol=tolerances.ALGEBRA)
        np.testing.assert_allclose(state.top, hidden[-1], atol=tolerances.ALGEBRA)
        np.testing.assert_allclose(state.cell, cell, atol=tolerances.ALGEBRA)


def test_lstm_starts_at_zero_and_learns_where_it_starts(key):
    network = LSTM(2, 3, key=key)
    assert network.width == 3 and not np.any(network.init().hidden) and not np.any(network.init().cell)

    def after_two(n):
        x = jnp.ones(2)
        return jnp.sum(n(x, n(x, n.init())[1])[0])

    gradient = eqx.filter_jit(eqx.filter_grad(after_two))(network)
    for leaf in jax.tree.leaves(gradient):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0
    with pytest.raises(BadInputError, match="at least one layer"):
        LSTM(2, 3, 0, key=key)


def test_features_are_activated_to_the_last_layer(key):
    network = Features(3, 4, 2, key=key, activation=jax.nn.relu, gain=RELU_GAIN)
    x = jnp.asarray([0.3, -1.0, 2.0])
    expected = np.asarray(x)
    for layer in network.layers:
        expected = np.maximum(np.asarray(layer.weight) @ expected + np.asarray(layer.bias), 0.0)
    np.testing.assert_allclose(network(x), expected, atol=tolerances.ALGEBRA)
    plain = Features(3, 4, 2, key=key)
    for scaled, layer in zip(network.layers, plain.layers, strict=True):
        np.testing.assert_allclose(scaled.weight, np.sqrt(2.0) * layer.weight, atol=tolerances.ALGEBRA)
    with pytest.raises(BadInputError, match="at least one layer"):
        Features(3, 4, 0, key=key)


def test_clipped_leaky_relu_at_its_corners():
    x = jnp.asarray([-12.0, -9.0, -3.0, 0.0, 2.0, 3.0, 5.0])
    expected = [-3.0, -3.0, -1.0, 0.0, 2.0, 3.0, 3.0]
    np.testing.assert_allclose(clipped_leaky_relu(x), expected, atol=tolerances.ALGEBRA)


def test_group_norm_normalises_each_group(key):
    norm = GroupNorm(6, 4)
    assert norm.groups == 2
    norm = eqx.tree_at(lambda n: (n.scale, n.offset), norm, (jnp.arange(1.0, 7.0), jnp.arange(6.0)))
    grid = 3.0 + 5.0 * jr.normal(key, (4, 5, 6))
    expected = np.empty((4, 5, 6))
    for group in range(2):
        part = np.asarray(grid)[:, :, 3 * group : 3 * group + 3]
        expected[:, :, 3 * group : 3 * group + 3] = (part - part.mean()) / np.sqrt(part.var() + 1e-5)
    expected = expected * np.arange(1.0, 7.0) + np.arange(6.0)
    np.testing.assert_allclose(norm(grid), expected, atol=tolerances.ALGEBRA)


def test_upsampling_is_the_gradient_of_a_strided_convolution(key):
    layer = Upsampling(2, 3, key=key)
    layer = eqx.tree_at(lambda n: n.bias, layer, jnp.asarray([0.1, -0.2, 0.3]))
    grid = jr.normal(jr.key(7), (5, 4, 2))

    def down(image):
        kernel = layer.weight.transpose(0, 1, 3, 2)
        return jax.lax.conv_general_dilated(
            image[None], kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )[0]

    _, back = jax.vjp(down, jnp.zeros((10, 8, 3)))
    np.testing.assert_allclose(layer(grid), back(grid)[0] + layer.bias[None, None, :], atol=tolerances.ALGEBRA)


@pytest.mark.parametrize(
    ("encoder", "decoder", "channels"),
    [
        (DCGANEncoder, DCGANDecoder, {"channels": (4, 6)}),
        (VGGEncoder, VGGDecoder, {"stacks": ((4, 4), (6, 6, 6))}),
        pytest.param(VGGEncoder, VGGDecoder, {"stacks": ((4,), (6,))}, marks=pytest.mark.slow),
    ],
)
def test_image_networks_have_the_shapes_they_say_and_learn_everywhere(key, encoder, decoder, channels):
    down = encoder(16, 5, key=key, in_channels=3, **channels)
    up = decoder(5, 16, key=key, out_channels=2, **channels)
    image = jr.normal(jr.key(7), (16, 16, 3))

    def loss(pair):
        code = pair[0](image)
        return jnp.sum((pair[1](code) - image[:, :, :2]) ** 2), code

    (_, code), gradient = eqx.filter_jit(eqx.filter_value_and_grad(loss, has_aux=True))((down, up))
    assert code.shape == (5,) and np.abs(code).max() < 1
    for leaf in jax.tree.leaves(gradient):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0


def test_published_sizes_have_the_published_layers(key):
    """Weights of the layers as the published code lists them, without the connections that chapter 4 switches off."""

    def count(build):
        return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter_eval_shape(build)) if hasattr(leaf, "size"))

    def convolution(a, b, area=9):
        return area * a * b + 3 * b  # Weights, a bias, and the scale and offset of the norm.

    encoder = [(1, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256), (256, 512)]
    encoder += [(512, 512), (512, 512)]
    decoder = [(512, 512), (512, 512), (512, 256), (256, 256), (256, 256), (256, 128), (128, 128), (128, 64), (64, 64)]
    code = 16 * 512 * 128 + 128
    assert count(lambda: VGGEncoder(64, 128, key=key)) == sum(convolution(*pair) for pair in encoder) + code
    first, output = convolution(128, 512, 16), 9 * 64 * 2 + 2
    expected = first + sum(convolution(*pair) for pair in decoder) + output
    assert count(lambda: VGGDecoder(128, 64, key=key, out_channels=2)) == expected
    strided = [(1, 64), (64, 128), (128, 256), (256, 512)]
    assert count(lambda: DCGANEncoder(64, 128, key=key)) == sum(convolution(*pair, 16) for pair in strided) + code
    back = [(512, 256), (256, 128), (128, 64)]
    expected = first + sum(convolution(*pair, 16) for pair in back) + 16 * 64 + 1
    assert count(lambda: DCGANDecoder(128, 64, key=key)) == expected


def test_wrong_image_sizes_are_refused(key):
    for build in (VGGEncoder, DCGANEncoder):
        with pytest.raises(BadInputError, match="images of 64 x 64"):
            build(60, 5, key=key)
    for build in (VGGDecoder, DCGANDecoder):
        with pytest.raises(BadInputError, match="images of 64 x 64"):
            build(5, 60, key=key)
