"""Training that is interrupted now and then to measure the norms of gradients during inference."""

from typing import Any, NamedTuple, final

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ...core import AbstractLearner
from ...inference import EnergyDescent, EnergyDescentState, ModelWithEngine
from ...runs import RunContext
from ...train import InMemoryLoader
from ...typing import Array, Float, Key, PyTree
from ..kit import Training
from ._common import InferenceMethod
from ._data import SplitData
from ._racing import mean_gradient_norms, path_of


@final
class Continued(AbstractLearner[EnergyDescentState, Any]):
    """A learner that goes on from a given state, so that a long training can be looked at in between.

    Attributes:
        learner: does the updates.
        state: where it goes on.
    """

    learner: EnergyDescent
    state: EnergyDescentState

    def init(self, *, key: Key) -> EnergyDescentState:
        return self.state

    def update(self, state: EnergyDescentState, batch: PyTree, *, key: Key) -> tuple[EnergyDescentState, Any]:
        return self.learner.update(state, batch, key=key)


class Watched(NamedTuple):
    """A trained model with its engine, and gradient norms on the way.

    Attributes:
        learned: the model and the engine.
        steps: updates done at each look.
        norms: mean norm of the gradient before each iteration and after the last, on validation rows.
        free_energy_nats: of training batches, mean since the look before.
    """

    learned: ModelWithEngine
    steps: Float[Array, " looks"]
    norms: Float[Array, "looks moments"]
    free_energy_nats: Float[Array, " looks"]


def train_watched(
    context: RunContext,
    data: SplitData,
    method: InferenceMethod,
    training: Training,
    rows: Float[Array, "n size"],
    *,
    num_looks: int,
    num_samples: int,
    key: Key,
) -> Watched:
    """Train in parts, and measure mean gradient norms on `rows` after each, with `num_samples` samples."""
    num_steps = training.num_steps // num_looks

    def norms(learned: ModelWithEngine, key: Key) -> Float[Array, " moments"]:
        path = path_of((learned.model, method.expectation), learned.engine, rows, key, method.num_steps)
        return jnp.mean(mean_gradient_norms(learned.model, path, rows, key, num_samples), axis=0)

    def fit(key: Key) -> Watched:
        build_key, fit_key, look_key = jr.split(key, 3)
        learner = method.learner(data, training, key=build_key)
        state = eqx.filter_jit(learner.init)(key=fit_key)
        curve, energies = [], []
        for look in range(num_looks):
            result = context.fit(
                f"part-{look}", Continued(learner, state), InMemoryLoader(data.train, training.batch_size),
                num_steps=num_steps, key=jr.fold_in(fit_key, look), every=min(100, num_steps),
            )  # fmt: skip
            state = result.state
            curve.append(norms(state.learned, look_key))
            energies.append(np.mean(result.history.free_energy_nats))
        steps = num_steps * (1.0 + np.arange(num_looks))
        return Watched(state.learned, jnp.asarray(steps), jnp.stack(curve), jnp.asarray(np.asarray(energies)))

    def empty() -> Watched:
        norms = jnp.zeros((num_looks, method.num_steps + 1))
        return Watched(method.build(key=jr.key(0)), jnp.zeros(num_looks), norms, jnp.zeros(num_looks))

    return context.stage("train", fit, key=key, like=empty)
