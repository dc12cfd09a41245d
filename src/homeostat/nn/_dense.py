"""Dense networks: Xavier-initialised layers, plain and highway stacks, stacks without an output layer; layer normalisation."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ..results import BadInputError
from ..typing import Array, Float, Key, Nonlinearity


def xavier_uniform(key: Key, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Array:
    """Weights ~ U(-a, a) with a = sqrt(6 / (fan_in + fan_out)).

    References:
        Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010, Eq. 16.
    """
    bound = (6.0 / (fan_in + fan_out)) ** 0.5
    return jr.uniform(key, shape, minval=-bound, maxval=bound)


@final
class Dense(eqx.Module):
    """W x + b with Xavier-uniform W and b = 0.

    Attributes:
        weight: W.
        bias: b.
    """

    weight: Float[Array, "out in"]
    bias: Float[Array, " out"]

    def __init__(self, in_size: int, out_size: int, *, key: Key, gain: float = 1.0):
        """`gain` multiplies the initial weights; 0 starts the layer at zero output."""
        if min(in_size, out_size) < 1:
            raise BadInputError(f"Expected in_size and out_size of at least 1, got {in_size} and {out_size}.")
        self.weight = gain * xavier_uniform(key, (out_size, in_size), in_size, out_size)
        self.bias = jnp.zeros(out_size)

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        return x @ self.weight.T + self.bias


@final
class LayerNorm(eqx.Module):
    """Normalise one vector: (x - mean x) / sqrt(var x + epsilon), without learned scale.

    Attributes:
        epsilon: added to the variance.
    """

    epsilon: float = 1e-5

    def __call__(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        return (x - jnp.mean(x)) * jax.lax.rsqrt(jnp.var(x) + self.epsilon)


@final
class MLP(eqx.Module):
    """Dense layers with a nonlinearity between them, and a linear output.

    Attributes:
        norm: before every nonlinearity, if any.
    """

    layers: tuple[Dense, ...]
    activation: Nonlinearity = eqx.field(static=True)
    norm: LayerNorm | None = None

    def __init__(
        self,
        in_size: int,
        out_size: int,
        width: int,
        depth: int,
        *,
        key: Key,
        activation: Nonlinearity = jax.nn.elu,
        output_gain: float = 1.0,
        normalize: bool = False,
    ):
        """Build the network.

        Args:
            width: units in each hidden layer.
            depth: hidden layers; 0 for a linear map.
            output_gain: multiplies the initial weights of the output layer.
            normalize: layer normalisation before every nonlinearity.
        """
        sizes = [in_size] + [width] * depth + [out_size]
        keys = jr.split(key, depth + 1)
        gains = [1.0] * depth + [output_gain]
        self.layers = tuple(
            Dense(a, b, key=k, gain=g) for a, b, k, g in zip(sizes[:-1], sizes[1:], keys, gains, strict=True)
        )
        self.activation = activation
        self.norm = LayerNorm() if normalize else None

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        for layer in self.layers[:-1]:
            x = layer(x) if self.norm is None else self.norm(layer(x))
            x = self.activation(x)
        return self.layers[-1](x)


@final
class HighwayMLP(eqx.Module):
    """Hidden layers that carry their input past a gate, and a linear output.

        h_0 = V x,   g_l = sigmoid(G_l h_l + c_l),   h_{l+1} = g_l * h_l + (1 - g_l) * activation(W_l h_l + b_l)

    The gate multiplies the *carried* value (Srivastava et al. multiply the new one); the first layer carries a linear
    projection of the input.

    Attributes:
        projection: V.
        layers: W_l, b_l.
        gates: G_l, c_l.

    References:
        Marino, Yue and Mandt, "Iterative amortized inference", ICML 2018, and its code; Srivastava, Greff and
        Schmidhuber, "Training very deep networks", NeurIPS 2015.
    """

    projection: Dense
    layers: tuple[Dense, ...]
    gates: tuple[Dense, ...]
    output: Dense
    activation: Nonlinearity = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        out_size: int,
        width: int,
        depth: int,
        *,
        key: Key,
        activation: Nonlinearity = jax.nn.elu,
        output_gain: float = 1.0,
    ):
        """Build the network; arguments as for `MLP`, with at least one hidden layer."""
        if depth < 1:
            raise BadInputError(
                f"Expected at least one hidden layer, got depth={depth}: for a linear map, use `Dense`."
            )
        projection_key, output_key, *keys = jr.split(key, 2 + 2 * depth)
        self.projection = Dense(in_size, width, key=projection_key)
        # The first layer and its gate read the input itself.
        sizes = [in_size] + [width] * (depth - 1)
        self.layers = tuple(Dense(size, width, key=k) for size, k in zip(sizes, keys[:depth], strict=True))
        self.gates = tuple(Dense(size, width, key=k) for size, k in zip(sizes, keys[depth:], strict=True))
        self.output = Dense(width, out_size, key=output_key, gain=output_gain)
        self.activation = activation

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        carried = self.projection(x)
        for layer, gate in zip(self.layers, self.gates, strict=True):
            open_share = jax.nn.sigmoid(gate(x))
            carried = open_share * carried + (1.0 - open_share) * self.activation(layer(x))
            x = carried
        return self.output(carried)


RELU_GAIN = 2.0**0.5
"""Multiplies Xavier's weights in front of a rectifier, which halves the second moment of what passes it (He et al., 2015)."""


def clipped_leaky_relu(x: Array) -> Array:
    """x for x > 0 and x / 3 below, clipped to [-3, 3].

    References:
        Fraccaro et al., "Sequential neural models with stochastic layers", NeurIPS 2016 (code); the code of Marino, Cvitkovic
        and Yue (2018).
    """
    return jnp.clip(jnp.where(x > 0.0, x, x / 3.0), -3.0, 3.0)


@final
class Features(eqx.Module):
    """Dense layers with a nonlinearity after every one, the last included: features for other layers to read."""

    layers: tuple[Dense, ...]
    activation: Nonlinearity = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        width: int,
        depth: int,
        *,
        key: Key,
        activation: Nonlinearity = jax.nn.elu,
        gain: float = 1.0,
    ):
        """Build the network.

        Args:
            width: units in each layer, the length of the output.
            depth: layers, at least one.
            gain: multiplies the initial weights; `RELU_GAIN` for rectifiers.
        """
        if depth < 1:
            raise BadInputError(f"Expected at least one layer, got depth={depth}.")
        sizes = [in_size] + [width] * (depth - 1)
        keys = jr.split(key, depth)
        self.layers = tuple(Dense(size, width, key=k, gain=gain) for size, k in zip(sizes, keys, strict=True))
        self.activation = activation

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " width"]:
        for layer in self.layers:
            x = self.activation(layer(x))
        return x
