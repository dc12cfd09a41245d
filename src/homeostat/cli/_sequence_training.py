"""How a fit to sequences trains: what it reads, the unit in which it reports, and what may end it."""

from collections.abc import Callable
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np

from ..data import AbstractCropping, AbstractSequences, FullLength, Windows, num_batches, sequence_batches
from ..inference import SequenceBatch
from ..results import BadInputError
from ..train import AbstractKeeper, LoopCheckpoint, SegmentReport
from ..workflow import SequenceKept, SequencesDescription, SequencesSystem
from ._context import RunContext
from ._training import AbstractFeed, Trained, train_on_rows

MAXIMIZATION_STEPS = 200
_MAXIMIZATION_SEGMENT = 5
_MOST_BYTES = 1 << 33


@final
class SequenceFeed(AbstractFeed):
    """Pieces of sequences, read on the host a segment at a time; the same for the same seed, wherever a run goes on."""

    def __init__(
        self,
        sequences: AbstractSequences,
        cut: AbstractCropping,
        observations: SequencesDescription,
        batch_size: int,
        seed: int,
    ):
        self._sequences, self._cut, self._observations = sequences, cut, observations
        self._batch_size, self._seed = batch_size, seed
        self._per_epoch = num_batches(sequences, cut, batch_size)
        self._next, self._batches = -1, iter(())

    def fixed(self) -> None:
        return None

    def segment(self, start: int, count: int) -> SequenceBatch:
        found = [self._at(step) for step in range(start, start + count)]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)

    def _at(self, step: int) -> SequenceBatch:
        epoch, number = divmod(step, self._per_epoch)
        if step != self._next or number == 0:
            self._batches = sequence_batches(
                self._sequences, self._cut, self._batch_size, seed=self._seed, epoch=epoch, start=number
            )
        self._next = step + 1
        return self._observations.batch(next(self._batches))

    @staticmethod
    def batch(fixed: None, one: SequenceBatch) -> SequenceBatch:
        return one


@final
class WholeFeed(AbstractFeed):
    """All sequences whole, side by side on the device, in every step."""

    def __init__(self, sequences: AbstractSequences, observations: SequencesDescription, seed: int):
        longest = FullLength((int(sequences.lengths.max()),))
        self._batch = observations.batch(next(iter(sequence_batches(sequences, longest, len(sequences), seed=seed))))

    def fixed(self) -> SequenceBatch:
        return self._batch

    def segment(self, start: int, count: int) -> jax.Array:
        return jnp.zeros(count)

    @staticmethod
    def batch(fixed: SequenceBatch, one: jax.Array) -> SequenceBatch:
        return fixed


class BoundMetrics(NamedTuple):
    """What a segment of an exact filter measured, or one that failed.

    Attributes:
        free_energy_nats: -log p(x) per step at which something was observed.
    """

    free_energy_nats: float


@final
class InDataUnit(AbstractKeeper):
    """Hands on reports in the unit of the data, without the parts that an exact filter does not have.

    Args:
        keeper: to whom.
        offset_nats: what the unit adds to each step.
    """

    def __init__(self, keeper: AbstractKeeper, offset_nats: float):
        self._keeper, self._offset_nats = keeper, offset_nats

    def restore(self, like: LoopCheckpoint) -> LoopCheckpoint | None:
        """Where the loop was, or None to begin."""
        return self._keeper.restore(like)

    def after_segment(self, report: SegmentReport, checkpoint: Callable[[], LoopCheckpoint]) -> None:
        """Hand on the shifted report."""
        metrics, more = report.metrics, self._offset_nats
        if np.isnan(metrics.rate_nats):
            metrics = BoundMetrics(metrics.free_energy_nats + more)
        else:
            metrics = metrics._replace(
                free_energy_nats=metrics.free_energy_nats + more,
                distortion_nats=metrics.distortion_nats + more,
                weighted_nats=metrics.weighted_nats + more,
            )
        self._keeper.after_segment(report._replace(metrics=metrics), checkpoint)


def train_on_sequences(
    system: SequencesSystem,
    train: AbstractSequences,
    validate: Callable[[SequenceKept], float] | None,
    context: RunContext,
    *,
    key: Any,
) -> Trained:
    """Train, and keep the best on the validation sequences, or the last.

    Args:
        system: what to train.
        train: sequences that may teach something.
        validate: free energy per step of what is kept on the validation sequences, in nats of the data; None without any.
        context: of the run.
        key: for draws.
    """
    config, observations = system.config, system.observations
    steps, every, look = config.steps, config.report_every, config.validate_every
    if system.closed_form:
        _require_memory(system, train)
        steps = min(steps, MAXIMIZATION_STEPS)
        # Its steps are few and go far.
        every = look = _MAXIMIZATION_SEGMENT
        feed: AbstractFeed = WholeFeed(train, observations, context.seed)
    else:
        feed = SequenceFeed(train, Windows(config.piece), observations, config.batch_size, context.seed)

    def on_validation(step: int, nats: float) -> None:
        context.metrics(step=step, validation_free_energy_nats=nats)

    with context.keeper("train", steps) as keeper:
        trained = train_on_rows(
            system.learner(),
            feed,
            keep=system.keep,
            validate=validate,
            on_validation=on_validation,
            num_steps=steps,
            every=every,
            validate_every=look,
            patience=config.patience,
            key=key,
            keeper=InDataUnit(keeper, observations.mean_log_unit_nats(train)),
        )
    if steps < config.steps and trained.last_step == steps:
        context.say(f"  expectation maximisation ended after {MAXIMIZATION_STEPS} steps, the most it takes")
    return trained


def _require_memory(system: SequencesSystem, train: AbstractSequences) -> None:
    """Expectation maximisation keeps a square matrix of states and numbers for every step."""
    padded = len(train) * int(train.lengths.max())
    width = system.config.latents + int(np.prod(system.observations.shape)) + 1
    size = 2 * padded * width**2 * jnp.result_type(float).itemsize
    if size > _MOST_BYTES:
        raise BadInputError(
            f"Expected sequences that --engine exact can hold in 8 GiB, got {padded} steps (each sequence filled up to the "
            f"longest) of {width - 1} states and numbers in {train.name}, about {size / 2**30:.0f} GiB: choose fewer "
            f"columns, shorter sequences, or a deep model."
        )
