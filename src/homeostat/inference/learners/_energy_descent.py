"""One learner for every energy: what is descended is a problem, the rest is the same.

    theta <- theta - optimizer(grad_theta loss(theta; batch))

A problem says how a batch becomes a loss with a gradient: rows, sequences, streams, or any other energy. The learner owns the
optimiser, the state of the weighting, what a problem carries from batch to batch, and the record of the first failure.
"""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from ...core import AbstractEngine, AbstractFamily, AbstractLearner, check_fields
from ...objectives import AbstractWeighting, FreeEnergyTerms, Unweighted
from ...results import BadInputError
from ...typing import Array, Energy, Int, Key, PyTree, Scalar
from ._guard import Failure, first_failure, no_failure, unless_failed


@final
class ModelWithEngine(eqx.Module):
    """A generative model with an engine whose numbers are learned beside it.

    Attributes:
        model: p(x, z); for other energies whatever else is learned, or None.
        engine: finds q.
        family: of q, where it has numbers that all observations share and that are learned too (`ConditionalFlow`).
    """

    model: PyTree
    engine: AbstractEngine
    family: AbstractFamily | None = None

    def __check_init__(self):
        check_fields(self)


@final
class Weigh(eqx.Module):
    """A weighting at its present state.

    Attributes:
        weighting: around the terms.
        state: its state.
    """

    weighting: AbstractWeighting
    state: PyTree

    def __call__(self, terms: FreeEnergyTerms) -> Energy:
        """The energy that is descended, in nats."""
        return self.weighting(terms, self.state)


class Slope(NamedTuple):
    """The loss of a batch, to first order.

    Attributes:
        gradient: in the structure of the learned numbers, with None where they do not learn.
        terms: mean terms of the energy.
        weighted_nats: the energy that is descended.
        carry: what the problem carries to the next batch.
        moved: learned numbers that the problem has moved itself, with None elsewhere; None if it has not.
        details: whatever else the problem reports.
    """

    gradient: PyTree
    terms: FreeEnergyTerms
    weighted_nats: Scalar
    carry: PyTree = None
    moved: PyTree = None
    details: Any = None


class DescentMetrics(NamedTuple):
    """Means over the batch (over all steps of its sequences), at the last iteration.

    Attributes:
        free_energy_nats: distortion plus rate, whatever the weighting; an upper bound on -log p(x) on average. For sequences, of
            a step.
        distortion_nats: E_q[-log p(x | z)]; the whole energy where it has no such parts.
        rate_nats: KL(q || p), summed over levels; zero where the energy has no such parts.
        weighted_nats: what was descended.
        failed_step: number of the update at which training stopped because something was not finite; -1 otherwise.
    """

    free_energy_nats: Scalar
    distortion_nats: Scalar
    rate_nats: Scalar
    weighted_nats: Scalar
    failed_step: Scalar


class AbstractProblem(eqx.Module):
    """How a batch becomes a loss."""

    def __check_init__(self):
        check_fields(self)

    def init(self, learned: Any, *, key: Key) -> PyTree:
        """What is carried from batch to batch: nothing, unless a problem says otherwise."""
        return None

    def infer(self, learned: Any, carry: PyTree, batch: Any, *, key: Key) -> PyTree:
        """What is done once for a batch before its gradients, and not differentiated: the next carry."""
        return carry

    @abc.abstractmethod
    def slope(self, learned: Any, carry: PyTree, batch: Any, weigh: Weigh, *, key: Key) -> Slope:
        """Loss and gradient on a batch."""

    def metrics(self, slope: Slope, failed_step: Scalar) -> Any:
        """What an update reports."""
        rate = jnp.sum(slope.terms.rates_nats)
        distortion = slope.terms.distortion_nats
        return DescentMetrics(distortion + rate, distortion, rate, slope.weighted_nats, failed_step)


class EnergyDescentState(NamedTuple):
    """What training carries on.

    Attributes:
        learned: what is learned.
        optimizer: the optimiser's state.
        weighting: the weighting's state.
        carry: what the problem carries from batch to batch.
        step: number of updates done.
        failure: why updates stopped, if they did.
    """

    learned: Any
    optimizer: optax.OptState
    weighting: PyTree
    carry: PyTree
    step: Int[Array, ""]
    failure: Failure


def everything(model: PyTree) -> PyTree:
    """Mark every floating-point array as learnable."""
    return jax.tree.map(eqx.is_inexact_array, model)


def keep(model: PyTree) -> PyTree:
    """The projection that changes nothing."""
    return model


