"""The filter that a model was published with against amortized variational filtering, as in Tables 4.1 to 4.3.

Every model is trained anew with each filter and each seed. What counts is the model that does best on validation clips,
looked at in regular intervals during training (`KeepBest`); test sequences are read by the final figures and by nothing
else.

The published filters are trained through everything, as in their sources. Amortized variational filtering is local to a
step (Algorithm 2), and its network moves at every time step, as in the authors' code.
"""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from ...core import AbstractLearner, AbstractSequentialModel
from ...inference import Failure, FilteringDescent, FilteringMetrics, FilteringState, ModelWithFilter, SequenceBatch
from ...inference.engines import Gated, LearnedSGD, ScaledGradient
from ...inference.filters import FlatReader, NormalizedMean, VariationalFilter, amortized_variational_filter
from ...objectives import Annealing
from ...typing import Array, Float, Int, Key, Scalar
from .._protocol import AbstractRunContext
from ..ch3._comparison import count_weights
from ._clips import Clips, Recordings
from ._common import SequenceBounds, Trained, Training, per_step, sequence_bounds, train
from ._primed import ConditionedOnFirst, scored_steps


class Update(enum.StrEnum):
    """How a new estimate is made of the old one."""

    gated = "gated"
    """Highway gates, Eq. 3.12."""
    learned_sgd = "learned_sgd"
    """A step along the gradient whose length is learned, and an offset; posterior means are layer-normalised."""


@dataclass(frozen=True)
class Amortized:
    """The update network of amortized variational filtering, the same for all models."""

    width: int = 1024
    """Units in each hidden layer (count)."""
    depth: int = 2
    """Hidden layers (count)."""
    update: Update = Update.gated
    """Rule that makes the new estimate."""
    reads_observation: bool = False
    """Whether the network reads the observation besides estimate and gradient."""

    def build(
        self, model: AbstractSequentialModel, num_iterations: int, batch_size: int, *, key: Key
    ) -> VariationalFilter:
        """The filter; gradients that `learned_sgd` steps along are those of the mean over a training batch, as published."""
        options = {"reader": FlatReader()} if self.reads_observation else {}
        if self.update is Update.learned_sgd:
            options |= {"update": ScaledGradient(LearnedSGD(), 1.0 / batch_size), "bound": NormalizedMean()}
        else:
            options |= {"update": Gated()}
        return amortized_variational_filter(
            model, key=key, num_steps=num_iterations, width=self.width, depth=self.depth, **options
        )


@dataclass(frozen=True)
class Reporting:
    """How models are chosen and judged."""

    num_seeds: int = 3
    """Independent trainings of each kind (count)."""
    validation_every: int = 100
    """Updates between two looks at the validation clips (count)."""
    annealing: float = 0.0625
    """Share of the updates during which the weight of the rate rises from 0 to 1 (fraction)."""
    batch_size: int = 8
    """Sequences filtered at once in the final evaluation (count)."""


class Contender(NamedTuple):
    """A filter.

    Attributes:
        name: in tables and stages.
        num_iterations: of inference at each step; 0 for the published filter.
        filter: `filter(model, key=...)` builds it.
    """

    name: str
    num_iterations: int
    filter: Callable[..., VariationalFilter]

    @property
    def published(self) -> bool:
        """Whether it is the filter that the model was published with."""
        return self.num_iterations == 0


class Contest(NamedTuple):
    """One generative model on one set of sequences.

    Attributes:
        name: in tables and stages.
        data: the sequences.
        model: `model(key=...)` builds the generative model.
        contenders: filters, the published one first.
        training: of all of them.
    """

    name: str
    data: Recordings
    model: Callable[..., AbstractSequentialModel]
    contenders: Sequence[Contender]
    training: Training

    def build(self, contender: Contender, key: Key | None = None) -> ModelWithFilter:
        """Model and filter with first weights; the model's do not depend on the filter. Without a key, for shapes alone."""
        model_key, filter_key = jr.split(jr.key(0) if key is None else key)
        model = self.model(key=model_key)
        return ModelWithFilter(ConditionedOnFirst(model), contender.filter(model, key=filter_key))


