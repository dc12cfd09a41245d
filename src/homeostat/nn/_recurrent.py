"""Networks that remember what they read before."""

import abc
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp

from ..typing import Array, Float, Key, PyTree
from ._dense import Dense


class AbstractRecurrent(eqx.Module):
    """A network with a hidden state."""

    @abc.abstractmethod
    def init(self) -> PyTree:
        """The hidden state before the first input."""

    @abc.abstractmethod
    def __call__(self, x: Float[Array, " in"], hidden: PyTree) -> tuple[Float[Array, " out"], PyTree]:
        """The output and the next hidden state."""


@final
class GRU(AbstractRecurrent):
    """Gated recurrent units and a linear output.

        h' = GRU(x, h),   y = W h' + b

    Attributes:
        cell: the units.
        output: W, b.

    References:
        Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014.
    """

    cell: eqx.nn.GRUCell
    output: Dense

    def __init__(self, in_size: int, out_size: int, width: int, *, key: Key, output_gain: float = 1.0):
        """`width` units; `output_gain` multiplies the initial weights of the output."""
        cell_key, output_key = jax.random.split(key)
        self.cell = eqx.nn.GRUCell(in_size, width, key=cell_key)
        self.output = Dense(width, out_size, key=output_key, gain=output_gain)

    def init(self) -> Float[Array, " width"]:
        return jnp.zeros(self.cell.hidden_size)

    def __call__(
        self, x: Float[Array, " in"], hidden: Float[Array, " width"]
    ) -> tuple[Float[Array, " out"], Float[Array, " width"]]:
        hidden = self.cell(x, hidden)
        return self.output(hidden), hidden
