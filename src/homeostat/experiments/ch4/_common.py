"""What the experiments of chapter 4 share: training of a model with its filter, and bounds on whole sequences.

A typical use:

    build = lambda key=jr.key(0): ModelWithFilter(model, filter)
    trained = train(context, "avf", SequenceBatch(values, lengths=lengths), build, config.training, key=key)
    bounds = sequence_bounds(trained.learned.filter, trained.learned.model, SequenceBatch(test, lengths=lengths), key=key)
    context.measure("music/jsb", *per_step(bounds))
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from ...core import AbstractFilter, AbstractLearner, AbstractSequentialModel
from ...inference import (
    AbstractIterationWeights,
    AllIterations,
    FilteringDescent,
    ModelWithFilter,
    SequenceBatch,
    filter,
    length_mask,
)
from ...metrics import Estimated
from ...objectives import AbstractWeighting, Unweighted
from ...results import BadInputError
from ...typing import Array, Float, Key, PyTree
from .._protocol import AbstractRunContext
from ..ch3._common import mean_and_error as mean_and_error, median_seconds as median_seconds, printed as printed


@dataclass(frozen=True)
class Training:
    """How a model and its filter are trained, with Adam."""

    num_steps: int = 10_000
    """Updates (count)."""
    batch_size: int = 16
    """Sequences in a batch (count)."""
    learning_rate: float = 1e-3
    """Adam's rate at the start (dimensionless)."""
    final_rate: float = 0.1
    """Share of the rate that is left at the end; it falls along half a cosine (fraction)."""
    truncation: int = 0
    """Steps of a sequence that are differentiated through together; 0 for whole sequences (count)."""
    largest_gradient: float = 0.0
    """Norm to which a longer gradient of a batch is clipped; 0 for no clipping (nats)."""

    def optimizer(self) -> optax.GradientTransformation:
        """Adam with a falling rate, after clipping where that is asked for."""
        adam = optax.adam(optax.cosine_decay_schedule(self.learning_rate, self.num_steps, alpha=self.final_rate))
        if self.largest_gradient > 0.0:
            return optax.chain(optax.clip_by_global_norm(self.largest_gradient), adam)
        return adam


