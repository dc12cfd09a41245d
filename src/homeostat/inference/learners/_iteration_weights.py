"""Which iterations of an engine teach the engine, and which teach the model."""

import abc
from typing import final

import equinox as eqx


class AbstractIterationWeights(eqx.Module):
    """Which iterations teach."""

    @abc.abstractmethod
    def weights(self, num_steps: int) -> tuple[float, ...]:
        """Weight of F(lambda_k) for k = 1..num_steps; they sum to one."""


@final
class AllIterations(AbstractIterationWeights):
    """1/K each: the average over iterations.

    References:
        Marino (thesis), Sec. 3.5, "averaging over inference iterations".
    """

    def weights(self, num_steps: int) -> tuple[float, ...]:
        return (1.0 / num_steps,) * num_steps


@final
class LastIteration(AbstractIterationWeights):
    """The last only: the best estimate there is."""

    def weights(self, num_steps: int) -> tuple[float, ...]:
        return (0.0,) * (num_steps - 1) + (1.0,)


@final
class FirstIteration(AbstractIterationWeights):
    """The first only: an encoder that is refined by something else learns from its own estimate.

    References:
        Krishnan, Liang and Hoffman, "On the challenges of learning with inference networks on sparse, high-dimensional data",
        AISTATS 2018, Algorithm 1.
    """

    def weights(self, num_steps: int) -> tuple[float, ...]:
        return (1.0,) + (0.0,) * (num_steps - 1)
