"""Networks: against references written out by hand, at the edges of their shapes, and by their gradients."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import tolerances
from homeostat.nn import (
    MLP,
    Convolution,
    ConvolutionalDecoder,
    ConvolutionalEncoder,
    Dense,
    HighwayMLP,
    LayerNorm,
    PatchEmbedding,
    PatchExpansion,
    angle_of,
    direction_of,
    xavier_uniform,
)
from homeostat.results import BadInputError


def test_xavier_has_its_variance(key):
    weights = np.asarray(xavier_uniform(key, (400, 500), 400, 500))
    assert np.abs(weights).max() <= np.sqrt(6 / 900)
    variance, count = 2 / 900, weights.size
    # The square of a uniform variable has a variance of 4/5 of its squared mean.
    error = np.sqrt(0.8 / count) * variance
    assert abs(np.mean(weights**2) - variance) < tolerances.MONTE_CARLO_STANDARD_ERRORS * error


def test_mlp_is_its_layers(key):
    network = MLP(3, 2, 5, 2, key=key)
    x = jnp.asarray([0.3, -1.0, 2.0])
    expected = np.asarray(x)
    for layer in network.layers[:-1]:
        expected = np.asarray(layer.weight) @ expected + np.asarray(layer.bias)
        expected = np.where(expected > 0, expected, np.expm1(expected))
    expected = np.asarray(network.layers[-1].weight) @ expected
    np.testing.assert_allclose(network(x), expected, atol=tolerances.ALGEBRA)
    assert MLP(3, 2, 5, 2, key=key, output_gain=0.0)(x).tolist() == [0.0, 0.0]


def test_highway_gate_multiplies_the_carried_value(key):
    network = HighwayMLP(3, 2, 4, 2, key=key)
    x = jnp.asarray([0.3, -1.0, 2.0])

    def with_gates(bias):
        return eqx.tree_at(lambda n: [g.bias for g in n.gates], network, [jnp.full(4, bias)] * 2)

    # Open gates carry the projection of the input past both layers; shut gates leave a plain stack of layers.
    carried = network.output(network.projection(x))
    np.testing.assert_allclose(with_gates(100.0)(x), carried, atol=tolerances.ALGEBRA)
    stacked = network.output(jax.nn.elu(network.layers[1](jax.nn.elu(network.layers[0](x)))))
    np.testing.assert_allclose(with_gates(-100.0)(x), stacked, atol=tolerances.ALGEBRA)
    half = with_gates(0.3)(x)
    assert not np.allclose(half, carried) and not np.allclose(half, stacked)


def test_layer_norm_has_mean_zero_and_variance_one(key):
    normal = LayerNorm(0.0)(3.0 + 5.0 * jr.normal(key, (50,)))
    np.testing.assert_allclose([np.mean(normal), np.var(normal)], [0.0, 1.0], atol=tolerances.ALGEBRA)


@pytest.mark.parametrize(
    ("height", "width", "side", "stride"), [(6, 6, 3, 1), (7, 5, 3, 2), (8, 8, 4, 2), (5, 9, 1, 3)]
)
def test_convolution_is_the_library_one(key, height, width, side, stride):
    layer = Convolution(2, 3, side, stride, key=key)
    layer = eqx.tree_at(lambda c: c.bias, layer, jnp.asarray([0.1, -0.2, 0.3]))
    image = jr.normal(jr.key(7), (height, width, 2))
    expected = jax.lax.conv_general_dilated(
        image[None], layer.weight, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )[0]
    np.testing.assert_allclose(layer(image), expected + layer.bias[None, None, :], atol=tolerances.ALGEBRA)


def test_patch_embedding_is_a_strided_convolution(key):
    layer = PatchEmbedding(2, 5, 4, key=key)
    image = jr.normal(jr.key(7), (8, 12, 2))
    expected = jax.lax.conv_general_dilated(
        image[None], layer.weight.reshape(4, 4, 2, 5), (4, 4), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )[0]
    np.testing.assert_allclose(layer(image), expected, atol=tolerances.ALGEBRA)


def test_patch_expansion_is_the_transpose_of_embedding(key):
    embedding, expansion = PatchEmbedding(2, 5, 4, key=key), PatchExpansion(5, 2, 4, key=key)
    expansion = eqx.tree_at(lambda e: e.weight, expansion, embedding.weight.T)
    image_key, grid_key = jr.split(jr.key(7))
    image, grid = jr.normal(image_key, (8, 12, 2)), jr.normal(grid_key, (2, 3, 5))
    np.testing.assert_allclose(
        jnp.sum(embedding(image) * grid), jnp.sum(image * expansion(grid)), rtol=tolerances.ALGEBRA
    )


def test_encoder_and_decoder_have_the_shapes_they_say_and_learn_everywhere(key):
    encoder = ConvolutionalEncoder(16, 7, key=key, channels=(4, 5), width=8)
    decoder = ConvolutionalDecoder(7, 16, key=key, channels=(4, 5), width=8)
    image = jr.normal(jr.key(7), (16, 16))
    assert encoder(image).shape == (7,) and decoder(encoder(image)).shape == (16, 16)

    def loss(pair):
        return jnp.sum((pair[1](pair[0](image)) - image) ** 2)

    for leaf in jax.tree.leaves(eqx.filter_jit(eqx.filter_grad(loss))((encoder, decoder))):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0


def test_wrong_sizes_are_refused(key):
    with pytest.raises(BadInputError, match="multiple of 8"):
        ConvolutionalEncoder(20, 3, key=key)
    with pytest.raises(BadInputError, match="multiple of 8"):
        ConvolutionalDecoder(3, 20, key=key)
    with pytest.raises(BadInputError, match="multiples of the patch"):
        PatchEmbedding(1, 3, 4, key=key)(jnp.zeros((6, 8, 1)))
    with pytest.raises(BadInputError, match="at least one hidden layer"):
        HighwayMLP(3, 2, 4, 0, key=key)
    with pytest.raises(BadInputError, match="out_size of at least 1"):
        Dense(3, 0, key=key)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_circular_head_inverts_its_target_and_ignores_length(order):
    angles = jnp.linspace(-jnp.pi / order + 0.01, jnp.pi / order - 0.01, 17)
    for angle in angles:
        np.testing.assert_allclose(angle_of(3.7 * direction_of(angle, order), order), angle, atol=tolerances.ALGEBRA)
    # Names of the same picture have the same target.
    np.testing.assert_allclose(
        direction_of(angles[3] + 2 * jnp.pi / order, order), direction_of(angles[3], order), atol=tolerances.ALGEBRA
    )


def test_circular_head_has_a_finite_slope_at_the_origin():
    assert np.isfinite(eqx.filter_jit(jax.grad(lambda d: angle_of(d, 2)))(jnp.zeros(2))).all()
