"""Learning a generative model by the free energy of its data, with a posterior for every datum that is kept between updates.

theta <- theta - optimizer(grad_theta (1/N) sum_n F(q_n; theta)),   q_n = where an engine, from the last q_n, ends on x_n
"""

from collections.abc import Callable
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from ...core import AbstractEngine, AbstractFamily, AbstractModel, check_kind
from ...distributions import AbstractExpectation, Cubature
from ...objectives import Evidence, FreeEnergy, FreeEnergyTerms
from ...results import BadInputError
from ...typing import Array, Int, Key, PyTree, Scalar
from .._infer import infer
from ._energy_descent import AbstractProblem, EnergyDescent, Slope, Weigh, everything, keep
from ._guard import all_finite


class IndexedData(NamedTuple):
    """A batch of observations with their places in the data set."""

    observation: PyTree
    index: Int[Array, " batch"]


@final
class EachDatum(AbstractProblem):
    """The mean free energy of data whose posteriors go on from where they were; what is carried is their parameters."""

    first: PyTree
    engine: AbstractEngine
    family: AbstractFamily
    expectation: AbstractExpectation = Cubature()
    num_steps: int = eqx.field(static=True, default=1)

    def init(self, learned: AbstractModel, *, key: Key) -> PyTree:
        return self.first

    def infer(self, learned: AbstractModel, carry: PyTree, batch: IndexedData, *, key: Key) -> PyTree:
        objective = FreeEnergy(learned, self.expectation)

        def one(observation: Any, params: PyTree, key: Key) -> PyTree:
            problem = (objective, self.engine, self.family, Evidence(observation))
            after = infer(*problem, key=key, params=params, num_steps=self.num_steps, throw=False).params
            # A datum whose inference failed keeps its last q, so that one bad step does not poison the model.
            fine = all_finite(after)
            return jax.tree.map(lambda new, old: jnp.where(fine, new, old), after, params)

        before = jax.tree.map(lambda leaf: leaf[batch.index], carry)
        after = jax.vmap(one)(batch.observation, before, jr.split(key, batch.index.shape[0]))
        return jax.tree.map(lambda every, some: every.at[batch.index].set(some), carry, after)

    def slope(self, learned: AbstractModel, carry: PyTree, batch: IndexedData, weigh: Weigh, *, key: Key) -> Slope:
        params = jax.tree.map(lambda leaf: leaf[batch.index], carry)

        def loss(learned: AbstractModel) -> tuple[Scalar, FreeEnergyTerms]:
            objective = FreeEnergy(learned, self.expectation)
            terms = jax.vmap(lambda p, x: objective.terms(self.family(p), Evidence(x), key=key))(
                params, batch.observation
            )
            mean = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), terms)
            return weigh(mean), mean

        (value, terms), gradient = eqx.filter_value_and_grad(loss, has_aux=True)(learned)
        return Slope(gradient, terms, value, carry)


def variational_em(
    model: AbstractModel,
    start: PyTree,
    engine: AbstractEngine,
    family: AbstractFamily,
    optimizer: optax.GradientTransformation,
    learnable: Callable[[PyTree], PyTree] = everything,
    project: Callable[[Any], Any] = keep,
    expectation: AbstractExpectation = Cubature(),
    *,
    num_inference_steps: int = 1,
    num_model_steps: int = 1,
) -> EnergyDescent:
    """A learner that alternates inference, which goes on from each datum's last q_n, with gradient steps on the model.

    Batches are `IndexedData`; the state's `learned` is the model, its `carry` the parameters of every q_n.

    Args:
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
    if num_model_steps < 1 or num_inference_steps < 0:
        raise BadInputError(
            f"Expected at least one step on the model and no negative number of steps of inference, got num_model_steps="
            f"{num_model_steps} and num_inference_steps={num_inference_steps}."
        )
    check_kind(model, AbstractModel, "the model")
    problem = EachDatum(start, engine, family, expectation, num_inference_steps)
    return EnergyDescent(model, problem, optimizer, learnable=learnable, project=project, num_updates=num_model_steps)