@final
class EnergyDescent(AbstractLearner[EnergyDescentState, Any]):
    """Descend the energy of a problem in everything that is learned.

    After an update that is not finite the numbers before it are kept, and no further update is made.

    Attributes:
        learned: where learning starts.
        problem: turns a batch into a loss; see `free_energy_descent`, `filtering_descent` and their relatives.
        optimizer: for every learnable leaf.
        weighting: around the terms of a free energy.
        prepare: applied to a batch before it is used, with a key of its own, such as dynamic binarisation.
        learnable: maps what is learned to a tree of booleans: which leaves the optimiser moves.
        project: applied after every update; where constraints and gauge conventions live.
        num_updates: updates on each batch, with what `problem.infer` found before the first.
    """

    learned: PyTree
    problem: AbstractProblem
    optimizer: optax.GradientTransformation = eqx.field(static=True)
    weighting: AbstractWeighting = Unweighted()
    prepare: Callable[..., PyTree] | None = eqx.field(static=True, default=None)
    learnable: Callable[[PyTree], PyTree] = eqx.field(static=True, default=everything)
    project: Callable[[Any], Any] = eqx.field(static=True, default=keep)
    num_updates: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        if self.num_updates < 1:
            raise BadInputError(f"Expected at least one update on a batch, got num_updates={self.num_updates}.")

    def init(self, *, key: Key) -> EnergyDescentState:
        return EnergyDescentState(
            self.learned,
            self.optimizer.init(eqx.filter(self.learned, self.learnable(self.learned))),
            self.weighting.init(),
            self.problem.init(self.learned, key=key),
            jnp.zeros((), jnp.int32),
            no_failure(),
        )

    def update(self, state: EnergyDescentState, batch: Any, *, key: Key) -> tuple[EnergyDescentState, Any]:
        prepare_key, infer_key, key = jr.split(key, 3)
        batch = batch if self.prepare is None else self.prepare(batch, key=prepare_key)
        state = state._replace(carry=self.problem.infer(state.learned, state.carry, batch, key=infer_key))
        state, metrics = self._descend(state, batch, key)
        for _ in range(self.num_updates - 1):
            state, metrics = self._descend(state, batch, key)
        return state._replace(step=state.step + 1), metrics

    def _descend(self, state: EnergyDescentState, batch: Any, key: Key) -> tuple[EnergyDescentState, Any]:
        weigh = Weigh(self.weighting, state.weighting)
        slope = self.problem.slope(state.learned, state.carry, batch, weigh, key=key)
        # Where nothing is learned there is no gradient.
        target = eqx.filter(state.learned, self.learnable(state.learned))
        gradient = jax.tree.map(
            lambda leaf, g: None if leaf is None else g, target, slope.gradient, is_leaf=lambda leaf: leaf is None
        )
        terms, numbers = slope.terms, (gradient, slope.moved)
        failure = first_failure(state.failure, state.step, terms.distortion_nats, terms.rates_nats, numbers)
        before, static = eqx.partition((state.learned, state.optimizer, state.weighting, state.carry), eqx.is_array)

        def update(before: PyTree) -> PyTree:
            learned, optimizer, weighting, _ = eqx.combine(before, static)
            learned = learned if slope.moved is None else eqx.combine(slope.moved, learned)
            target, rest = eqx.partition(learned, self.learnable(learned))
            updates, optimizer = self.optimizer.update(gradient, optimizer, target)
            learned = self.project(eqx.combine(eqx.apply_updates(target, updates), rest))
            new = (learned, optimizer, self.weighting.update(terms, weighting), slope.carry)
            return jax.tree.map(_like, eqx.filter(new, eqx.is_array), before)

        kept = unless_failed(failure, update, before)
        learned, optimizer, weighting, carry = eqx.combine(kept, static)
        metrics = self.problem.metrics(slope, failure.step.astype(terms.distortion_nats.dtype))
        return EnergyDescentState(learned, optimizer, weighting, carry, state.step, failure), metrics


@final
class AnyLoss(AbstractProblem):
    """A loss that a function makes of what is learned and a batch."""

    loss: Callable[..., Scalar] = eqx.field(static=True)

    def slope(self, learned: Any, carry: None, batch: Any, weigh: Weigh, *, key: Key) -> Slope:
        value, gradient = eqx.filter_value_and_grad(self.loss)(learned, batch, key=key)
        terms = FreeEnergyTerms(value, jnp.zeros(0, value.dtype))
        return Slope(gradient, terms, weigh(terms))


def loss_descent(
    loss: Callable[..., Scalar], learned: PyTree, optimizer: optax.GradientTransformation
) -> EnergyDescent:
    """A learner that descends any loss, for what is taught by something other than inference.

    Args:
        loss: `loss(learned, batch, key=key)`, a scalar in nats.
        learned: where learning starts.
        optimizer: for every learnable leaf.
    """
    return EnergyDescent(learned, AnyLoss(loss), optimizer)


def _like(new: Array, old: Array) -> Array:
    """In the type of before: what is carried may come in another than the model draws it in."""
    return new if new.dtype == old.dtype else new.astype(old.dtype)
