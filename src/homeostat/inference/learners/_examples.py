"""Learning a model and what an engine learns (an encoder, an update network) from independent examples.

    lambda_k = engine's estimate after k iterations on x
    phi   <- phi   - optimizer(grad_phi   mean_x sum_k a_k F(lambda_k(phi); theta))
    theta <- theta - optimizer(grad_theta mean_x sum_k b_k F(lambda_k; theta))

Iterative amortized inference averages over iterations for the engine and teaches the model by the last, which is variational
expectation maximisation with a learned E-step; with `Direct` and one iteration it is the variational autoencoder. Any other
energy is learned from in the same way: a policy that reads a state descends the energy of actions in that state.
"""

import abc
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from ...core import AbstractFamily, AbstractModel, AbstractObjective, check_differentiable, check_fields, check_kind
from ...distributions import AbstractExpectation, MonteCarlo
from ...objectives import AbstractWeighting, FreeEnergy, FreeEnergyTerms, Unweighted, Weighted, evidence_of
from ...results import BadInputError
from ...typing import Distribution, Key, PyTree, Scalar
from .._start import standard_start
from .._unroll import constant
from ._energy_descent import AbstractProblem, EnergyDescent, ModelWithEngine, Slope, Weigh
from ._iteration_loss import (
    AbstractIterationWeights,
    AllIterations,
    IterationLoss,
    LastIteration,
    Posed,
    free_energy_terms,
    iteration_loss,
)


class AbstractExample(eqx.Module):
    """What an example asks of an engine."""

    def __check_init__(self):
        check_fields(self)

    @abc.abstractmethod
    def pose(self, learned: ModelWithEngine, example: Any, weigh: Weigh) -> Posed:
        """The problem of one example."""

    @abc.abstractmethod
    def start(self, learned: ModelWithEngine, posed: Posed, *, key: Key) -> PyTree:
        """The engine's first estimate."""

    def terms(self, objective: Any, distribution: Distribution, args: PyTree, *, key: Key) -> FreeEnergyTerms:
        """Parts of the energy at a distribution; those of a free energy, unless an example says otherwise."""
        return free_energy_terms(objective, distribution, args, key=key)

    def size(self, example: Any) -> Scalar:
        """How much an example counts: one, unless an example says otherwise."""
        return jnp.ones(())


@final
class Examples(AbstractProblem):
    """Independent examples on the leading axis of a batch: the mean over them of a weighted sum over iterations."""

    example: AbstractExample
    num_steps: int = eqx.field(static=True, default=1)
    engine_weights: AbstractIterationWeights = AllIterations()
    model_weights: AbstractIterationWeights = LastIteration()
    inlined: int = eqx.field(static=True, default=4)

    def __check_init__(self):
        if self.num_steps < 1:
            raise BadInputError(f"Expected at least one engine step, got num_steps={self.num_steps}.")

    def slope(self, learned: ModelWithEngine, carry: None, batch: Any, weigh: Weigh, *, key: Key) -> Slope:
        def loss(learned: ModelWithEngine) -> tuple[Scalar, tuple[FreeEnergyTerms, Scalar]]:
            keys = jr.split(key, jax.tree.leaves(batch)[0].shape[0])
            found, sizes = jax.vmap(lambda example, k: self._one(learned, example, weigh, key=k))(batch, keys)
            total, *rest = jax.tree.map(
                lambda leaf: jnp.sum(leaf, axis=0) / jnp.sum(sizes), (found.loss, found.terms, found.weighted_nats)
            )
            return total, tuple(rest)

        (_, (terms, weighted)), gradient = eqx.filter_value_and_grad(loss, has_aux=True)(learned)
        return Slope(gradient, terms, weighted)

    def _one(self, learned: ModelWithEngine, example: Any, weigh: Weigh, *, key: Key) -> tuple[IterationLoss, Scalar]:
        start_key, run_key = jr.split(key)
        posed = self.example.pose(learned, example, weigh)
        fixed = constant(learned)
        start = self.example.start(fixed, self.example.pose(fixed, example, weigh), key=start_key)
        weights = self.engine_weights.weights(self.num_steps), self.model_weights.weights(self.num_steps)
        options = {"terms": self.example.terms, "inlined": self.inlined, "shared": learned.family is not None}
        found = iteration_loss(posed, posed, learned.engine, start, weigh, weights, key=run_key, **options)
        return found._replace(params=None), self.example.size(example)


