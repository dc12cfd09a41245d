"""A model fitted to sequences, and what can be asked of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np

from ...data import AbstractSequences, Message, open_sequences
from ...results import BadInputError
from ...runs import RunContext
from ...typing import Key
from .._arrays import ArraysWriter
from .._fitted import AbstractFitted, OnProgress, Outcome, ignore
from .._numbers import Scaling
from .._task import Source
from ._axes import last_dates
from ._baselines import compare_sequences
from ._describe import check_sequences, sequence_format
from ._figures import plot_forecast, plot_symbol_forecast, show_filtering
from ._inference import (
    draw_sequences,
    filter_batch,
    forecast_batch,
    parts,
    predict_one_step,
    rows_at_once,
    score_sequences,
    step_free_energies,
    summarize_sequences,
    units_nats,
)
from ._named_axes import belief_axes, draw_axes, forecast_axes, observed_steps, score_axes
from .models import SequencesSystem

_SHOWN_SEQUENCES = 64
_SHOWN_STEPS = 40
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Probabilities of the quantiles of a forecast."""


@final
@dataclass(frozen=True)
class FittedSequences(AbstractFitted[AbstractSequences, SequencesSystem]):
    """A sequential model with its filter."""

    def open(self, data: Source, *, message: Message | None = None) -> AbstractSequences:
        if isinstance(data, AbstractSequences | np.ndarray):
            sequences = self.task.open(data)
        else:
            # Columns of a table are found by the names that the model was fitted to, in any order.
            sequences = open_sequences(data, sequence_format(self.system.options, self.description), message=message)
        check_sequences(sequences, self.description, of="the fitted model")
        return sequences

    def infer(self, data: Source, *, key: Key, out: Path | None = None, on_progress: OnProgress = ignore) -> Outcome:
        """Belief and free energy of each step, NaN beyond the end of a sequence (-1 for states of the most probable path)."""
        sequences = self.open(data)
        count, longest, total, steps = len(sequences), int(sequences.lengths.max()), 0.0, 0
        with ArraysWriter(out, count) as writer:
            for part in parts(sequences, self.description, self.system.options.bounds, on_progress=on_progress):
                numbers = jnp.asarray(part.padded.indices)
                found = filter_batch(self.system.model, self.selected.learned, part.batch, numbers, key=key)
                arrays = {name: part.kept(array) for name, array in found.items()}
                arrays = self.system.model.restored(self.system.options, self.description, arrays)
                energy = arrays["free_energy_nats"].astype(np.float64) + units_nats(part, self.description)
                inside, observed = part.kept(part.padded.steps), part.kept(part.batch.mask)
                arrays["free_energy_nats"] = energy
                writer.write(part.numbers, {name: _whole(array, inside, longest) for name, array in arrays.items()})
                steps += int(observed.reshape(*observed.shape[:2], -1).any(axis=2).sum())
                total += float(energy.sum())
            writer.add(lengths=sequences.lengths, labels=np.array(sequences.labels))
        told = {"rows": count, "steps": sequences.num_steps, "free_energy_per_step_nats": total / max(steps, 1)}
        axes = belief_axes(sequences, self.description, writer.arrays)
        told = {**told, "arrays": writer.names}
        return Outcome(told, writer.arrays, axes=axes, observed=lambda: observed_steps(sequences))

    def evaluate(
        self, data: Source, *, key: Key, samples: int | None = None, on_progress: OnProgress = ignore
    ) -> Outcome:
        """Bound on the likelihood of new sequences, and errors of predictions one step ahead.

        Each prediction is the mean of 100 `samples` by default.
        """
        sequences, samples = self.open(data), samples or 100
        score_key, ahead_key = jax.random.split(key)
        learned, bounds, most = self.selected.learned, self.system.options.bounds, rows_at_once(self.system, samples)
        symbols = self.description.likelihood == "categorical"
        scores = score_sequences(self.system, learned, sequences, key=score_key)
        errors, compared = 0.0, 0
        for part in parts(sequences, self.description, bounds, most, on_progress):
            numbers = jnp.asarray(part.padded.indices)
            mean = predict_one_step(self.system.model, learned, part.batch, numbers, samples, key=ahead_key)
            predicted, seen = self.description.restore(part.kept(mean)), part.kept(part.padded.observed)[:, 1:]
            # What never varies is no prediction.
            seen = seen & self.description.scaling.varies.reshape(self.description.shape)
            wrong = np.where(seen, predicted - part.kept(part.padded.values)[:, 1:], 0.0)
            wrong = wrong != 0.0 if symbols else wrong**2
            errors, compared = errors + float(wrong.sum()), compared + int(seen.sum())
        error = errors / max(compared, 1)
        numbers = {
            **summarize_sequences(scores, self.description.discrete),
            "estimate": self.system.model.estimate(self.system.options),
            "steps": int(np.sum(scores.num_steps)),
            **({"one_step_wrong": error} if symbols else {"one_step_error": float(np.sqrt(error))}),
        }
        arrays = {"lengths": sequences.lengths, "labels": np.array(sequences.labels)}
        arrays = {"free_energy_nats": np.asarray(scores.free_energy_nats), **arrays}
        return Outcome(numbers, arrays, axes=score_axes(sequences))

    def sample(
        self, number: int | None = None, *, key: Key, horizon: int | None = None, actions: np.ndarray | None = None
    ) -> Outcome:
        """Sequences drawn from the model, in the unit of the data.

        Args:
            number: of sequences; 16 by default.
            horizon: steps of each; 100 by default.
            actions: known inputs, where the model has any, (sequences, steps - 1, ...).
        """
        number, horizon = 16 if number is None else number, 100 if horizon is None else horizon
        inputs = self._inputs(actions, number, horizon - 1)
        states, drawn = draw_sequences(self.selected.learned, inputs, number, horizon, key=key)
        arrays = {"samples": self.description.restore(np.asarray(drawn)), "states": np.asarray(states)}
        return Outcome({"rows": number, "horizon": horizon}, arrays, axes=draw_axes(self.description, arrays))

    def forecast(
        self,
        data: Source,
        *,
        key: Key,
        horizon: int = 10,
        samples: int = 1_000,
        quantiles: tuple[float, ...] = QUANTILES,
        actions: np.ndarray | None = None,
        on_progress: OnProgress = ignore,
    ) -> Outcome:
        """How each sequence goes on: means and quantiles of drawn futures, of symbols their probabilities; a figure of the first.

        Args:
            quantiles: probabilities.
            key: of all draws; what a sequence gets depends on its number and not on the others.
            actions: known inputs of the steps to come, where the model has any, (sequences, steps, ...).
            on_progress: told the number of sequences that are done.
        """
        sequences, shape, learned = self.open(data), self.description.shape, self.selected.learned
        count = len(sequences)
        future = self._inputs(actions, count, horizon)
        if self.description.likelihood == "categorical":
            return self._forecast_symbols(sequences, horizon, on_progress)
        means, found = np.empty((count, horizon, *shape)), np.empty((count, len(quantiles), horizon, *shape))
        most = rows_at_once(self.system, samples * horizon)
        for part in parts(sequences, self.description, self.system.options.bounds, most, on_progress):
            rows = jnp.asarray(part.padded.indices)
            ahead = None if future is None else future[rows]
            drawn = forecast_batch(learned, part.batch, rows, ahead, horizon, samples, quantiles, key=key)
            for array, values in zip((means, found), drawn, strict=True):
                array[part.numbers] = self.description.restore(part.kept(values))
        arrays = {"mean": means, "quantiles": found, "probabilities": np.array(quantiles)}
        arrays["labels"] = np.array(sequences.labels)
        seen = _last_steps(sequences)
        dates = last_dates(sequences, len(seen), horizon, self.description.time_unit)
        figure = plot_forecast(self.description, seen, found[0], quantiles, dates)
        numbers = {"rows": count, "horizon": horizon, "samples": samples, "arrays": list(arrays)}
        axes = forecast_axes(sequences, self.description, horizon, quantiles)
        return Outcome(numbers, arrays, figure, axes=axes)

    def _forecast_symbols(self, sequences: AbstractSequences, horizon: int, on_progress: OnProgress) -> Outcome:
        """Exact probabilities of the symbols to come, [sequences, horizon, symbols]."""
        found = np.empty((len(sequences), horizon, self.description.num_symbols))
        for part in parts(sequences, self.description, self.system.options.bounds, on_progress=on_progress):
            found[part.numbers] = part.kept(self.system.model.symbols_ahead(self.selected.learned, part.batch, horizon))
        arrays = {"symbols": found, "labels": np.array(sequences.labels)}
        numbers = {"rows": len(sequences), "horizon": horizon, "arrays": list(arrays)}
        axes = forecast_axes(sequences, self.description, horizon)
        return Outcome(numbers, arrays, plot_symbol_forecast(self.description, found[0]), axes=axes)

    def beginning(self, data: AbstractSequences) -> AbstractSequences:
        return data.select(np.arange(min(len(data), _SHOWN_SEQUENCES)))

    def measure(
        self, data: AbstractSequences, train: AbstractSequences, context: RunContext, *, key: Key
    ) -> dict[str, Any]:
        scores = score_sequences(self.system, self.selected.learned, data, key=key)

        def energies() -> list[np.ndarray]:
            return step_free_energies(self.system, self.selected.learned, data, key=key)

        model = self.system.model
        estimate = model.estimate(self.system.options)
        gain = compare_sequences(self.description, train, data, scores, energies, estimate=estimate)
        effects = {"effects": self.effects} if self.effects else {}
        own = model.summary(self.learned_system)
        told = {**summarize_sequences(scores, self.description.discrete), "estimate": estimate}
        return {**told, **effects, **own, **gain}

    @property
    def effects(self) -> dict[str, dict[str, float]]:
        """What one unit more of each known input changes in each entry of the next step, in the units of the data.

        Empty for models that are not linear.
        """
        description = self.description
        effects = self.system.model.effects(self.selected.learned, description)
        if effects is None:
            return {}
        effects = effects * description.scaling.unit[:, None] / description.inputs.unit[None, :]
        outputs = _names(description.columns, description.scaling, "entry")
        inputs = _names(description.input_names, description.inputs, "input")
        return {name: dict(zip(inputs, row, strict=True)) for name, row in zip(outputs, effects.tolist(), strict=True)}

    def report(self, data: AbstractSequences, context: RunContext, *, key: Key) -> None:
        system = self.learned_system
        if self.description.likelihood != "categorical":
            show_filtering(system, data, context, key=key)
        system.model.report(system, data, context, key=key)

    @property
    def learned_system(self) -> SequencesSystem:
        """The system with the numbers that were selected."""
        return self.system._replace(learned=self.selected.learned)

    def _inputs(self, actions: np.ndarray | None, count: int, steps: int) -> jax.Array | None:
        """Known inputs as the model takes them: the usual duration first, where durations are an input."""
        description, elapsed = self.description, None
        wanted = (count, steps, *description.action_shape)
        if description.acted and actions is None:
            raise BadInputError(
                f"Expected --actions with the known inputs of the steps to come, which the model needs, got none: pass an array "
                f"(.npy) of shape {wanted}."
            )
        if not description.acted and actions is not None:
            raise BadInputError(
                f"Expected no --actions, since the model has no known inputs, got some of shape {actions.shape}: leave them out."
            )
        if actions is not None and (actions.shape != wanted or not np.isfinite(actions).all()):
            raise BadInputError(
                f"Expected finite --actions of shape {wanted}, got the shape {actions.shape}: one row a sequence, one entry "
                f"a step to come."
            )
        if description.uneven:
            elapsed = np.full((count, steps), description.time_unit)
        inputs = description.actions(actions, elapsed)
        return None if inputs is None else jnp.asarray(inputs, jnp.result_type(float))


def _names(names: tuple[str, ...], scaling: Scaling, what: str) -> list[str]:
    """Names of the entries that the model sees."""
    return [names[entry] if names else f"{what} {entry}" for entry in np.flatnonzero(scaling.varies).tolist()]


def _whole(array: np.ndarray, inside: np.ndarray, longest: int) -> np.ndarray:
    """Steps of sequences, NaN (or -1) beyond their ends, in arrays as long as the longest."""
    beyond = -1 if array.dtype.kind == "i" else np.nan
    whole = np.full((len(array), longest, *array.shape[2:]), beyond, array.dtype)
    kept = inside.reshape(inside.shape + (1,) * (array.ndim - 2))
    whole[:, : array.shape[1]] = np.where(kept, array, beyond)[:, :longest]
    return whole


def _last_steps(sequences: AbstractSequences) -> np.ndarray:
    """The end of the first sequence, NaN where nothing was observed."""
    length = int(sequences.lengths[0])
    last = sequences.read(0, max(0, length - _SHOWN_STEPS), length)
    values = last.values.astype(np.float64)
    return values if last.observed is None else np.where(last.observed, values, np.nan)
