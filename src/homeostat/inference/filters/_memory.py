"""A recurrence of a filter's own, beside that of its model."""

import abc
from collections.abc import Callable
from typing import NamedTuple, final

import equinox as eqx
import jax.numpy as jnp

from ...nn import AbstractRecurrent
from ...objectives import Evidence
from ...typing import Array, Carry, Float, PyTree


class StepContext(NamedTuple):
    """What an encoder may read of a step besides the observation, as `Evidence.context`.

    Attributes:
        carry: h_t of the model; for a Markov model the prediction of the state.
        memory: the filter's own memory, after x_t; None for a filter without one.
    """

    carry: Carry
    memory: PyTree


class AbstractMemory(eqx.Module):
    """m_t = memory(m_{t-1}, x_t, h_t): what a hand-crafted filter keeps of past observations by itself.

    It moves once for every observation, before the engine runs, and stays where it is if nothing was observed.
    """

    @abc.abstractmethod
    def init(self) -> PyTree:
        """m_0."""

    @abc.abstractmethod
    def __call__(self, memory: PyTree, evidence: Evidence) -> PyTree:
        """m_t; `evidence.context.memory` is still m_{t-1}, and missing entries of `evidence.observation` are zero."""


class RecurrentState(NamedTuple):
    """Output and hidden state of a recurrent network.

    Attributes:
        output: y_t.
        hidden: what it remembers.
    """

    output: Float[Array, " n"]
    hidden: PyTree


@final
class RecurrentMemory(AbstractMemory):
    """y_t, m_t = network(features(x_t, h_t), m_{t-1}): the posterior's recurrent network of SVG, for one.

    Attributes:
        network: any recurrent network; an encoder reads its output as `args.context.memory.output`.
        features: maps the evidence of a step to the input of the network.
        output_size: numbers that the network puts out.

    References:
        Denton and Fergus, "Stochastic video generation with a learned prior", ICML 2018; Marino (thesis), Fig. 4.2.
    """

    network: AbstractRecurrent
    features: Callable[[Evidence], Float[Array, " n"]]
    output_size: int = eqx.field(static=True)

    def init(self) -> RecurrentState:
        return RecurrentState(jnp.zeros(self.output_size), self.network.init())

    def __call__(self, memory: RecurrentState, evidence: Evidence) -> RecurrentState:
        return RecurrentState(*self.network(self.features(evidence), memory.hidden))