def contenders(
    published: Callable[..., VariationalFilter], amortized: Amortized, iterations: Sequence[int], batch_size: int
) -> tuple[Contender, ...]:
    """The published filter, and amortized variational filtering with each number of iterations."""

    def build(num: int) -> Callable[..., VariationalFilter]:
        return lambda model, *, key: amortized.build(model, num, batch_size, key=key)

    return (
        Contender("baseline", 0, published),
        *(Contender(f"AVF, {num} iteration{'s' if num > 1 else ''}", num, build(num)) for num in iterations),
    )


# ----------------------------------------------------------------------------------------------------------- training


class KeepBestState(NamedTuple):
    """What training with `KeepBest` carries on.

    Attributes:
        inner: of the learner itself.
        learned: the best so far.
        validation_nats: its free energy per scored step of the validation clips.
    """

    inner: FilteringState
    learned: ModelWithFilter
    validation_nats: Scalar

    @property
    def failure(self) -> Failure:
        """Why updates stopped, if they did."""
        return self.inner.failure


@final
class KeepBest(AbstractLearner[KeepBestState, FilteringMetrics]):
    """A learner that remembers the numbers with the lowest free energy on validation sequences.

    Attributes:
        learner: the learner.
        validation: sequences for a `ConditionedOnFirst` model.
        every: updates between two looks; the first is after so many.
    """

    learner: FilteringDescent
    validation: SequenceBatch
    every: int = eqx.field(static=True)

    def init(self, *, key: Key) -> KeepBestState:
        inner = self.learner.init(key=key)
        return KeepBestState(inner, inner.learned, jnp.full((), jnp.inf, jnp.result_type(float)))

    def update(self, state: KeepBestState, batch: Clips, *, key: Key) -> tuple[KeepBestState, FilteringMetrics]:
        update_key, look_key = jr.split(key)
        inner, metrics = self.learner.update(state.inner, batch, key=update_key)
        now, rest = eqx.partition(inner.learned, eqx.is_array)
        best = eqx.filter(state.learned, eqx.is_array)

        def look() -> tuple[ModelWithFilter, Scalar]:
            nats = clip_nats(inner.learned, self.validation, key=look_key).astype(state.validation_nats.dtype)
            better = nats < state.validation_nats
            kept = jax.tree.map(lambda new, old: jnp.where(better, new, old), now, best)
            return kept, jnp.where(better, nats, state.validation_nats)

        due = inner.step % self.every == 0
        best, nats = jax.lax.cond(due, look, lambda: (best, state.validation_nats))
        return KeepBestState(inner, eqx.combine(best, rest), nats), metrics


def clip_nats(learned: ModelWithFilter, clips: SequenceBatch, *, key: Key, batch_size: int = 128) -> Scalar:
    """Free energy per scored step of all clips together."""
    batch_size = even_batch(clips.observations.shape[0], batch_size)
    bounds = sequence_bounds(learned.filter, learned.model, clips, key=key, batch_size=batch_size)
    return jnp.sum(bounds.free_energy_nats) / jnp.sum(scored_steps(bounds.num_steps))


def even_batch(num: int, most: int) -> int:
    """The largest batch, up to `most`, of which `num` sequences are a multiple: a rest would be a program of its own.

    `most` where all such batches are far smaller.
    """
    even = max(size for size in range(1, max(1, min(num, most)) + 1) if num % size == 0)
    return even if 2 * even >= min(num, most) else most


def learn(
    context: AbstractRunContext, contest: Contest, contender: Contender, reporting: Reporting, seed: int, *, key: Key
) -> Trained:
    """Train one model with one filter, resumable; the best by validation comes back."""
    training, data = contest.training, contest.data
    rising = max(1, round(reporting.annealing * training.num_steps))
    weighting = Annealing(optax.linear_schedule(0.0, 1.0, rising))
    every = min(reporting.validation_every, training.num_steps)
    own = {"detach": _through} if contender.published else {"online": _online(training, data.clip)}
    return train(
        context,
        stage_name(contest, contender, seed),
        data.train,
        lambda key=jr.key(0): contest.build(contender, key),
        training,
        key=key,
        weighting=weighting,
        prepare=data.prepare,
        every=every,
        around=lambda learner: KeepBest(learner, data.sequences(data.validation), every),
        **own,
    )


