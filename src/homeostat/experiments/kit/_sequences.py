"""Sequences of which the first step is given: batches for training, validation on clips, and scores of whole test sequences."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ...core import AbstractSequentialModel
from ...data import Clips, SequenceArrays
from ...inference import ModelWithFilter, SequenceBatch, condition_on_first, random_crops
from ...metrics import evaluate_sequences, predictions_and_updates
from ...models.static import AbstractLikelihood
from ...runs import RunContext
from ...typing import Array, Float, Key, Scalar
from ._method import Comparison, Method, Result, compare
from ._report import Column, Published, report


@final
@dataclass(frozen=True)
class Reporting:
    """How models are chosen and judged."""

    num_seeds: int = 3
    """Independent trainings of each kind (count)."""
    validation_every: int = 100
    """Updates between two validations (count)."""
    annealing: float = 0.0625
    """Share of the updates during which the weight of the rate rises from 0 to 1 (fraction)."""
    batch_size: int = 8
    """Sequences filtered at once in the final evaluation (count)."""


@final
@dataclass(frozen=True, eq=False)
class SequenceTask:
    """A generative model on a set of sequences, of which the first step is given.

    Attributes:
        name: in tables and stages.
        data: the sequences as stored.
        model: `model(key=...)` builds the generative model.
        density: of a step given features.
        decode: from stored numbers to what the model sees; as real numbers by default.
    """

    name: str
    data: SequenceArrays
    model: Callable[..., AbstractSequentialModel]
    density: AbstractLikelihood
    decode: Callable[[Array], Array] = lambda values: values.astype(float)

    def batch(self, clips: Clips) -> SequenceBatch:
        """Decoded, with the first step given and not scored."""
        return condition_on_first(self.decode(jnp.asarray(clips.values)), jnp.asarray(clips.lengths))

    def crops(self, clips: Clips, *, key: Key) -> SequenceBatch:
        """Training clips from random places of their sequences."""
        return self.batch(Clips(*random_crops(*clips, self.data.clip, key=key)))

    def steps(self) -> tuple[Array, Array]:
        """All training steps, and all test steps but the given ones, one under another."""
        test = np.concatenate([group.steps(1) for group in self.data.test])
        return self.decode(jnp.asarray(self.data.train.steps())), self.decode(jnp.asarray(test))

    def show(
        self, context: RunContext, name: str, of: Result, plot: Callable[..., Any], what: str, *, num_steps: int = 100
    ) -> None:
        """Draw the first test sequence: `plot(seen, predicted, updated)`, and say what is seen; at most so many scored steps."""
        group, learned = self.data.test[0], of.learned
        time = min(int(group.lengths[0]), num_steps + 1)
        batch = self.batch(Clips(group.values[:1, :time], np.array([time], np.int32)))
        found = predictions_and_updates(learned.filter, learned.model, batch, key=jr.key(0))
        caption = f"{what} predicted from the past, and after the update by {of.name}."
        context.figure(
            name, plot(*map(np.asarray, (batch.observations[0, 1:], found.predicted, found.updated))), caption=caption
        )


@final
class ClipNats(eqx.Module):
    """Free energy per scored step of all clips together.

    Attributes:
        clips: for a `ConditionedOnFirst` model.
        batch_size: clips filtered at once, at most.
    """

    clips: SequenceBatch
    batch_size: int = eqx.field(static=True, default=128)

    def __call__(self, learned: ModelWithFilter, *, key: Key) -> Scalar:
        size = even_batch(self.clips.observations.shape[0], self.batch_size)
        found = evaluate_sequences(learned.filter, learned.model, self.clips, key=key, batch_size=size)
        return jnp.sum(found.free_energy_nats) / jnp.sum(found.num_steps)


def even_batch(num: int, most: int) -> int:
    """The largest batch, up to `most`, of which `num` sequences are a multiple: a rest would be a program of its own.

    `most` where all such batches are far smaller.
    """
    even = max(size for size in range(1, max(1, min(num, most)) + 1) if num % size == 0)
    return even if 2 * even >= min(num, most) else most


class SequenceScores(NamedTuple):
    """What one trained model reaches.

    Attributes:
        free_energy_nats: of each test sequence, all scored steps together.
        num_steps: scored steps of each test sequence.
        validation_nats: per scored step of the validation clips.
    """

    free_energy_nats: Float[np.ndarray, "*seeds sequences"]
    num_steps: np.ndarray
    validation_nats: Float[np.ndarray, "*seeds"]


def compare_filters(
    context: RunContext, task: SequenceTask, methods: Sequence[Method], reporting: Reporting, *, key: Key
) -> Comparison:
    """Train every filter with every seed, and score whole test sequences."""
    validation = ClipNats(task.batch(task.data.validation))

    def score(method: Method, learned: ModelWithFilter, *, key: Key) -> SequenceScores:
        test_key, validation_key = jr.split(key)
        found = []
        with context.progress(f"test ({task.name}, {method.name})", total=len(task.data.test)) as bar:
            for index, group in enumerate(task.data.test):
                size = even_batch(len(group.lengths), reporting.batch_size)
                group_key = jr.fold_in(test_key, index)
                found.append(
                    evaluate_sequences(learned.filter, learned.model, task.batch(group), key=group_key, batch_size=size)
                )
                bar.advance()
        totals, steps, _ = (np.concatenate(parts) for parts in zip(*found, strict=True))
        clips = eqx.filter_jit(validation)(learned, key=validation_key)
        return SequenceScores(totals, steps, np.asarray(clips))

    found = compare(context, task.name, methods, task.data.train, score, num_seeds=reporting.num_seeds, key=key)
    for result in found.results:
        context.say(f"{task.name}: {result.name}, {np.mean(nats_per_step(result)):.3f} nats a step")
    return found


def nats_per_step(result: Result) -> Float[np.ndarray, " seeds"]:
    """Free energy per step over all steps of all test sequences."""
    return result.scores.free_energy_nats.astype(float).sum(axis=1) / result.scores.num_steps.sum(axis=1)


def nats_per_step_of_sequences(result: Result) -> Float[np.ndarray, " seeds"]:
    """Free energy per step of each test sequence, mean over sequences."""
    return np.mean(result.scores.free_energy_nats / result.scores.num_steps, axis=1)


def report_filters(
    context: RunContext, found: Sequence[Comparison], *, unit: str, caption: str, digits: int = 2, per: float = 1.0,
    published: Published | None = None,
) -> None:  # fmt: skip
    """The table of all comparisons, and the same as a picture; free energies per step are divided by `per`, such as pixels."""
    all_steps = lambda result: nats_per_step(result) / per  # noqa: E731
    columns = (
        Column("weights", lambda result: result.weights),
        Column(f"{unit}, all steps alike", all_steps, digits),
        Column(f"{unit}, all sequences alike", lambda result: nats_per_step_of_sequences(result) / per, digits),
        Column(f"{unit}, validation clips", lambda result: result.scores.validation_nats / per, digits),
    )
    report(
        context, found, columns, {"": all_steps}, heads=("model and data", "filter"), unit=unit, caption=caption,
        digits=digits, published=published,
    )  # fmt: skip
