"""Gradient descent on the parameters of a distribution, with any optax optimiser."""

from typing import final

import equinox as eqx
import jax
import optax

from ...core import AbstractEngine, StepInfo, check_differentiable
from ...typing import Params


@final
class Gradient(AbstractEngine[Params, optax.OptState]):
    """lambda_{k+1} = lambda_k - optimizer(grad F(lambda_k)): stochastic variational inference, or gradient planning.

    Attributes:
        optimizer: any `optax` transformation.

    References:
        Marino (thesis), Sec. 2.3; the pathwise gradient is its Eq. 2.27.
    """

    optimizer: optax.GradientTransformation = eqx.field(static=True)

    def init(self, objective, family, params, args):
        check_differentiable(objective, family)
        return self.optimizer.init(params)

    def step(self, objective, family, params, args, state, *, key):
        energy, gradient = jax.value_and_grad(lambda p: objective(family(p), args, key=key))(params)
        updates, state = self.optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)  # pyright: ignore[reportAssignmentType]
        return params, state, StepInfo(energy, jax.lax.stop_gradient(gradient))
