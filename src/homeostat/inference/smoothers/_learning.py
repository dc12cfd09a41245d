"""Learning a model and a recognition network by the free energy of whole paths.

    theta, phi <- descend   sum_n F(q_phi(x^n); theta) / sum_n T_n

over a batch of sequences that may be ragged (padded, with lengths) and may have missing entries. With `Direct(recognition)` this
is stochastic variational inference with an amortized structured posterior; with `StopGradient(PathNaturalGradient())` variational
expectation maximisation, in which inference is run and not differentiated.
"""

from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from ...core import AbstractLearner
from ...distributions import AbstractRecursion, Sequential
from ...objectives import (
    AbstractPathExpectation,
    AbstractWeighting,
    FreeEnergyTerms,
    PathEvidence,
    PathFreeEnergy,
    Unweighted,
    WholePaths,
)
from ...results import BadInputError
from ...typing import Array, Int, Key, PyTree, Scalar
from .._amortized_learning import ModelWithEngine
from ._recognition import in_order
from ._structured import path_family, prior_path


class SmoothingDescentState(NamedTuple):
    """What training carries on.

    Attributes:
        learned: the model with its engine.
        optimizer: the optimiser's state.
        weighting: the weighting's state.
        step: number of updates done.
        failed_step: the first update that was refused because something was not finite; -1 if none was.
    """

    learned: ModelWithEngine
    optimizer: optax.OptState
    weighting: PyTree
    step: Int[Array, ""]
    failed_step: Int[Array, ""]


class SmoothingMetrics(NamedTuple):
    """What one update measured: sums over the batch, for each step of its sequences.

    Attributes:
        free_energy_nats: distortion plus rate, an upper bound on -log p(x) for each step on average.
        distortion_nats: E_q[-log p(x | z)].
        rate_nats: KL(q || p) of the paths.
        failed_step: number of the update at which training stopped because something was not finite; -1 otherwise.
    """

    free_energy_nats: Scalar
    distortion_nats: Scalar
    rate_nats: Scalar
    failed_step: Scalar


@final
class SmoothingDescent(AbstractLearner[SmoothingDescentState, SmoothingMetrics]):
    """Descend the mean free energy of sequences in the numbers of model and engine together.

    Batches are `PathEvidence` with a leading batch axis on every array. After an update that is not finite the numbers before it
    are kept, and no further update is made.

    Attributes:
        learned: model and engine where learning starts.
        optimizer: for every learnable leaf.
        num_steps: engine steps on each sequence.
        expectation: rule for E_q; one sampled path by default.
        weighting: around distortion and rate.
        recursion: in which order the chain is worked through.

    References:
        Archer et al., "Black box variational inference for state space models", 2015, Sec. 4.
    """

    learned: ModelWithEngine
    optimizer: optax.GradientTransformation = eqx.field(static=True)
    num_steps: int = eqx.field(static=True, default=1)
    expectation: AbstractPathExpectation = WholePaths()
    weighting: AbstractWeighting = Unweighted()
    recursion: AbstractRecursion = Sequential()

    def __check_init__(self):
        if self.num_steps < 1:
            raise BadInputError(f"Expected at least one engine step, got num_steps={self.num_steps}.")

    def init(self, *, key: Key) -> SmoothingDescentState:
        return SmoothingDescentState(
            self.learned,
            self.optimizer.init(eqx.filter(self.learned, eqx.is_inexact_array)),
            self.weighting.init(),
            jnp.zeros((), jnp.int32),
            jnp.full((), -1, jnp.int32),
        )

    def update(
        self, state: SmoothingDescentState, batch: PathEvidence, *, key: Key
    ) -> tuple[SmoothingDescentState, SmoothingMetrics]:
        keys = jr.split(key, jax.tree.leaves(batch.observations)[0].shape[0])

        def loss(learned: ModelWithEngine) -> tuple[Scalar, FreeEnergyTerms]:
            terms, lengths = jax.vmap(lambda evidence, k: self._terms(learned, evidence, k))(batch, keys)
            mean = jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0) / jnp.sum(lengths), terms)
            return self.weighting(mean, state.weighting), mean

        (value, terms), gradient = eqx.filter_value_and_grad(loss, has_aux=True)(state.learned)
        finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves((value, gradient))]))
        failed = jnp.where((state.failed_step < 0) & ~finite, state.step, state.failed_step)
        learned, fixed = eqx.partition(state.learned, eqx.is_inexact_array)

        def apply(before: tuple[PyTree, PyTree, PyTree]) -> tuple[PyTree, PyTree, PyTree]:
            learned, optimizer, weighting = before
            updates, optimizer = self.optimizer.update(gradient, optimizer, learned)
            return eqx.apply_updates(learned, updates), optimizer, self.weighting.update(terms, weighting)

        before = (learned, state.optimizer, state.weighting)
        learned, optimizer, weighting = jax.lax.cond(failed < 0, apply, lambda kept: kept, before)
        new = SmoothingDescentState(eqx.combine(learned, fixed), optimizer, weighting, state.step + 1, failed)
        rate = jnp.sum(terms.rates_nats)
        return new, SmoothingMetrics(
            terms.distortion_nats + rate, terms.distortion_nats, rate, failed.astype(rate.dtype)
        )

    def _terms(self, learned: ModelWithEngine, evidence: PathEvidence, key: Key) -> tuple[FreeEnergyTerms, Scalar]:
        """Terms of one sequence where the engine ends, and how many steps it has."""
        *keys, last = jr.split(key, self.num_steps + 1)
        objective = PathFreeEnergy(learned.model, self.expectation)
        family = path_family(learned.model, evidence, self.recursion)
        params = jax.lax.stop_gradient(family.params_of(prior_path(learned.model, evidence, self.recursion)))
        engine = in_order(learned.engine, self.recursion)
        state = engine.init(objective, family, params, evidence)
        for step_key in keys:
            params, state, _ = engine.step(objective, family, params, evidence, state, key=step_key)
        return objective.terms(family(params), evidence, key=last), jnp.sum(evidence.inside)
