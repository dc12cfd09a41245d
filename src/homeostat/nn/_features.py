"""Stacks of hidden layers without an output layer, and the nonlinearities of published sequence models."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ..results import BadInputError
from ..typing import Array, Float, Key, Nonlinearity
from ._dense import Dense

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
