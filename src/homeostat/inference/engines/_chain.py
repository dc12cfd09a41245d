"""Engines made of others: one after another on the same parameters, or run without being differentiated."""

from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp

from ...core import AbstractEngine, StepInfo
from ...results import BadInputError
from ...typing import Array, Int, Params, PyTree


class ChainState(NamedTuple):
    """States of all engines, and the number of steps taken."""

    states: tuple[PyTree, ...]
    count: Int[Array, ""]


@final
class Chain(AbstractEngine[Params, ChainState]):
    """Run each engine for its number of steps, the last one for the rest: `Direct` then `Gradient` is semi-amortized.

    Attributes:
        engines: the engines, in order.
        num_steps: steps of every engine but the last.

    References:
        Kim et al., "Semi-amortized variational autoencoders", ICML 2018.
    """

    engines: tuple[AbstractEngine, ...]
    num_steps: tuple[int, ...] = eqx.field(static=True)

    def __check_init__(self):
        if len(self.num_steps) != len(self.engines) - 1:
            raise BadInputError(
                f"Expected the number of steps of every engine but the last, {len(self.engines) - 1} numbers, got "
                f"{self.num_steps}."
            )

    def init(self, objective, family, params, args):
        states = tuple(engine.init(objective, family, params, args) for engine in self.engines)
        return ChainState(states, jnp.zeros((), jnp.int32))

    def step(self, objective, family, params, args, state, *, key):
        arrays, static = eqx.partition(state.states, eqx.is_array)
        boundaries = jnp.cumsum(jnp.asarray((*self.num_steps, 0), jnp.int32))[:-1]

        def branch(index):
            def run(operand):
                params, arrays = operand
                states = eqx.combine(arrays, static)
                engine = self.engines[index]
                params, new_state, info = engine.step(objective, family, params, args, states[index], key=key)
                states = (*states[:index], new_state, *states[index + 1 :])
                # Some engines compute a gradient and some do not, but branches must be alike.
                return params, eqx.filter(states, eqx.is_array), StepInfo(info.energy_nats)

            return run

        active = jnp.sum(state.count >= boundaries)
        branches = [branch(index) for index in range(len(self.engines))]
        params, arrays, info = jax.lax.switch(active, branches, (params, arrays))
        return params, ChainState(eqx.combine(arrays, static), state.count + 1), info


@final
class StopGradient(AbstractEngine[Params, PyTree]):
    """Another engine's steps, through which no gradient flows: neither to where it starts, nor to the model, nor to itself.

    An engine that has nothing to learn is then only run, which is what variational expectation maximisation asks for, and an
    encoder before it (`Chain`) learns from its own estimate.

    Attributes:
        engine: makes the steps.
    """

    engine: AbstractEngine

    def init(self, objective, family, params, args):
        return self.engine.init(objective, family, params, args)

    def step(self, objective, family, params, args, state, *, key):
        arrays, rest = eqx.partition((self.engine, objective, family, params, args, state), eqx.is_array)
        engine, *given, state = eqx.combine(jax.lax.stop_gradient(arrays), rest)
        params, state, info = engine.step(*given, state, key=key)
        return jax.lax.stop_gradient(params), state, info
