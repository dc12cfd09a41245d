"""A model fitted to sequences read back, and what its filter says of others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..data import AbstractSequences, FullLength, PaddedBatch, open_sequences, whole_batches
from ..inference import SequenceBatch, filter, forecast, sample_sequence
from ..results import BadInputError
from ..workflow import (
    SequenceKept,
    SequencesDescription,
    SequencesOptions,
    SequencesSystem,
    Tracker,
    check_sequences,
    outline_sequences_system,
    sequence_format,
)
from ._fitted import read_stored
from ._sequences import SEQUENCE_FIT
from ._terminal import Terminal

_AT_ONCE = 32
_BUDGET_BYTES = 1 << 29
_MOST_BYTES = 1 << 32
_COPIES = 4
"""How often drawn futures lie in memory: as states, as observations, and twice more while they are sorted."""
_PICTURE_COPIES = 64
"""The same for frames, whose decoder has as many channels in its widest layer."""


class FittedSequences(NamedTuple):
    """A run of `homeostat fit` on sequences.

    Attributes:
        path: its folder.
        system: model and filter as they were built.
        kept: what training left.
    """

    path: Path
    system: SequencesSystem
    kept: SequenceKept

    @property
    def observations(self) -> SequencesDescription:
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

    @property
    def seen(self) -> tuple[int, int]:
        """Steps at which something was observed, and observed numbers, of the rows that count."""
        observed = self.padded.observed[: self.count]
        return int(observed.reshape(*observed.shape[:2], -1).any(axis=2).sum()), int(observed.sum())


class Tally(NamedTuple):
    """Free energies with what they are divided by.

    Attributes:
        energies: of every step of each sequence, in nats of the data in their own unit.
        steps: at which something was observed, of all sequences.
        numbers: observed, of all sequences.
    """

    energies: list[np.ndarray]
    steps: int = 0
    numbers: int = 0

    def with_part(self, part: Part, energies: np.ndarray) -> "Tally":
        """This and the sequences of one part."""
        steps, numbers = part.seen
        return Tally([*self.energies, *energies], self.steps + steps, self.numbers + numbers)

    @property
    def per_step_nats(self) -> float:
        """Free energy of a step at which something was observed."""
        return float(sum(one.sum() for one in self.energies)) / max(self.steps, 1)


def split_sequence_config(content: dict[str, Any]) -> tuple[str, SequencesOptions]:
    """The data's path and the options, from the configuration of a run."""
    options = dict(content)
    return options.pop("data"), SequencesOptions(**options)


def load_fitted_sequences(path: Path) -> FittedSequences:
    """Read a run fitted to sequences.

    Raises:
        BadInputError: it is no such run, or not trained yet.
        CheckpointError: it is damaged, or from another version of the code.
    """

    def outline(content: dict[str, Any], described: SequencesDescription) -> SequencesSystem:
        return outline_sequences_system(split_sequence_config(content)[1], described)

    stored = read_stored(path, SEQUENCE_FIT, " on sequences", outline)
    return FittedSequences(path, stored.system, stored.kept)


def open_new_sequences(fitted: FittedSequences, data: str, terminal: Terminal) -> AbstractSequences:
    """New sequences for a fitted run, checked.

    Raises:
        BadInputError: other steps than it was fitted to, or numbers that its likelihood cannot explain.
    """
    how = sequence_format(fitted.system.config, fitted.observations.columns)
    sequences = open_sequences(data, how, message=terminal.say)
    check_sequences(sequences, fitted.observations, of=f"the run in {fitted.path}")
    return sequences


def parts(
    sequences: AbstractSequences, observations: SequencesDescription, num_bounds: int, most: int = _AT_ONCE
) -> Iterator[Part]:
    """All sequences whole, at most `most` at once, those of similar length together, so that few programs serve all."""
    whole = FullLength.fitted(sequences.lengths, num_bounds)
    for padded in whole_batches(sequences, whole, min(most, len(sequences))):
        yield Part(padded, observations.batch(padded), padded.num_rows)


def rows_at_once(system: SequencesSystem, draws: int) -> int:
    """How many sequences with so many drawn steps each are worked on together, so that memory stays bounded.

    Args:
        system: what draws.
        draws: futures times steps.

    Raises:
        BadInputError: one sequence alone would take more than 4 GiB.
    """
    size = int(np.prod(system.observations.shape))
    copies = _PICTURE_COPIES if len(system.observations.event_shape) > 1 else _COPIES
    row = copies * draws * (size + system.config.latents) * jnp.result_type(float).itemsize
    if row > _MOST_BYTES:
        raise BadInputError(
            f"Expected draws that fit into 4 GiB for each sequence, got about {row / 2**30:.1f} GiB: choose fewer --samples or a "
            f"shorter --horizon."
        )
    return max(1, min(_AT_ONCE, _BUDGET_BYTES // row))


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


def free_energies(part: Part, tracked: Tracked, observations: SequencesDescription) -> np.ndarray:
    """Free energy of each step in the unit of the data, [rows that count, time]."""
    mask = np.asarray(part.batch.mask)[: part.count]
    axes = tuple(range(2, mask.ndim))
    units = (mask * observations.log_unit_nats).sum(axis=axes)
    return np.asarray(tracked.free_energy_nats, np.float64)[: part.count] + units


def summarize_sequences(tally: Tally, discrete: bool) -> dict[str, Any]:
    """Averages over sequences, steps and, where the likelihood gives probabilities (`discrete`), observed numbers."""
    totals = np.array([one.sum() for one in tally.energies])
    found: dict[str, Any] = {"rows": len(totals), "elbo_nats": float(-totals.mean())}
    # One sequence says nothing about how sequences differ.
    if len(totals) > 1 and np.isfinite(totals).all():
        found["elbo_stderr_nats"] = float(totals.std(ddof=1) / np.sqrt(len(totals)))
    found |= {"free_energy_per_step_nats": tally.per_step_nats, "failed_rows": int((~np.isfinite(totals)).sum())}
    if discrete:
        found["bits_per_dimension"] = float(totals.sum() / max(tally.numbers, 1) / np.log(2.0))
    return found
