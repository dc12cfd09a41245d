"""How a fit to sequences trains: what it reads, the unit in which it reports, and what may end it."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ..data import AbstractCropping, AbstractSequences, FullLength, Windows, num_batches, sequence_batches
from ..inference import SequenceBatch
from ..results import BadInputError
from ..train import AbstractLoader, FullBatch, StreamingLoader
from ..workflow import SequencesDescription, SequencesSystem
from ._context import RunContext
from ._fit import Trained

MAXIMIZATION_STEPS = 200
_MAXIMIZATION_SEGMENT = 5
_MOST_BYTES = 1 << 33


def windows(
    sequences: AbstractSequences, cut: AbstractCropping, observations: SequencesDescription, batch_size: int, seed: int
) -> StreamingLoader:
    """Pieces of sequences, read on the host; the same for the same seed, wherever a run goes on."""

    def batches(epoch: int, start: int) -> Iterator[SequenceBatch]:
        found = sequence_batches(sequences, cut, batch_size, seed=seed, epoch=epoch, start=start)
        return (observations.batch(padded) for padded in found)

    return StreamingLoader(batches, num_batches(sequences, cut, batch_size))


def all_sequences(sequences: AbstractSequences, observations: SequencesDescription, seed: int) -> FullBatch:
    """All sequences whole, side by side on the device, in every step."""
    longest = FullLength((int(sequences.lengths.max()),))
    return FullBatch(observations.batch(next(iter(sequence_batches(sequences, longest, len(sequences), seed=seed)))))


class BoundMetrics(NamedTuple):
    """What a segment of an exact filter measured, or one that failed.

    Attributes:
        free_energy_nats: -log p(x) per step at which something was observed.
    """

    free_energy_nats: float


def in_data_unit(metrics: Any, offset_nats: float) -> Any:
    """Metrics in the unit of the data, without the parts that an exact filter does not have.

    Args:
        metrics: means over a segment.
        offset_nats: what the unit adds to each step.
    """
    if np.isnan(metrics.rate_nats):
        return BoundMetrics(metrics.free_energy_nats + offset_nats)
    return metrics._replace(
        free_energy_nats=metrics.free_energy_nats + offset_nats,
        distortion_nats=metrics.distortion_nats + offset_nats,
        weighted_nats=metrics.weighted_nats + offset_nats,
    )


def train_on_sequences(
    system: SequencesSystem,
    train: AbstractSequences,
    validate: Callable[[Any, Any], float] | None,
    context: RunContext,
    *,
    key: Any,
) -> Trained:
    """Train, and keep the best on the validation sequences, or the last.

    Args:
        system: what to train.
        train: sequences that may teach something.
        validate: free energy per step of a state and a key on the validation sequences, in nats of the data; None without any.
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
        loader: AbstractLoader = all_sequences(train, observations, context.seed)
    else:
        loader = windows(train, Windows(config.piece), observations, config.batch_size, context.seed)
    offset = observations.mean_log_unit_nats(train)
    result = context.fit(
        "train",
        system.learner(),
        loader,
        num_steps=steps,
        key=key,
        recorded=lambda metrics: in_data_unit(metrics, offset),
        every=every,
        validate=validate,
        validate_every=look,
        patience=config.patience,
    )
    trained = Trained.of(result, system.keep)
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
