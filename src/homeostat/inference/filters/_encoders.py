"""Encoders of hand-crafted filters: what `Direct` reads of x_t, of the model's carry and of the filter's own memory."""

from collections.abc import Callable
from typing import final

import equinox as eqx
import jax.numpy as jnp

from ...nn import Dense, LayerNorm
from ...objectives import Evidence
from ...typing import Array, Carry, Float
from ..engines import BoundLogScale

LOG_SCALE_BOUND = BoundLogScale(-7.5, 2.5)
"""Log variances of a posterior in [-15, 5], as in the code of Marino, Cvitkovic and Yue (2018)."""


@final
class NormalizedMean(eqx.Module):
    """Layer-normalises the first half of an estimate [mu, log sigma], after another bound.

    It holds the samples of the past that reach a recurrent model to one scale, which the authors found to help where an update
    rule may take long steps.

    Attributes:
        bound: applied before.
        norm: without learned scale.

    References:
        Marino, Cvitkovic and Yue, "A general method for amortizing variational filtering", NeurIPS 2018, appendix B.
    """

    bound: Callable[[Float[Array, " k"]], Float[Array, " k"]] = LOG_SCALE_BOUND
    norm: LayerNorm = LayerNorm()

    def __call__(self, estimate: Float[Array, " k"]) -> Float[Array, " k"]:
        loc, log_scale = jnp.split(self.bound(estimate), 2)
        return jnp.concatenate([self.norm(loc), log_scale])


@final
class FlatReader(eqx.Module):
    """The observation as one vector of floating-point numbers."""

    def __call__(self, observation: Array) -> Float[Array, " n"]:
        return jnp.ravel(jnp.asarray(observation, jnp.result_type(float)))


@final
class FlatFeatures(eqx.Module):
    """A network on the observation as one vector.

    Attributes:
        network: the network.
    """

    network: Callable[[Array], Array]

    def __call__(self, observation: Array) -> Float[Array, " f"]:
        return self.network(FlatReader()(observation))


@final
class FrameCode(eqx.Module):
    """The code of a frame of grey values or colours in [0, 1], from an image network.

    Attributes:
        network: frame, height x width x channels, minus 1/2, to its code.
    """

    network: Callable[[Array], Array]

    def __call__(self, observation: Array) -> Float[Array, " code"]:
        frame = jnp.asarray(observation, jnp.result_type(float))
        return self.network(frame.reshape(*frame.shape[:2], -1) - 0.5)


@final
class CarryEncoder(eqx.Module):
    """[mu, log sigma] = network([reader(x_t), past(h_t)]): a posterior from what is seen and what the model remembers.

    Attributes:
        reader: features of the observation.
        past: what of the carry is read, as a vector; a plain function.
        network: to the flat parameters.
        bound: applied to them.
    """

    reader: Callable[[Array], Float[Array, " f"]]
    past: Callable[[Carry], Float[Array, " h"]] = eqx.field(static=True)
    network: Callable[[Array], Array]
    bound: Callable[[Float[Array, " k"]], Float[Array, " k"]] = LOG_SCALE_BOUND

    def __call__(self, args: Evidence) -> Float[Array, " k"]:
        inputs = [self.reader(args.observation), self.past(args.context.carry)]
        return self.bound(self.network(jnp.concatenate(inputs)))


@final
class MemoryEncoder(eqx.Module):
    """[mu, log sigma] = W y_t + b, with y_t the output of the filter's own `RecurrentMemory`, which has read x_t already.

    Attributes:
        head: W, b.
        bound: applied to the parameters.
    """

    head: Dense
    bound: Callable[[Float[Array, " k"]], Float[Array, " k"]] = LOG_SCALE_BOUND

    def __call__(self, args: Evidence) -> Float[Array, " k"]:
        return self.bound(self.head(args.context.memory.output))


@final
class ObservationFeatures(eqx.Module):
    """reader(x) of the evidence of a step, for a `RecurrentMemory` or for `Data` in an update network.

    Attributes:
        reader: features of the observation.
    """

    reader: Callable[[Array], Float[Array, " f"]]

    def __call__(self, args: Evidence) -> Float[Array, " f"]:
        return self.reader(args.observation)
