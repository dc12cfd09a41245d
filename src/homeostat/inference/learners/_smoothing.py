"""Learning a model and a recognition network by the free energy of whole paths.

    theta, phi <- descend   sum_n F(q_phi(x^n); theta) / sum_n T_n

over a batch of sequences that may be ragged (padded, with lengths) and may have missing entries. With `Direct(recognition)` this
is stochastic variational inference with an amortized structured posterior; with `StopGradient(PathNaturalGradient())` variational
expectation maximisation, in which inference is run and not differentiated.
"""

from collections.abc import Callable
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from ...core import AbstractMarkovModel, check_kind
from ...distributions import AbstractRecursion, BlockTridiagonal, Sequential
from ...objectives import (
    AbstractPathExpectation,
    AbstractWeighting,
    PathEvidence,
    PathFreeEnergy,
    Unweighted,
    WholePaths,
)
from ...typing import Key, PyTree, Scalar
from ..smoothers import in_order, path_family, prior_path
from ._energy_descent import EnergyDescent, ModelWithEngine, Weigh
from ._examples import AbstractExample, Examples
from ._iteration_loss import LastIteration, Posed
from ._sequence_batch import SequenceBatch


@final
class WholeSequence(AbstractExample):
    """The free energy of the path behind one sequence, counted by its steps."""

    expectation: AbstractPathExpectation = WholePaths()
    recursion: AbstractRecursion = Sequential()
    first: Callable[..., BlockTridiagonal] = eqx.field(static=True, default=prior_path)

    def pose(self, learned: ModelWithEngine, example: PathEvidence, weigh: Weigh) -> Posed:
        objective = PathFreeEnergy(learned.model, self.expectation)
        return Posed(objective, path_family(learned.model, example, self.recursion), example)

    def start(self, learned: ModelWithEngine, posed: Posed, *, key: Key) -> PyTree:
        family = path_family(learned.model, posed.args, self.recursion)
        return family.params_of(self.first(learned.model, posed.args, self.recursion))

    def size(self, example: PathEvidence) -> Scalar:
        return jnp.sum(example.inside)


def smoothing_descent(
    learned: ModelWithEngine,
    optimizer: optax.GradientTransformation,
    num_steps: int = 1,
    expectation: AbstractPathExpectation = WholePaths(),
    weighting: AbstractWeighting = Unweighted(),
    recursion: AbstractRecursion = Sequential(),
    start: Callable[..., BlockTridiagonal] = prior_path,
) -> EnergyDescent:
    """A learner that descends the mean free energy of sequences, for each of their steps, in model and engine together.

    Batches are `PathEvidence` with a leading batch axis on every array, or `SequenceBatch`.

    Args:
        learned: model and engine where learning starts.
        optimizer: for every learnable leaf.
        num_steps: engine steps on each sequence.
        expectation: rule for E_q; one sampled path by default.
        weighting: around distortion and rate.
        recursion: in which order the chain is worked through.
        start: gives the path at which the engine starts, from model, evidence and recursion; `prior_path` or `extended_path`.

    References:
        Archer et al., "Black box variational inference for state space models", 2015, Sec. 4.
    """
    check_kind(learned, ModelWithEngine, "what is learned")
    check_kind(learned.model, AbstractMarkovModel, "`model` of ModelWithEngine")
    learned = ModelWithEngine(learned.model, in_order(learned.engine, recursion), learned.family)
    problem = Examples(WholeSequence(expectation, recursion, start), num_steps, LastIteration(), LastIteration())
    return EnergyDescent(learned, problem, optimizer, weighting, _as_evidence)


def _as_evidence(batch: PathEvidence | SequenceBatch, *, key: Key) -> PathEvidence:
    if isinstance(batch, PathEvidence):
        return batch
    in_axes = (0, None if batch.actions is None else 0, None if batch.lengths is None else 0)
    return jax.vmap(PathEvidence.of, in_axes=in_axes)(batch.seen, batch.actions, batch.lengths)