def filter_alone(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """An optimiser for a `ModelWithFilter` that leaves the model as it is."""

    def init(params: ModelWithFilter) -> optax.OptState:
        return optimizer.init(params.filter)

    def update(
        updates: ModelWithFilter, state: optax.OptState, params: ModelWithFilter
    ) -> tuple[ModelWithFilter, optax.OptState]:
        moved, state = optimizer.update(updates.filter, state, params.filter)
        still = jax.tree.map(jnp.zeros_like, updates.model)
        return eqx.tree_at(lambda both: (both.model, both.filter), updates, (still, moved)), state

    return optax.GradientTransformation(init, update)


# ----------------------------------------------------------------------------------------------------------- training


class Trained(NamedTuple):
    """A trained model with its filter.

    Attributes:
        learned: the model and the filter.
        steps: updates done at the end of each segment.
        free_energy_nats: per step of a sequence, mean over each segment, on training batches.
    """

    learned: ModelWithFilter
    steps: Float[Array, " segments"]
    free_energy_nats: Float[Array, " segments"]


def train(
    context: AbstractRunContext,
    name: str,
    sequences: SequenceBatch | PyTree,
    build: Callable[..., ModelWithFilter],
    training: Training,
    *,
    key: Key,
    fixed_model: bool = False,
    engine_weights: AbstractIterationWeights = AllIterations(),
    weighting: AbstractWeighting = Unweighted(),
    detach: Callable[[Array], Array] = jax.lax.stop_gradient,
    online: optax.GradientTransformation | None = None,
    prepare: Callable[..., PyTree] | None = None,
    rematerialize: Callable[[Callable], Callable] | None = None,
    around: Callable[[FilteringDescent], AbstractLearner] | None = None,
    every: int = 100,
) -> Trained:
    """Train a model and its filter together as a stage of the run, resumable.

    Args:
        context: of the run.
        name: of the stage, unique in the experiment.
        sequences: all training sequences, leading axes [sequences, time]; a tree that `prepare` makes a `SequenceBatch` of, or one.
        build: `build(key=...)` gives the model with its filter; also called for the structure alone.
        training: steps, batch and rate.
        key: the stage's key is folded from it.
        fixed_model: leave the model as it is and train the filter.
        engine_credit: which iterations teach the engine.
        weighting: around the free energy's terms.
        detach: `jax.lax.stop_gradient` keeps inference local to the step; the identity differentiates through everything.
        online: optimiser of the filter at every time step.
        prepare: applied to each batch.
        rematerialize: applied to the step before it is looped, `eqx.filter_checkpoint` for long sequences.
        around: applied to the learner, to watch it; its state has `learned` and `failure` as well.
        every: updates in a compiled segment.

    Raises:
        BadInputError: training met something that was not finite.
    """
    every = min(every, training.num_steps)
    segments = -(-training.num_steps // every)

    def fit(key: Key) -> Trained:
        build_key, fit_key = jr.split(key)
        optimizer = training.optimizer()
        options = {} if rematerialize is None else {"rematerialize": rematerialize}
        learner = FilteringDescent(
            eqx.filter_jit(build)(key=build_key),
            filter_alone(optimizer) if fixed_model else optimizer,
            training.truncation or None,
            weighting,
            engine_weights,
            detach,
            online,
            prepare,
            **options,
        )
        watched = learner if around is None else around(learner)
        steps, size = training.num_steps, training.batch_size
        result = context.fit(name, watched, sequences, num_steps=steps, batch_size=size, key=fit_key, every=every)
        if (failed := int(result.state.failure.step)) >= 0:
            raise BadInputError(
                f"Expected training of {name!r} to stay finite, got a value that was not at update {failed}: "
                "choose a smaller learning rate, or clip gradients."
            )
        return Trained(
            result.state.learned,
            jnp.asarray(result.steps, float),
            jnp.asarray(result.history.free_energy_nats, float),
        )

    empty = np.zeros(segments, jnp.result_type(float))
    return context.stage(
        name, fit, key=key, like=lambda: Trained(build(key=jr.key(0)), jnp.asarray(empty), jnp.asarray(empty))
    )


# --------------------------------------------------------------------------------------------------------- evaluation


class SequenceBounds(NamedTuple):
    """What a filter found for whole sequences.

    Attributes:
        free_energy_nats: sum over the steps of each sequence.
        num_steps: of each sequence.
    """

    free_energy_nats: Float[Array, " sequences"]
    num_steps: Float[Array, " sequences"]


@eqx.filter_jit
def sequence_bounds(
    method: AbstractFilter,
    model: AbstractSequentialModel,
    sequences: SequenceBatch,
    *,
    key: Key,
    batch_size: int = 8,
) -> SequenceBounds:
    """The free energy of whole sequences, each filtered from its first step to its last.

    Args:
        method: any filter.
        model: the model it believes in.
        sequences: leading axes [sequences, time]; padded with `lengths`, or with a mask.
        key: split over sequences.
        batch_size: sequences worked on at once.
    """
    leaves = jax.tree.leaves(sequences.observations)
    num, time = leaves[0].shape[:2]
    lengths = jnp.full(num, time) if sequences.lengths is None else sequences.lengths
    within = length_mask(lengths, time)
    if sequences.mask is not None:

        def both(mask: Array) -> Array:
            return mask & within.reshape(within.shape + (1,) * (mask.ndim - 2))

        within = jax.tree.map(both, sequences.mask)

    def one(inputs: tuple) -> Float[Array, ""]:
        values, actions, mask, one_key = inputs
        found = filter(method, model, values, actions, key=one_key, mask=mask, throw=False)
        return found.free_energy_nats

    inputs = (sequences.observations, sequences.actions, within, jr.split(key, num))
    totals = jax.lax.map(one, inputs, batch_size=min(batch_size, num))
    return SequenceBounds(totals, lengths.astype(totals.dtype))


def per_step(bounds: SequenceBounds) -> Estimated:
    """Free energy per step over all steps of all sequences, with its standard error over sequences.

        m = sum_n F_n / sum_n T_n,   se^2 = N / (N - 1) sum_n (F_n - m T_n)^2 / (sum_n T_n)^2

    The ratio counts long sequences for what they are; there is no error (NaN) for a single sequence.
    """
    return _ratio(np.asarray(bounds.free_energy_nats, float), np.asarray(bounds.num_steps, float))


def lead(better: SequenceBounds, worse: SequenceBounds) -> Estimated:
    """By how much less free energy per step the first has than the second on the same sequences, with its paired error."""
    difference = np.asarray(worse.free_energy_nats, float) - np.asarray(better.free_energy_nats, float)
    return _ratio(difference, np.asarray(better.num_steps, float))


def _ratio(totals: np.ndarray, steps: np.ndarray) -> Estimated:
    mean, num = totals.sum() / steps.sum(), len(totals)
    residual = totals - mean * steps
    variance = (residual**2).sum() * num / (num - 1) if num > 1 else np.nan
    return Estimated(jnp.asarray(mean), jnp.asarray(np.sqrt(variance) / steps.sum()))
