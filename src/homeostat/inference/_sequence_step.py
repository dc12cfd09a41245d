"""One step of variational filtering as something to differentiate: what it teaches the engine, and what the model.

    lambda_0 = prediction,   lambda_k = engine(lambda_{k-1}),   k = 1..K
    engine:  sum_k a_k F_t(lambda_k)     with model and past held fixed
    model:   F_t(lambda_K)               with lambda_K held fixed

Both come out of one pass: lambda_k depends on the engine alone once the past is cut off, and a feedback engine has computed
the gradient g_k of F_t at lambda_k anyway as its next input, so that sum(g_k * lambda_k), with g_k a constant, has the gradient
of F_t(lambda_k) without another evaluation.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax.flatten_util import ravel_pytree

from ..core import AbstractBelief, AbstractModel, AbstractSequentialModel
from ..models.sequential import with_own_noise
from ..objectives import AbstractWeighting, FreeEnergy, FreeEnergyTerms, Weighted
from ..typing import Any, Array, Carry, Float, Key, Observation, PyTree, Scalar
from ._iteration_weights import AbstractIterationWeights
from .engines import AbstractFeedbackEngine, feedback_at
from .filters import VariationalFilter
from .filters._variational import StepProblem, step_problem

Cut = Callable[[Array], Array]
"""`jax.lax.stop_gradient`, or the identity where gradients flow through the past."""


class StepLoss(NamedTuple):
    """What a step contributes; zero where nothing was observed.

    Attributes:
        loss: its gradient is what the step teaches; its value is the weighted free energy, in nats.
        terms: of the free energy, at the last iteration.
        weighted_nats: the weighted free energy.
        count: 1.0 if anything was observed.
    """

    loss: Scalar
    terms: FreeEnergyTerms
    weighted_nats: Scalar
    count: Scalar


class LossOptions(NamedTuple):
    """How a step is learned from.

    Attributes:
        weighting: around the terms.
        weighting_state: its state.
        credit: which iterations teach the engine.
        cut: applied to the past, to the model within inference and to the final estimate, before they are used further.
    """

    weighting: AbstractWeighting
    weighting_state: PyTree
    credit: AbstractIterationWeights
    cut: Cut


def constant(tree: PyTree, cut: Cut = jax.lax.stop_gradient) -> PyTree:
    """The tree with `cut` applied to its arrays."""
    arrays, rest = eqx.partition(tree, eqx.is_inexact_array)
    return eqx.combine(jax.tree.map(cut, arrays), rest)


def learned_step(
    model: AbstractSequentialModel,
    method: VariationalFilter,
    belief: AbstractBelief,
    observation: Observation,
    rule: LossOptions,
    *,
    key: Key,
) -> tuple[StepLoss, AbstractBelief]:
    """Run inference on one observation; the account to descend, and the belief after it."""
    model, observation = with_own_noise(model, observation)
    each_key, draw_key = jr.split(key)

    def one(carry: Carry, memory: PyTree, past_key: Key) -> tuple[StepLoss, PyTree, PyTree]:
        infer_key, energy_key = jr.split(past_key)
        problem = step_problem(
            constant(model, rule.cut), constant(carry, rule.cut), constant(memory, rule.cut), observation, method.memory
        )
        flat, teaching, unravel = _infer(method, problem, rule, key=infer_key)
        last = rule.credit.weights(method.num_steps)[-1]
        taught = last * flat + (1.0 - last) * jax.lax.stop_gradient(flat)
        # The same step once more with nothing cut off, which is where the model learns.
        live = step_problem(model, carry, memory, observation)
        family = method.family.given(live.evidence.prior)
        objective = _objective(live.model, method, rule)
        terms = objective.terms(family(unravel(taught)), live.evidence, key=energy_key)
        weighted = rule.weighting(terms, rule.weighting_state)
        observed = problem.observed
        account = StepLoss(
            jnp.where(observed, weighted + teaching, 0.0),
            jax.tree.map(lambda leaf: jnp.where(observed, leaf, 0.0), terms),
            jnp.where(observed, weighted, 0.0),
            observed.astype(weighted.dtype),
        )
        params = unravel(jax.tree.map(rule.cut, flat))
        return account, params, problem.evidence.context.memory

    accounts, params, memory = method.propagation.map(one, belief, key=each_key)
    # Several pasts are an average over them (Eq. 4.5); one past may come without an axis.
    average = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0) if jnp.ndim(accounts.loss) else leaf, accounts)
    belief = method.propagation.posterior(model, method.family, belief, params, memory, observation, key=draw_key)
    return average, belief


def _objective(static: AbstractModel, method: VariationalFilter, rule: LossOptions) -> Weighted:
    return Weighted(FreeEnergy(static, method.expectation), rule.weighting, rule.weighting_state)


def _infer(
    method: VariationalFilter, problem: StepProblem, rule: LossOptions, *, key: Key
) -> tuple[Float[Array, " k"], Scalar, Callable[[Array], Any]]:
    """The last estimate, a number of value zero whose gradient teaches all iterations but the last, and the way back to params."""
    start_key, value_key, *keys = jr.split(key, method.num_steps + 2)
    family = method.family.given(problem.evidence.prior)
    flat, unravel = ravel_pytree(method.start(problem.model, family, key=start_key))
    flat = start = rule.cut(flat)
    engine, weights = method.engine, rule.credit.weights(method.num_steps)
    # The engine's inputs are constants wherever the step is cut off; iterations that teach it always hold the model fixed.
    objective = _objective(problem.model, method, rule)
    fixed_objective, fixed_evidence = constant((objective, problem.evidence))
    fixed_family = constant(family)

    def energy(vector: Array, evaluation_key: Key) -> Scalar:
        return fixed_objective(fixed_family(unravel(vector)), fixed_evidence, key=evaluation_key)

    teaching = jnp.zeros((), flat.dtype)
    if isinstance(engine, AbstractFeedbackEngine) and engine.detach is jax.lax.stop_gradient:
        state = engine.start()
        for k, step_key in enumerate(keys):
            estimate = jax.lax.stop_gradient(flat)
            gradient = jax.lax.stop_gradient(jax.grad(energy)(estimate, step_key))
            if k and weights[k - 1]:
                teaching += weights[k - 1] * _first_order(gradient, flat)
            feedback = feedback_at(
                objective, fixed_family(unravel(estimate)), estimate, gradient, problem.evidence, key=step_key
            )
            proposal, state = engine.propose(feedback, state)
            flat = proposal.astype(flat.dtype)
    else:
        params = unravel(flat)
        state = engine.init(objective, family, params, problem.evidence)
        for k, step_key in enumerate(keys):
            params, state, _ = engine.step(objective, family, params, problem.evidence, state, key=step_key)
            flat = ravel_pytree(params)[0]
            if k < method.num_steps - 1 and weights[k]:
                value = energy(flat, jr.fold_in(value_key, k))
                teaching += weights[k] * (value - jax.lax.stop_gradient(value))
    # Where nothing was observed the prediction stands, and nothing is learned.
    return jnp.where(problem.observed, flat, start), teaching, unravel


def _first_order(gradient: Float[Array, " k"], flat: Float[Array, " k"]) -> Scalar:
    return jnp.sum(gradient * (flat - jax.lax.stop_gradient(flat)))