def stage_name(contest: Contest, contender: Contender, seed: int) -> str:
    """Without spaces."""
    return "-".join([contest.name, contender.name, str(seed)]).replace(",", "").replace(" ", "-")


def _through(array: Array) -> Array:
    """Gradients flow through the past."""
    return array


def _online(training: Training, clip: int) -> optax.GradientTransformation:
    # One update a time step: the same rates at the same share of training as for the model.
    return replace(training, num_steps=training.num_steps * clip).optimizer()


# --------------------------------------------------------------------------------------------------------- evaluation


class Score(NamedTuple):
    """What one trained model reaches.

    Attributes:
        free_energy_nats: of each test sequence, all scored steps together.
        num_steps: scored steps of each test sequence.
        validation_nats: per scored step of the validation clips.
    """

    free_energy_nats: Float[np.ndarray, "*seeds sequences"]
    num_steps: Int[np.ndarray, "*seeds sequences"] | Float[np.ndarray, "*seeds sequences"]
    validation_nats: Float[np.ndarray, "*seeds"]


class Standing(NamedTuple):
    """All seeds of one filter; scores have a leading axis of seeds.

    Attributes:
        contender: the filter.
        score: of the trained models.
        weights: learnable numbers of model and filter together.
        first: model and filter of the first seed, for pictures.
    """

    contender: Contender
    score: Score
    weights: int
    first: ModelWithFilter

    @property
    def nats(self) -> Float[np.ndarray, " seeds"]:
        """Free energy per step over all steps of all test sequences."""
        return np.array(
            [
                float(per_step(SequenceBounds(totals, steps)).value)
                for totals, steps in zip(self.score.free_energy_nats, self.score.num_steps, strict=True)
            ]
        )

    @property
    def nats_of_sequences(self) -> Float[np.ndarray, " seeds"]:
        """Free energy per step of each test sequence, mean over sequences."""
        return np.mean(self.score.free_energy_nats / self.score.num_steps, axis=1)


def compete(context: AbstractRunContext, contest: Contest, reporting: Reporting, *, key: Key) -> list[Standing]:
    """Train and score every filter with every seed, resumable model by model."""
    standings = []
    for contender in contest.contenders:
        first, *others = [
            learn(context, contest, contender, reporting, seed, key=key).learned for seed in range(reporting.num_seeds)
        ]
        each = [
            _score(context, contest, contender, learned, reporting, seed, key)
            for seed, learned in enumerate((first, *others))
        ]
        score = Score(*(np.stack(leaves) for leaves in zip(*each, strict=True)))
        weights = count_weights(lambda contender=contender: contest.build(contender))
        standings.append(Standing(contender, score, weights, first))
        context.say(f"{contest.name}: {contender.name}, {np.mean(standings[-1].nats):.3f} nats a step")
    return standings


def _score(
    context: AbstractRunContext,
    contest: Contest,
    contender: Contender,
    learned: ModelWithFilter,
    reporting: Reporting,
    seed: int,
    key: Key,
) -> Score:
    name = stage_name(contest, contender, seed)

    def judge(key: Key) -> Score:
        data = contest.data
        test_key, validation_key = jr.split(key)
        bounds = test_bounds(context, f"test ({name})", learned, data, reporting, key=test_key)
        clips = clip_nats(learned, data.sequences(data.validation), key=validation_key)
        return Score(np.asarray(bounds.free_energy_nats), np.asarray(bounds.num_steps), np.asarray(clips))

    return context.stage(f"{name}-score", judge, key=key)


def test_bounds(
    context: AbstractRunContext,
    description: str,
    learned: ModelWithFilter,
    data: Recordings,
    reporting: Reporting,
    *,
    key: Key,
) -> SequenceBounds:
    """Whole test sequences; the steps are those that count."""
    found = []
    with context.progress(description, total=len(data.test)) as bar:
        for index, group in enumerate(data.test):
            bounds = sequence_bounds(
                learned.filter, learned.model, data.sequences(group), key=jr.fold_in(key, index),
                batch_size=even_batch(len(group.lengths), reporting.batch_size),
            )  # fmt: skip
            found.append(SequenceBounds(np.asarray(bounds.free_energy_nats), np.asarray(bounds.num_steps)))
            bar.advance()
    totals, lengths = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return SequenceBounds(totals, np.asarray(scored_steps(lengths)))
