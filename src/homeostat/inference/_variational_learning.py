"""Learning a generative model by the free energy of its data, through any engine.

    theta <- theta - optimizer(grad_theta (1/N) sum_n F(q_n; theta)),   q_n = where an engine ends on x_n

`VariationalEM` keeps one q_n for every datum between updates, as expectation maximisation does; `FreeEnergyDescent` infers
afresh for every batch and also trains what the engine learns.
"""

from collections.abc import Callable
from typing import Generic, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from ..core import AbstractEngine, AbstractFamily, AbstractLearner, AbstractModel
from ..distributions import AbstractExpectation, Cubature
from ..objectives import Evidence, FreeEnergy
from ..results import BadInputError
from ..typing import Array, Float, Int, Key, Params, PyTree, Scalar
from ._infer import infer


class LearningMetrics(NamedTuple):
    """What one update measured.

    Attributes:
        free_energy_nats: mean free energy of the batch, an upper bound on -log p(x) on average.
    """

    free_energy_nats: Scalar


class IndexedData(NamedTuple):
    """A batch of observations with their places in the data set."""

    observation: PyTree
    index: Int[Array, " batch"]


def keep(model: AbstractModel) -> AbstractModel:
    """The projection that changes nothing."""
    return model


def everything(model: PyTree) -> PyTree:
    """Mark every floating-point array as learnable."""
    return jax.tree.map(eqx.is_inexact_array, model)


class VariationalEMState(NamedTuple):
    """The model, the parameters of every q_n, and the optimiser's state."""

    model: AbstractModel
    params: PyTree
    optimizer: optax.OptState


@final
class VariationalEM(AbstractLearner[VariationalEMState, LearningMetrics], Generic[Params]):
    """Alternate inference, which goes on from where each datum's q_n was, with gradient steps on the model.

    Attributes:
        model: where learning starts.
        start: parameters of q_n for every datum, with a leading axis over the data.
        engine: runs `num_inference_steps` on every datum of a batch; no gradient flows through it.
        family: of q_n.
        optimizer: for the model's learnable leaves.
        learnable: maps the model to a tree of booleans: which leaves are learned.
        project: applied to the model after every step; where constraints and gauge conventions live.
        expectation: rule for the expected energy.
        num_inference_steps: engine steps per update.
        num_model_steps: gradient steps on the model per update.

    References:
        Neal and Hinton, "A view of the EM algorithm that justifies incremental, sparse, and other variants", 1998.
    """

    model: AbstractModel
    start: Params
    engine: AbstractEngine
    family: AbstractFamily[Params]
    optimizer: optax.GradientTransformation = eqx.field(static=True)
    learnable: Callable[[PyTree], PyTree] = eqx.field(static=True, default=everything)
    project: Callable[[AbstractModel], AbstractModel] = eqx.field(static=True, default=keep)
    expectation: AbstractExpectation = Cubature()
    num_inference_steps: int = eqx.field(static=True, default=1)
    num_model_steps: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        if self.num_model_steps < 1 or self.num_inference_steps < 0:
            raise BadInputError(
                f"Expected at least one step on the model and no negative number of steps of inference, got num_model_steps="
                f"{self.num_model_steps} and num_inference_steps={self.num_inference_steps}."
            )

    def init(self, *, key: Key) -> VariationalEMState:
        learned, _ = eqx.partition(self.model, self.learnable(self.model))
        return VariationalEMState(self.model, self.start, self.optimizer.init(learned))

    def update(
        self, state: VariationalEMState, batch: IndexedData, *, key: Key
    ) -> tuple[VariationalEMState, LearningMetrics]:
        infer_key, energy_key = jr.split(key)
        before = jax.tree.map(lambda leaf: leaf[batch.index], state.params)
        objective = FreeEnergy(state.model, self.expectation)

        def explain(observation, params, key):
            return infer(
                objective,
                self.engine,
                self.family,
                Evidence(observation),
                key=key,
                params=params,
                num_steps=self.num_inference_steps,
                throw=False,
            ).params

        after = jax.vmap(explain)(batch.observation, before, jr.split(infer_key, batch.index.shape[0]))
        # A datum whose inference failed keeps its last q, so that one bad step does not poison the model.
        fine = jax.vmap(_finite)(after)
        after = jax.tree.map(lambda new, old: _where(fine, new, old), after, before)
        model, optimizer, energy = self._descend(state.model, state.optimizer, after, batch.observation, energy_key)
        for _ in range(self.num_model_steps - 1):
            model, optimizer, energy = self._descend(model, optimizer, after, batch.observation, energy_key)
        params = jax.tree.map(lambda all_, some: all_.at[batch.index].set(some), state.params, after)
        return VariationalEMState(model, params, optimizer), LearningMetrics(energy)

    def _descend(self, model, optimizer, params, observation, key):
        learned, fixed = eqx.partition(model, self.learnable(model))

        def mean_energy(learned):
            objective = FreeEnergy(eqx.combine(learned, fixed), self.expectation)
            energies = jax.vmap(lambda p, x: objective(self.family(p), Evidence(x), key=key))(params, observation)
            return jnp.mean(energies)

        energy, gradient = jax.value_and_grad(mean_energy)(learned)
        updates, optimizer = self.optimizer.update(gradient, optimizer, learned)
        model = eqx.combine(eqx.apply_updates(learned, updates), fixed)
        return self.project(model), optimizer, energy


def _finite(tree: PyTree) -> Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def _where(condition: Float[Array, " batch"] | Array, new: Array, old: Array) -> Array:
    return jnp.where(condition.reshape(-1, *[1] * (new.ndim - 1)), new, old)
