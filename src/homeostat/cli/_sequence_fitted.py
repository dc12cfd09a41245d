"""A model fitted to sequences read back, and what its filter says of others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..data import AbstractSequences, PaddedBatch, Whole, open_sequences, whole_batches
from ..inference import SequenceBatch, filter, forecast, sample_sequence
from ..presets import (
    SequenceFitConfig,
    SequenceKept,
    SequenceObservations,
    SequenceSystem,
    Tracker,
    check_sequences,
    outline_sequence_system,
    sequence_format,
)
from ..results import BadInputError
from ..train import has_checkpoint, load_checkpoint
from ._folder import read_request
from ._sequences import SEQUENCE_FIT
from ._terminal import Terminal

_AT_ONCE = 32


class FittedSequences(NamedTuple):
    """A run of `homeostat fit` on sequences.

    Attributes:
        path: its folder.
        system: model and filter as they were built.
        kept: what training left.
    """

    path: Path
    system: SequenceSystem
    kept: SequenceKept

    @property
    def observations(self) -> SequenceObservations:
        """What its sequences are."""
        return self.system.observations


class Tracked(NamedTuple):
    """What a filter says of sequences; leading axes [batch, time].

    Attributes:
        mean: of the state after each observation.
        deviation: its standard deviation.
        free_energy_nats: of each observation given those before.
    """

    mean: jax.Array
    deviation: jax.Array
    free_energy_nats: jax.Array


class Part(NamedTuple):
    """Some sequences, side by side.

    Attributes:
        padded: as stored.
        batch: as the model sees them.
        count: rows that count.
    """

    padded: PaddedBatch
    batch: SequenceBatch
    count: int


def split_sequence_config(content: dict[str, Any]) -> tuple[str, SequenceFitConfig]:
    """The data's path and the options, from the configuration of a run."""
    options = dict(content)
    return options.pop("data"), SequenceFitConfig(**options)


def load_fitted_sequences(path: Path) -> FittedSequences:
    """Read a fitted run.

    Raises:
        BadInputError: it is no such run, or not trained yet.
        CheckpointError: it is damaged, or from another version of the code.
    """
    request = read_request(path)
    if request.experiment != SEQUENCE_FIT:
        raise BadInputError(
            f"Expected a run of `homeostat fit` on sequences, got one of {request.experiment} in {path}: name another folder."
        )
    precision = jnp.finfo(jnp.result_type(float)).bits
    if precision != request.precision:
        raise BadInputError(
            f"Expected {request.precision}-bit numbers, with which {path} was fitted, got {precision}-bit. "
            f"Set JAX_ENABLE_X64={int(request.precision == 64)} and try again."
        )
    checkpoints = path / "checkpoints"
    if not has_checkpoint(checkpoints / "model.kept"):
        raise BadInputError(
            f"Expected a fitted model in {path}, got a run that is not finished: homeostat resume {path}"
        )
    described = load_checkpoint(checkpoints / "describe.stage", identity=f"{request.identity}: /describe").tree
    _, config = split_sequence_config(request.config)
    system = outline_sequence_system(config, described)
    kept = load_checkpoint(checkpoints / "model.kept", like=system.start(), identity=f"{request.identity}: /model").tree
    return FittedSequences(path, system, kept)


def open_new_sequences(fitted: FittedSequences, data: str, terminal: Terminal) -> AbstractSequences:
    """New sequences for a fitted run, checked.

    Raises:
        BadInputError: other steps than it was fitted to, or numbers that its likelihood cannot explain.
    """
    sequences = open_sequences(data, sequence_format(fitted.system.config), message=terminal.say)
    check_sequences(sequences, fitted.observations, of=f"the run in {fitted.path}")
    return sequences


def parts(sequences: AbstractSequences, observations: SequenceObservations, num_bounds: int) -> Iterator[Part]:
    """All sequences whole, those of similar length together, so that few programs serve all."""
    whole = Whole.fitted(sequences.lengths, num_bounds)
    for padded in whole_batches(sequences, whole, min(_AT_ONCE, len(sequences))):
        yield Part(padded, observations.batch(padded), padded.num_rows)


@eqx.filter_jit
def track(tracker: Tracker, batch: SequenceBatch, numbers: jax.Array, key: jax.Array) -> Tracked:
    """Filter every sequence; what one gets depends on its number and not on the batch."""

    def one(x: jax.Array, actions: Any, mask: jax.Array, number: jax.Array) -> Tracked:
        found = filter(
            tracker.filter, tracker.model, x, actions, key=jax.random.fold_in(key, number), mask=mask, throw=False
        )
        mean, variance = jax.vmap(lambda belief: (belief.mean, jnp.diagonal(belief.covariance)))(found.beliefs)
        return Tracked(mean, jnp.sqrt(variance), found.info.free_energy_nats)

    return jax.vmap(one)(batch.observations, batch.actions, batch.mask, numbers)


