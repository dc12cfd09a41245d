"""Filters, forecasts and draws of a fitted model on sequences, side by side."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...data import AbstractSequences, ContinuedSequences, FullLength, PaddedBatch, whole_batches
from ...inference import Filtered, ModelWithFilter, SequenceBatch, filter, forecast, sample_sequence
from ...metrics import SequenceEvaluation, evaluate_sequences
from ...results import BadInputError
from ...typing import Key
from .._fitted import OnProgress, ignore
from ._description import SequencesDescription
from .models import AbstractNamedModel, SequencesSystem

_AT_ONCE = 32
_BUDGET_BYTES = 1 << 29
_MOST_BYTES = 1 << 32
_COPIES = 4
"""How often drawn futures lie in memory: as states, as observations, and twice more while they are sorted."""
_PICTURE_COPIES = 64
"""The same for frames, whose decoder has as many channels in its widest layer."""


class Part(NamedTuple):
    """Some sequences, side by side.

    Attributes:
        padded: as stored.
        batch: as the model sees them.
    """

    padded: PaddedBatch
    batch: SequenceBatch

    def kept(self, array: Any) -> np.ndarray:
        """The rows that count; the others fill the batch up."""
        return np.asarray(array)[: self.padded.num_rows]

    @property
    def numbers(self) -> np.ndarray:
        """Numbers of the sequences that count."""
        return self.kept(self.padded.indices)


def parts(
    sequences: AbstractSequences,
    description: SequencesDescription,
    num_bounds: int,
    most: int = _AT_ONCE,
    on_progress: OnProgress = ignore,
) -> Iterator[Part]:
    """All sequences whole, at most `most` at once, those of similar length together, so that few programs serve all."""
    whole, done = FullLength.fitted(sequences.lengths, num_bounds), 0
    for padded in whole_batches(sequences, whole, min(most, len(sequences))):
        yield Part(padded, description.batch(padded))
        done += padded.num_rows
        on_progress(done)


def rows_at_once(system: SequencesSystem, draws: int) -> int:
    """How many sequences with so many draws (futures times steps) each are worked on together, so that memory stays bounded.

    Raises:
        BadInputError: one sequence alone would take more than 4 GiB.
    """
    size = int(np.prod(system.description.shape))
    copies = _PICTURE_COPIES if len(system.description.event_shape) > 1 else _COPIES
    row = copies * draws * (size + int(system.options.latents)) * jnp.result_type(float).itemsize
    if row > _MOST_BYTES:
        raise BadInputError(
            f"Expected draws that fit into 4 GiB for each sequence, got about {row / 2**30:.1f} GiB: choose fewer --samples or a "
            f"shorter --horizon."
        )
    return max(1, min(_AT_ONCE, _BUDGET_BYTES // row))


def _each(
    learned: ModelWithFilter[Any],
    batch: SequenceBatch,
    numbers: jax.Array,
    key: Key,
    function: Callable[[Filtered, Any, Key], Any],
    extra: Any = None,
) -> Any:
    """`function(filtered, others, key)` of every sequence; what one gets depends on its number and not on the batch."""

    def one(x: jax.Array, actions: Any, mask: jax.Array, number: jax.Array, extra: Any) -> Any:
        filter_key, each_key = jax.random.split(jax.random.fold_in(key, number))
        found = filter(learned.filter, learned.model, x, actions, key=filter_key, mask=mask, throw=False)
        return function(found, extra, each_key)

    return jax.vmap(one)(batch.observations, batch.actions, batch.mask, numbers, extra)


@eqx.filter_jit
def filter_batch(
    named: AbstractNamedModel, learned: ModelWithFilter[Any], batch: SequenceBatch, numbers: jax.Array, *, key: Key
) -> dict[str, jax.Array]:
    """Beliefs of the named model about the steps, and their `free_energy_nats`, [batch, time, ...]."""

    def summary(found: Filtered, extra: Any, key: Key) -> dict[str, jax.Array]:
        return named.beliefs(learned, found, extra) | {"free_energy_nats": found.info.free_energy_nats}

    return _each(learned, batch, numbers, key, summary, batch._replace(lengths=jnp.asarray(batch.lengths)))


@eqx.filter_jit
def predict_one_step(
    named: AbstractNamedModel,
    learned: ModelWithFilter[Any],
    batch: SequenceBatch,
    numbers: jax.Array,
    num_samples: int,
    *,
    key: Key,
) -> jax.Array:
    """Mean (of symbols the most probable one) of each x_{t+1} given x_1, ..., x_t, [batch, time - 1, ...].

    Other arguments as for `filter_batch`.
    """

    def one(x: jax.Array, actions: Any, mask: jax.Array, number: jax.Array) -> jax.Array:
        alone = jax.tree.map(lambda leaf: leaf[None], SequenceBatch(x, actions, mask=mask))
        predicted = named.outputs(learned, alone, num_samples, key=jax.random.fold_in(key, number)).predicted
        # Of symbols these are probabilities.
        return predicted if predicted.ndim == x.ndim else jnp.argmax(predicted, axis=-1)

    return jax.vmap(one)(batch.observations, batch.actions, batch.mask, numbers)


@eqx.filter_jit
def forecast_batch(
    learned: ModelWithFilter[Any],
    batch: SequenceBatch,
    numbers: jax.Array,
    future: jax.Array | None,
    horizon: int,
    num_samples: int,
    probabilities: tuple[float, ...],
    *,
    key: Key,
) -> tuple[jax.Array, jax.Array]:
    """Means [batch, horizon, ...] and quantiles [batch, quantiles, horizon, ...] of what follows the end of every sequence.

    Args:
        future: a_T, ..., a_{T+k-1} of each, or None.
        horizon: k.
    """

    def ahead(found: Filtered, extra: Any, key: Key) -> tuple[jax.Array, jax.Array]:
        length, actions = extra
        draws: dict[str, Any] = {"num_samples": num_samples, "probabilities": probabilities}
        drawn = forecast(learned.model, found, actions, horizon=horizon, at=length - 1, key=key, **draws)
        return drawn.mean.astype(batch.observations.dtype), drawn.quantiles

    return _each(learned, batch, numbers, key, ahead, (jnp.asarray(batch.lengths), future))


@eqx.filter_jit
def draw_sequences(
    learned: ModelWithFilter[Any], actions: jax.Array | None, number: int, horizon: int, *, key: Key
) -> tuple[jax.Array, jax.Array]:
    """States and observations of sequences drawn from the model, [number, horizon, ...]."""

    def one(one_key: Key, inputs: Any) -> tuple[jax.Array, jax.Array]:
        drawn = sample_sequence(learned.model, horizon, inputs, key=one_key)
        return drawn.states, drawn.observations

    return jax.vmap(one)(jax.random.split(key, number), actions)


def units_nats(part: Part, description: SequencesDescription) -> np.ndarray:
    """log |dx / dx'| of what was observed of each step, [sequences that count, time]."""
    mask = part.kept(part.batch.mask)
    return (mask * description.log_unit_nats).sum(axis=tuple(range(2, mask.ndim)))