@final
class Row(AbstractExample):
    """The weighted free energy of one observation, `Masked` where entries of it are missing."""

    family: AbstractFamily
    expectation: AbstractExpectation = MonteCarlo(1)
    first: Callable[..., PyTree] = eqx.field(static=True, default=standard_start)

    def pose(self, learned: ModelWithEngine, example: Any, weigh: Weigh) -> Posed:
        family = self.family if learned.family is None else learned.family
        objective = Weighted(FreeEnergy(learned.model, self.expectation), weigh.weighting, weigh.state)
        return Posed(objective, family.given(learned.model.initial()), evidence_of(example))

    def start(self, learned: ModelWithEngine, posed: Posed, *, key: Key) -> PyTree:
        return self.first(learned.model, posed.family, key=key)


@final
class AnyEnergy(AbstractExample):
    """The energy that a function makes of an example."""

    energy: Callable[[Any, Any], tuple[AbstractObjective, PyTree]]
    family: AbstractFamily

    def pose(self, learned: ModelWithEngine, example: Any, weigh: Weigh) -> Posed:
        objective, args = self.energy(learned.model, example)
        return Posed(objective, self.family if learned.family is None else learned.family, args)

    def start(self, learned: ModelWithEngine, posed: Posed, *, key: Key) -> PyTree:
        return posed.family.init()

    def terms(
        self, objective: AbstractObjective, distribution: Distribution, args: PyTree, *, key: Key
    ) -> FreeEnergyTerms:
        energy = objective(distribution, args, key=key)
        return FreeEnergyTerms(energy, jnp.zeros(0, energy.dtype))


def free_energy_descent(
    learned: ModelWithEngine,
    family: AbstractFamily,
    optimizer: optax.GradientTransformation,
    expectation: AbstractExpectation = MonteCarlo(1),
    num_steps: int = 1,
    weighting: AbstractWeighting = Unweighted(),
    *,
    engine_weights: AbstractIterationWeights = AllIterations(),
    model_weights: AbstractIterationWeights = LastIteration(),
    start: Callable[..., PyTree] = standard_start,
    prepare: Callable[..., PyTree] | None = None,
    inlined: int = 4,
) -> EnergyDescent:
    """A learner that descends the mean free energy of observations in model and engine together.

    With an engine that computes gradients of the free energy (`Iterative`), the gradient at each estimate serves as training
    signal of the iteration before and as input of the next.

    Args:
        learned: model and engine where learning starts.
        family: of q, unless `learned` brings one.
        optimizer: for every learnable leaf.
        expectation: rule for the expected energy.
        num_steps: K, engine steps on each observation.
        weighting: around the terms of the free energy.
        engine_weights: weights of the iterations in what the engine learns from.
        model_weights: weights of the iterations in what the model learns from.
        start: gives the first estimate; `standard_start` or `start_at_prior`.
        prepare: applied to a batch before it is used, with a key of its own, such as dynamic binarisation.
        inlined: iterations that are compiled one after the other instead of in a loop.

    References:
        Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014; Marino, Yue and Mandt, "Iterative amortized
        inference", ICML 2018; Marino (thesis), Algorithm 1 and Sec. 3.3.
    """
    check_kind(learned, ModelWithEngine, "what is learned")
    check_kind(learned.model, AbstractModel, "`model` of ModelWithEngine")
    shared = family if learned.family is None else learned.family
    check_differentiable(FreeEnergy(learned.model, expectation), shared)
    problem = Examples(Row(family, expectation, start), num_steps, engine_weights, model_weights, inlined)
    return EnergyDescent(learned, problem, optimizer, weighting, prepare)


def energy_descent(
    energy: Callable[[Any, Any], tuple[AbstractObjective, PyTree]],
    learned: ModelWithEngine,
    family: AbstractFamily,
    optimizer: optax.GradientTransformation,
    num_steps: int = 1,
    *,
    engine_weights: AbstractIterationWeights = AllIterations(),
    model_weights: AbstractIterationWeights = LastIteration(),
    inlined: int = 4,
) -> EnergyDescent:
    """A learner that descends the mean of any energy over examples, such as the energy of actions in given states.

    Args:
        energy: (model, example) -> (objective, args).
        learned: the engine (a policy network, for control), and the model where one is learned.
        family: of q, unless `learned` brings one.
        optimizer: for every learnable leaf.
        num_steps: K, engine steps on each example.
        engine_weights: weights of the iterations in what the engine learns from.
        model_weights: weights of the iterations in what the model learns from.
        inlined: iterations that are compiled one after the other instead of in a loop.
    """
    check_kind(learned, ModelWithEngine, "what is learned")
    problem = Examples(AnyEnergy(energy, family), num_steps, engine_weights, model_weights, inlined)
    return EnergyDescent(learned, problem, optimizer)
