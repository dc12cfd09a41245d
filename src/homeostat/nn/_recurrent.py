"""Networks that remember what they read before."""

import abc
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp

from ..results import BadInputError
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


class LSTMState(NamedTuple):
    """State of an `LSTM`; layers share an array, because a scan carries few large arrays faster than many small ones.

    Attributes:
        hidden: h of every layer, the lowest first.
        cell: c of every layer.
    """

    hidden: Float[Array, "depth width"]
    cell: Float[Array, "depth width"]

    @property
    def top(self) -> Float[Array, " width"]:
        """h of the topmost layer, which is what other networks read."""
        return self.hidden[-1]


@final
class LSTM(AbstractRecurrent):
    """Layers of long short-term memory; the output is the topmost layer's h.

        i, f, g, o = W x + U h + b,   c' = sigmoid(f) c + sigmoid(i) tanh(g),   h' = sigmoid(o) tanh(c')

    The state before the first input is learned and starts at zero.

    Attributes:
        cells: one for each layer, the lowest first.
        start: the learned first state.

    References:
        Hochreiter and Schmidhuber, "Long short-term memory", 1997, with the forget gate of Gers et al. (2000); the learned first
        state is that of the code of Marino, Cvitkovic and Yue (2018).
    """

    cells: tuple[eqx.nn.LSTMCell, ...]
    start: LSTMState

    def __init__(self, in_size: int, width: int, depth: int = 1, *, key: Key):
        """`depth` layers of `width` units."""
        if depth < 1:
            raise BadInputError(f"Expected at least one layer, got depth={depth}.")
        sizes = [in_size] + [width] * (depth - 1)
        keys = jax.random.split(key, depth)
        self.cells = tuple(eqx.nn.LSTMCell(size, width, key=k) for size, k in zip(sizes, keys, strict=True))
        self.start = LSTMState(jnp.zeros((depth, width)), jnp.zeros((depth, width)))

    @property
    def width(self) -> int:
        """Units of a layer, the length of the output."""
        return self.start.hidden.shape[-1]

    def init(self) -> LSTMState:
        return self.start

    def __call__(self, x: Float[Array, " in"], hidden: LSTMState) -> tuple[Float[Array, " width"], LSTMState]:
        rows = []
        for index, cell in enumerate(self.cells):
            x, memory = cell(x, (hidden.hidden[index], hidden.cell[index]))
            rows.append((x, memory))
        return x, LSTMState(jnp.stack([row[0] for row in rows]), jnp.stack([row[1] for row in rows]))