def score_sequences(
    system: SequencesSystem, learned: ModelWithFilter[Any], sequences: AbstractSequences, *, key: Key
) -> SequenceEvaluation:
    """Free energies of whole sequences in nats of the data, in the order of the sequences; given what is known of them."""
    if isinstance(sequences, ContinuedSequences):
        whole, known = (
            score_sequences(system, learned, part, key=key) for part in (sequences.sequences, sequences.beginnings)
        )
        return SequenceEvaluation(*(all - before for all, before in zip(whole, known, strict=True)))
    found = []
    for part in parts(sequences, system.description, system.options.bounds):
        numbers = jnp.asarray(part.padded.indices)
        scores = evaluate_sequences(
            learned.filter, learned.model, part.batch, key=key, numbers=numbers, batch_size=_AT_ONCE
        )
        scores = SequenceEvaluation(*map(part.kept, scores))
        units = units_nats(part, system.description).sum(axis=1)
        energies = np.asarray(scores.free_energy_nats, np.float64) + units
        found.append((part.numbers, scores._replace(free_energy_nats=energies)))
    order = np.argsort(np.concatenate([numbers for numbers, _ in found]))
    fields = zip(*(scores for _, scores in found), strict=True)
    return SequenceEvaluation(*(np.concatenate(arrays)[order] for arrays in fields))


def step_free_energies(
    system: SequencesSystem, learned: ModelWithFilter[Any], sequences: AbstractSequences, *, key: Key
) -> list[np.ndarray]:
    """Free energies of the steps of each sequence, in nats of the data and the order of the sequences; of those not known."""
    if isinstance(sequences, ContinuedSequences):
        whole = step_free_energies(system, learned, sequences.sequences, key=key)
        return [energies[known:] for energies, known in zip(whole, sequences.known, strict=True)]
    found: dict[int, np.ndarray] = {}
    for part in parts(sequences, system.description, system.options.bounds):
        numbers = jnp.asarray(part.padded.indices)
        energies = filter_batch(system.model, learned, part.batch, numbers, key=key)["free_energy_nats"]
        nats = part.kept(energies).astype(np.float64) + units_nats(part, system.description)
        lengths = part.kept(part.padded.lengths)
        found |= {int(n): row[:length] for n, row, length in zip(part.numbers, nats, lengths, strict=True)}
    return [found[number] for number in range(len(sequences))]


def summarize_sequences(scores: SequenceEvaluation, discrete: bool) -> dict[str, Any]:
    """Averages over sequences, steps and, where the likelihood gives probabilities (`discrete`), observed numbers."""
    totals, means = np.asarray(scores.free_energy_nats), scores.means()
    found: dict[str, Any] = {"rows": len(totals), "elbo_nats": float(-totals.mean())}
    # One sequence says nothing about how sequences differ.
    if len(totals) > 1 and np.isfinite(totals).all():
        found["elbo_stderr_nats"] = float(totals.std(ddof=1) / np.sqrt(len(totals)))
    found["free_energy_per_step_nats"] = float(means.free_energy_per_step_nats.value)
    found["failed_rows"] = int((~np.isfinite(totals)).sum())
    if discrete:
        found["bits_per_dimension"] = float(means.bits_per_dimension.value)
    return found