@eqx.filter_jit
def foresee(
    tracker: Tracker, batch: SequenceBatch, numbers: jax.Array, key: jax.Array, num_samples: int
) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation of each x_{t+1} given x_1, ..., x_t, [batch, time - 1, ...]."""

    def one(x: jax.Array, actions: Any, mask: jax.Array, number: jax.Array) -> tuple[jax.Array, jax.Array]:
        filter_key, ahead_key = jax.random.split(jax.random.fold_in(key, number))
        found = filter(tracker.filter, tracker.model, x, actions, key=filter_key, mask=mask, throw=False)

        def ahead(step: jax.Array, step_key: jax.Array) -> tuple[jax.Array, jax.Array]:
            action = None if actions is None else jax.lax.dynamic_slice_in_dim(actions, step, 1)
            drawn = forecast(
                tracker.model, found, action, horizon=1, at=step, num_samples=num_samples, key=step_key
            ).observations[:, 0]
            drawn = drawn.astype(x.dtype)
            return jnp.mean(drawn, axis=0), jnp.std(drawn, axis=0)

        steps = jnp.arange(x.shape[0] - 1)
        return jax.lax.map(lambda pair: ahead(*pair), (steps, jax.random.split(ahead_key, x.shape[0] - 1)))

    return jax.vmap(one)(batch.observations, batch.actions, batch.mask, numbers)


class Futures(NamedTuple):
    """Forecasts of sequences, [batch, ...].

    Attributes:
        mean: [batch, horizon, ...].
        quantiles: [batch, quantiles, horizon, ...].
    """

    mean: jax.Array
    quantiles: jax.Array


@eqx.filter_jit
def look_ahead(
    tracker: Tracker,
    batch: SequenceBatch,
    numbers: jax.Array,
    future: jax.Array | None,
    key: jax.Array,
    horizon: int,
    num_samples: int,
    probabilities: tuple[float, ...],
) -> Futures:
    """Forecast every sequence from its end.

    Args:
        tracker: model and filter.
        batch: what was seen.
        numbers: of the sequences.
        future: a_T, ..., a_{T+k-1} of each, or None.
        key: of all sequences.
        horizon: k.
        num_samples: futures.
        probabilities: of the quantiles.
    """

    def one(x: jax.Array, actions: Any, mask: jax.Array, length: jax.Array, number: jax.Array, ahead: Any) -> Futures:
        filter_key, ahead_key = jax.random.split(jax.random.fold_in(key, number))
        found = filter(tracker.filter, tracker.model, x, actions, key=filter_key, mask=mask, throw=False)
        drawn = forecast(
            tracker.model,
            found,
            ahead,
            horizon=horizon,
            at=length - 1,
            num_samples=num_samples,
            probabilities=probabilities,
            key=ahead_key,
        )
        return Futures(drawn.mean.astype(x.dtype), drawn.quantiles)

    lengths = jnp.asarray(batch.lengths)
    return jax.vmap(one)(batch.observations, batch.actions, batch.mask, lengths, numbers, future)


@eqx.filter_jit
def draw_sequences(
    tracker: Tracker, actions: jax.Array | None, key: jax.Array, number: int, horizon: int
) -> tuple[jax.Array, jax.Array]:
    """States and observations of sequences drawn from the model, [number, horizon, ...]."""

    def one(one_key: jax.Array, inputs: Any) -> tuple[jax.Array, jax.Array]:
        drawn = sample_sequence(tracker.model, horizon, inputs, key=one_key)
        return drawn.states, drawn.observations

    return jax.vmap(one)(jax.random.split(key, number), actions)


def free_energies(part: Part, tracked: Tracked, observations: SequenceObservations) -> np.ndarray:
    """Free energy of each step in the unit of the data, [rows that count, time]."""
    mask = np.asarray(part.batch.mask)[: part.count]
    axes = tuple(range(2, mask.ndim))
    units = (mask * observations.log_unit_nats).sum(axis=axes)
    return np.asarray(tracked.free_energy_nats, np.float64)[: part.count] + units


def summarize_sequences(energies: list[np.ndarray], steps: int, discrete: bool, size: int) -> dict[str, Any]:
    """Averages over sequences and steps.

    Args:
        energies: free energy of every step of each sequence.
        steps: at which something was observed, of all sequences.
        discrete: whether the likelihood gives probabilities.
        size: numbers in a step.
    """
    totals = np.array([one.sum() for one in energies])
    found = {
        "rows": len(totals),
        "elbo_nats": float(-totals.mean()),
        "elbo_stderr_nats": float(totals.std(ddof=1) / np.sqrt(len(totals))) if len(totals) > 1 else 0.0,
        "free_energy_per_step_nats": float(totals.sum() / max(steps, 1)),
        "failed_rows": int((~np.isfinite(totals)).sum()),
    }
    if discrete:
        found["bits_per_dimension"] = float(totals.sum() / max(steps, 1) / size / np.log(2.0))
    return found
