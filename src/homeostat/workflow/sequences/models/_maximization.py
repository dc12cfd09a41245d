"""Expectation maximisation of a model with an exact filter, a step at a time, so that a run can watch it, choose and go on."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple, final

import jax.numpy as jnp

from ....core import AbstractLearner
from ....distributions import positive_tria
from ....inference import (
    Failure,
    Learned,
    ModelWithFilter,
    Parts,
    SequenceBatch,
    StateParts,
    baum_welch,
    expectation_maximization,
    first_failure,
    no_failure,
    unless_failed,
)
from ....models.sequential import LEAST_NOISE, HiddenMarkov, LinearDynamics, LinearGaussian
from ....typing import Array, Float, Int, Key, Scalar
from ..._task import Selected
from .._options import SequencesOptions
from ._named import AbstractNamedModel, SequencesSystem


class MaximizationState(NamedTuple):
    """State of expectation maximisation."""

    model: Any
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
    """A step of expectation maximisation on all sequences; batches are `SequenceBatch`, all padded to one length.

    Attributes:
        model: where to start.
        improve: `linear_step` or `states_step`: a better model and its log p(x), from a model and a batch.
    """

    model: Any
    improve: Callable[[Any, SequenceBatch], tuple[Any, Scalar]]

    def init(self, *, key: Key) -> MaximizationState:
        return MaximizationState(self.model, jnp.zeros((), jnp.int32), no_failure())

    def update(
        self, state: MaximizationState, batch: SequenceBatch, *, key: Key
    ) -> tuple[MaximizationState, MaximizationMetrics]:
        new, evidence = self.improve(state.model, batch)
        failure = first_failure(state.failure, state.step, -evidence, jnp.zeros(()), new)
        kept = unless_failed(failure, lambda _: new, state.model)
        assert batch.mask is not None
        observed = batch.mask.reshape(*batch.mask.shape[:2], -1)
        energy = -evidence / jnp.maximum(jnp.sum(jnp.any(observed, axis=2)), 1)
        return MaximizationState(kept, state.step + 1, failure), MaximizationMetrics(energy)


class AbstractMaximizedModel(AbstractNamedModel):
    """A model with an exact filter that learns by steps of expectation maximisation on all sequences.

    Attributes:
        improve: a better model and its log p(x), from a model and a batch.
    """

    together: ClassVar[bool] = True
    improve: ClassVar[Callable[[Any, SequenceBatch], tuple[Any, Scalar]]]

    def learner(self, system: SequencesSystem) -> Maximization:
        return Maximization(system.learned.model, self.improve)

    def select(self, system: SequencesSystem, state: MaximizationState) -> Selected:
        return Selected(ModelWithFilter(state.model, system.learned.filter), system.weighting.init())

    def at_fault(self, term: str) -> str:
        return {"distortion": "likelihood", "gradient": "model"}.get(term, term)

    def estimate(self, options: SequencesOptions) -> str:
        return "exact"


def linear_step(model: LinearGaussian, batch: SequenceBatch) -> tuple[LinearGaussian, Scalar]:
    """A step for dynamics, noises and emission, and log p(x) after it.

    Noise that would vanish, as with data that a state explains without error, is kept at `LEAST_NOISE`: its likelihood has no
    bound. The initial state is learned from several sequences, one says nothing about its spread.
    """
    return _maximize_linear(model, batch, 1)


def learn_linear(model: LinearGaussian, batch: SequenceBatch, num_steps: int) -> LinearGaussian:
    """The model after so many such steps, with the floor of noises after the last."""
    return _maximize_linear(model, batch, num_steps)[0]


def _maximize_linear(model: LinearGaussian, batch: SequenceBatch, num_steps: int) -> tuple[LinearGaussian, Scalar]:
    seen = batch.seen
    several = seen.shape[0] > 1
    maximize = partial(
        expectation_maximization,
        observations=seen,
        actions=batch.actions,
        lengths=batch.lengths,
        parts=Parts(initial=several, emission_matrix=True, emission_offset=True, emission_noise=True),
        throw=False,
    )
    new = _floored(maximize(model, num_steps=num_steps).model, _deviation(seen), several)
    return new, maximize(new, num_steps=0).log_evidence_nats[-1]


def states_step(model: HiddenMarkov, batch: SequenceBatch) -> tuple[HiddenMarkov, Scalar]:
    """A step of Baum and Welch, and log p(x) after it."""
    found = learn_states(model, batch, 1)
    return found.model, found.log_evidence_nats[-1]


def learn_states(model: HiddenMarkov, batch: SequenceBatch, num_steps: int) -> Learned[HiddenMarkov]:
    """Steps of Baum and Welch under the prior of one pseudo-observation, which is that of all data together.

    The prior does not change from step to step, because neither do the data. Where sequences start is learned from several.
    """
    assert batch.mask is not None
    return baum_welch(
        model,
        batch.seen,
        lengths=batch.lengths,
        parts=StateParts(initial=batch.mask.shape[0] > 1),
        num_steps=num_steps,
        throw=False,
    )


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
    state = jnp.full(dynamics.dim, LEAST_NOISE, deviation.dtype)
    moving = LinearDynamics(dynamics.matrix, dynamics.control, _added(dynamics.scale_tril, state), dynamics.offset)
    initial = _added(model.initial_scale_tril, state) if several else model.initial_scale_tril
    noise = _added(model.emission_scale_tril, LEAST_NOISE * deviation)
    return LinearGaussian(model.initial_mean, initial, moving, model.emission_matrix, noise, model.emission_offset)


def _added(tril: Float[Array, "n n"], deviation: Float[Array, " n"]) -> Float[Array, "n n"]:
    """The lower factor of L L^T + diag(s^2)."""
    return positive_tria(jnp.concatenate([tril, jnp.diag(deviation)], axis=1))
