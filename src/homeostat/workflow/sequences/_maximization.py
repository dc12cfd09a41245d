"""Expectation maximisation of a linear-Gaussian model, a step at a time, so that a run can watch it, choose and go on."""

from functools import partial
from typing import NamedTuple, final

import jax.numpy as jnp

from ...core import AbstractLearner
from ...distributions import positive_tria
from ...inference import (
    Failure,
    Parts,
    SequenceBatch,
    expectation_maximization,
    first_failure,
    no_failure,
    unless_failed,
)
from ...models.sequential import LinearDynamics, LinearGaussian
from ...typing import Array, Float, Int, Key, Scalar

FLOOR = 1e-3
"""Least deviation of a noise: of an output's in deviations of the data, of the state's in the unit in which it starts."""


class MaximizationState(NamedTuple):
    """State of expectation maximisation."""

    model: LinearGaussian
    step: Int[Array, ""]
    failure: Failure


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
    """

    model: LinearGaussian

    def init(self, *, key: Key) -> MaximizationState:
        return MaximizationState(self.model, jnp.zeros((), jnp.int32), no_failure())

    def update(
        self, state: MaximizationState, batch: SequenceBatch, *, key: Key
    ) -> tuple[MaximizationState, MaximizationMetrics]:
        # What is missing is NaN for exact filters; beyond the end `lengths` says so.
        seen = jnp.where(batch.mask, batch.observations, jnp.nan)
        several = seen.shape[0] > 1
        maximize = partial(
            expectation_maximization,
            observations=seen,
            actions=batch.actions,
            lengths=batch.lengths,
            parts=Parts(initial=several, emission_matrix=True, emission_offset=True, emission_noise=True),
            throw=False,
        )
        new = _floored(maximize(state.model, num_steps=1).model, _deviation(seen), several)
        nats = -maximize(new, num_steps=0).log_evidence_nats[-1]
        failure = first_failure(state.failure, state.step, nats, jnp.zeros(()), new)
        kept = unless_failed(failure, lambda _: new, state.model)
        energy = nats / jnp.maximum(jnp.sum(jnp.any(batch.mask, axis=2)), 1)
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
