"""Expectation maximisation of a linear-Gaussian model, a step at a time, so that a run can watch it, choose and go on."""

from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp

from ...core import AbstractLearner
from ...distributions import positive_tria
from ...inference import Parts, SequenceBatch, expectation_maximization
from ...models.sequential import LinearDynamics, LinearGaussian
from ...typing import Array, Bool, Float, Int, Key, Scalar

FLOOR = 1e-3
"""Least deviation of a noise: of an output's in deviations of the data, of the state's in the unit in which it starts."""


class MaximizationFailure(NamedTuple):
    """The first step that had to be refused because something was not finite.

    Attributes:
        step: number of the step, counted from 0; -1 if there was none.
        likelihood: whether the likelihood was at fault.
        model: whether a number of the model was.
    """

    step: Int[Array, ""]
    likelihood: Bool[Array, ""]
    model: Bool[Array, ""]


class MaximizationState(NamedTuple):
    """State of expectation maximisation.

    Attributes:
        model: with the last finite numbers.
        step: steps done.
        failure: why steps stopped, if they did.
    """

    model: LinearGaussian
    step: Int[Array, ""]
    failure: MaximizationFailure


class MaximizationMetrics(NamedTuple):
    """Measurements of one step.

    Attributes:
        free_energy_nats: -log p(x) after the step, over the number of steps at which something was observed.
    """

    free_energy_nats: Scalar


@final
class Maximization(AbstractLearner[MaximizationState, MaximizationMetrics]):
    """A step of expectation maximisation on all sequences, in dynamics, noises and emission.

    Noise that would vanish, as with data that a state explains without error, is kept at `FLOOR`: its likelihood has no
    bound. Batches are `SequenceBatch`, all sequences padded to one length. The initial state is learned from several
    sequences, one says nothing about its spread.

    Attributes:
        model: where learning starts.
    """

    model: LinearGaussian

    def init(self, *, key: Key) -> MaximizationState:
        fine = jnp.zeros((), bool)
        failure = MaximizationFailure(jnp.full((), -1, jnp.int32), fine, fine)
        return MaximizationState(self.model, jnp.zeros((), jnp.int32), failure)

    def update(
        self, state: MaximizationState, batch: SequenceBatch, *, key: Key
    ) -> tuple[MaximizationState, MaximizationMetrics]:
        mask = batch.mask
        # What is missing is NaN for exact filters; beyond the end `lengths` says so.
        seen = jnp.where(mask, batch.observations, jnp.nan)
        several = seen.shape[0] > 1
        parts = Parts(initial=several, emission_matrix=True, emission_offset=True, emission_noise=True)
        found = expectation_maximization(
            state.model, seen, batch.actions, lengths=batch.lengths, parts=parts, num_steps=1, throw=False
        )
        new = _floored(found.model, _deviation(seen), several)
        after = expectation_maximization(
            new, seen, batch.actions, lengths=batch.lengths, parts=parts, num_steps=0, throw=False
        ).log_evidence_nats[-1]
        leaves = jax.tree.leaves(eqx.filter(new, eqx.is_inexact_array))
        sound = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
        likely, before = jnp.isfinite(after), state.failure
        now = (before.step < 0) & ~(likely & sound)
        failure = MaximizationFailure(
            jnp.where(now, state.step, before.step),
            jnp.where(now, ~likely, before.likelihood),
            jnp.where(now, ~sound, before.model),
        )
        kept = jax.tree.map(
            lambda new, old: jnp.where(failure.step < 0, new, old) if eqx.is_array(old) else old, new, state.model
        )
        energy = -after / jnp.maximum(jnp.sum(jnp.any(mask, axis=2)), 1)
        return MaximizationState(kept, state.step + 1, failure), MaximizationMetrics(energy)


def _deviation(seen: Float[Array, "sequences time m"]) -> Float[Array, " m"]:
    """Standard deviation of each entry over all that was seen of it."""
    known = ~jnp.isnan(seen)
    count = jnp.maximum(jnp.sum(known, axis=(0, 1)), 1)
    mean = jnp.sum(seen, axis=(0, 1), where=known) / count
    return jnp.sqrt(jnp.sum((seen - mean[None, None, :]) ** 2, axis=(0, 1), where=known) / count)


def _floored(model: LinearGaussian, deviation: Float[Array, " m"], several: bool) -> LinearGaussian:
    """The model with a little noise added to each noise that was learned."""
    dynamics = model.dynamics
    assert isinstance(dynamics, LinearDynamics)
    state = jnp.full(dynamics.dim, FLOOR, deviation.dtype)
    moving = LinearDynamics(dynamics.matrix, dynamics.control, _added(dynamics.scale_tril, state), dynamics.offset)
    initial = _added(model.initial_scale_tril, state) if several else model.initial_scale_tril
    noise = _added(model.emission_scale_tril, FLOOR * deviation)
    return LinearGaussian(model.initial_mean, initial, moving, model.emission_matrix, noise, model.emission_offset)


def _added(tril: Float[Array, "n n"], deviation: Float[Array, " n"]) -> Float[Array, "n n"]:
    """The lower factor of L L^T + diag(s^2)."""
    return positive_tria(jnp.concatenate([tril, jnp.diag(deviation)], axis=1))
