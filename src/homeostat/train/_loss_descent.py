"""Gradient descent on a loss of a module: for networks that are taught by something other than a free energy."""

from collections.abc import Callable
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from ..core import AbstractLearner
from ..typing import Key, PyTree, Scalar


class LossDescentState(NamedTuple):
    """A module and its optimiser's state."""

    module: PyTree
    optimizer: optax.OptState


class LossMetrics(NamedTuple):
    """The loss before an update, in nats."""

    loss_nats: Scalar


@final
class LossDescent(AbstractLearner[LossDescentState, LossMetrics]):
    """module <- module - optimizer(grad loss(module, batch)); a gradient that is not finite counts as zero.

    Attributes:
        module: where learning starts.
        loss: `loss(module, batch, key=key)`, a scalar in nats.
        optimizer: for every floating-point array of the module.
    """

    module: PyTree
    loss: Callable[..., Scalar] = eqx.field(static=True)
    optimizer: optax.GradientTransformation = eqx.field(static=True)

    def init(self, *, key: Key) -> LossDescentState:
        return LossDescentState(self.module, self.optimizer.init(eqx.filter(self.module, eqx.is_inexact_array)))

    def update(self, state: LossDescentState, batch: PyTree, *, key: Key) -> tuple[LossDescentState, LossMetrics]:
        value, gradient = eqx.filter_value_and_grad(self.loss)(state.module, batch, key=key)
        finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(gradient)]))
        # A single impossible datum must not end the training.
        gradient = jax.tree.map(lambda leaf: jnp.where(finite, leaf, jnp.zeros_like(leaf)), gradient)
        learned = eqx.filter(state.module, eqx.is_inexact_array)
        updates, optimizer = self.optimizer.update(gradient, state.optimizer, learned)
        return LossDescentState(eqx.apply_updates(state.module, updates), optimizer), LossMetrics(value)
