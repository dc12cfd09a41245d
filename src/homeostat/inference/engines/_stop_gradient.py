"""Running an engine without differentiating through it."""

from typing import final

import equinox as eqx
import jax

from ...core import AbstractEngine, AbstractFamily, AbstractObjective, StepInfo
from ...typing import Key, Params, PyTree


@final
class StopGradient(AbstractEngine[Params, PyTree]):
    """Another engine's steps, through which no gradient flows: neither to where it starts, nor to the model, nor to itself.

    An engine that has nothing to learn is then only run, which is what variational expectation maximisation asks for, and an
    encoder before it (`Chain`) learns from its own estimate.

    Attributes:
        engine: makes the steps.
    """

    engine: AbstractEngine

    def init(
        self, objective: AbstractObjective, family: AbstractFamily[Params], params: Params, args: PyTree
    ) -> PyTree:
        return self.engine.init(objective, family, params, args)

    def step(
        self,
        objective: AbstractObjective,
        family: AbstractFamily[Params],
        params: Params,
        args: PyTree,
        state: PyTree,
        *,
        key: Key,
    ) -> tuple[Params, PyTree, StepInfo]:
        arrays, rest = eqx.partition((self.engine, objective, family, params, args, state), eqx.is_array)
        engine, *given, state = eqx.combine(jax.lax.stop_gradient(arrays), rest)
        params, state, info = engine.step(*given, state, key=key)
        return jax.lax.stop_gradient(params), state, info
