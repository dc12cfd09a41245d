"""The commands on a run fitted to sequences: fit and resume, infer, evaluate, sample, forecast."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..data import AbstractSequences
from ..results import BadInputError
from ..train import plain, write_bytes
from ..workflow import SequencesDescription, SequencesOptions, check_sequences_options
from ._arrays import new_file, write_arrays
from ._fit_command import FitOptions, start_run, stored_fit
from ._fitted import timed
from ._images import encode_png
from ._machine import compilation_cache, quiet_store
from ._run import execute
from ._sequence_figures import forecast_figure
from ._sequence_fit import SequenceFitRequest, sequence_fit_experiment
from ._sequence_fitted import (
    Tally,
    draw_sequences,
    foresee,
    free_energies,
    load_fitted_sequences,
    look_ahead,
    open_new_sequences,
    parts,
    rows_at_once,
    split_sequence_config,
    summarize_sequences,
    track,
)
from ._sequences import SEQUENCE_FIT, SequenceOptions, print_sequence_fit, sequence_rows
from ._summary import number
from ._terminal import Terminal

_SHOWN_STEPS = 40


def start_sequence_fit(
    options: FitOptions, terminal: Terminal, at_work: list[Path], output: Any, precision: int
) -> int:
    """Fit to sequences in a new run folder."""
    assert isinstance(options.config, SequencesOptions)
    check_sequences_options(options.config)
    fit = SequenceFitRequest(options.data, options.config)
    return start_run(options, fit, SEQUENCE_FIT, _work, terminal, at_work, output, precision)


def resume_sequence_fit(folder: Any, cache: bool, as_json: bool, terminal: Terminal, output: Any) -> int:
    """Go on with a fit that was interrupted."""
    fit = stored_fit(folder, lambda content: SequenceFitRequest(*split_sequence_config(content)))
    return _work(folder, fit, cache, as_json, terminal, output)


def _work(folder: Any, fit: SequenceFitRequest, cache: bool, as_json: bool, terminal: Terminal, output: Any) -> int:
    experiment = sequence_fit_experiment(fit)
    with compilation_cache(cache, terminal), quiet_store():
        result = execute(folder, [experiment], {experiment.name: fit}, terminal=terminal)
    return print_sequence_fit(result, folder.path, as_json, output)


def infer_sequences(options: SequenceOptions, terminal: Terminal, output: Any) -> int:
    """Beliefs and free energy of each step, in one file."""
    out = new_file(options.out, ".npz")
    fitted = load_fitted_sequences(options.run)
    sequences = open_new_sequences(fitted, options.data, terminal)
    observations, key = fitted.observations, jax.random.key(options.seed)
    count, longest = len(sequences), int(sequences.lengths.max())
    arrays: dict[str, np.ndarray] = {}
    result: dict[str, Any] = {"run": str(options.run), "data": options.data, "out": str(out), "rows": count}
    tally = Tally([])
    with timed(result), terminal.progress("filtering sequences", count) as bar:
        for part in parts(sequences, observations, fitted.system.config.bounds):
            numbers = part.padded.indices[: part.count]
            found = track(fitted.kept.learned, part.batch, jnp.asarray(part.padded.indices), key)
            energy = free_energies(part, found, observations)
            tally = tally.with_part(part, energy)
            inside = part.padded.steps[: part.count]
            for name, array in (
                ("mean", np.asarray(found.mean)[: part.count]),
                ("deviation", np.asarray(found.deviation)[: part.count]),
                ("free_energy_nats", energy),
            ):
                shape = (count, longest, *array.shape[2:])
                whole = arrays.setdefault(name, np.full(shape, np.nan, array.dtype))
                kept = inside.reshape(inside.shape + (1,) * (array.ndim - 2))
                whole[numbers, : array.shape[1]] = np.where(kept, array, np.nan)
            bar.move_to(len(tally.energies))
    arrays |= {"lengths": sequences.lengths, "labels": np.array(sequences.labels)}
    write_arrays(out, arrays)
    result |= {"free_energy_per_step_nats": tally.per_step_nats, "arrays": list(arrays)}
    words = (
        f"{count} sequences of {sequences.num_steps} steps; free energy {number(result['free_energy_per_step_nats'])} nats per "
        f"step; written to {out}"
    )
    return _finish(result, words, options, output)


def evaluate_sequences(options: SequenceOptions, terminal: Terminal, output: Any) -> int:
    """Bound on the likelihood of new sequences, and the errors of predictions one step ahead."""
    out = None if options.out is None else new_file(options.out, ".npz")
    fitted = load_fitted_sequences(options.run)
    sequences = open_new_sequences(fitted, options.data, terminal)
    observations = fitted.observations
    filter_key, ahead_key = jax.random.split(jax.random.key(options.seed))
    result: dict[str, Any] = {"run": str(options.run), "data": options.data, "seed": options.seed}
    tally = Tally([])
    order: list[int] = []
    errors, compared = 0.0, 0
    most = rows_at_once(fitted.system, options.samples)
    with timed(result), terminal.progress("evaluating sequences", len(sequences)) as bar:
        for part in parts(sequences, observations, fitted.system.config.bounds, most):
            numbers = jnp.asarray(part.padded.indices)
            found = track(fitted.kept.learned, part.batch, numbers, filter_key)
            tally = tally.with_part(part, free_energies(part, found, observations))
            order += part.padded.indices[: part.count].tolist()
            mean, _ = foresee(fitted.kept.learned, part.batch, numbers, ahead_key, options.samples)
            predicted = observations.restore(np.asarray(mean)[: part.count])
            seen = part.padded.observed[: part.count, 1:]
            wrong = np.where(seen, predicted - part.padded.values[: part.count, 1:], 0.0)
            errors, compared = errors + float((wrong**2).sum()), compared + int(seen.sum())
            bar.move_to(len(tally.energies))
    result |= summarize_sequences(tally, observations.likelihood != "gaussian")
    result |= {"steps": tally.steps, "one_step_error": float(np.sqrt(errors / max(compared, 1)))}
    if out is not None:
        totals = np.empty(len(sequences))
        totals[order] = [one.sum() for one in tally.energies]
        write_arrays(
            out,
            {"free_energy_nats": totals, "lengths": sequences.lengths, "labels": np.array(sequences.labels)},
        )
        result["out"] = str(out)
    lines = [f"{words:<42}{value:>20}" for words, value in sequence_rows(result)]
    table = "\n".join([f"{result['rows']} sequences", *lines])
    return _finish(result, table, options, output)


def sample_sequences(options: SequenceOptions, terminal: Terminal, output: Any) -> int:
    """Sequences from the model."""
    out = new_file(options.out, ".npz")
    fitted = load_fitted_sequences(options.run)
    observations = fitted.observations
    actions = _inputs(options.actions, observations, options.number, options.horizon - 1)
    result: dict[str, Any] = {"run": str(options.run), "out": str(out), "rows": options.number}
    with timed(result):
        states, drawn = draw_sequences(
            fitted.kept.learned, actions, jax.random.key(options.seed), options.number, options.horizon
        )
        write_arrays(out, {"samples": observations.restore(np.asarray(drawn)), "states": np.asarray(states)})
    words = f"{options.number} sequences of {options.horizon} steps written to {out}"
    return _finish(result, words, options, output)


def forecast_sequences(options: SequenceOptions, terminal: Terminal, output: Any) -> int:
    """How each sequence goes on: means and quantiles of drawn futures."""
    out = new_file(options.out, ".npz")
    picture = new_file(out.with_suffix(".png"), ".png")
    fitted = load_fitted_sequences(options.run)
    sequences = open_new_sequences(fitted, options.data, terminal)
    observations, key = fitted.observations, jax.random.key(options.seed)
    count, horizon = len(sequences), options.horizon
    future = _inputs(options.actions, observations, count, horizon)
    quantiles = np.empty((count, len(options.quantiles), horizon, *observations.shape))
    means = np.empty((count, horizon, *observations.shape))
    result: dict[str, Any] = {"run": str(options.run), "data": options.data, "out": str(out), "rows": count}
    done, most = 0, rows_at_once(fitted.system, options.samples * horizon)
    with timed(result), terminal.progress("forecasting sequences", count) as bar:
        for part in parts(sequences, observations, fitted.system.config.bounds, most):
            rows = part.padded.indices
            ahead = None if future is None else future[rows]
            found = look_ahead(
                fitted.kept.learned,
                part.batch,
                jnp.asarray(rows),
                ahead,
                key,
                horizon,
                options.samples,
                options.quantiles,
            )
            chosen = rows[: part.count]
            means[chosen] = observations.restore(np.asarray(found.mean)[: part.count])
            quantiles[chosen] = observations.restore(np.asarray(found.quantiles)[: part.count])
            done += part.count
            bar.move_to(done)
    arrays = {
        "mean": means,
        "quantiles": quantiles,
        "probabilities": np.array(options.quantiles),
        "labels": np.array(sequences.labels),
    }
    write_arrays(out, arrays)
    figure = forecast_figure(observations, _last_steps(sequences), quantiles[0], options.quantiles)
    write_bytes(picture, encode_png(figure))
    result |= {"horizon": horizon, "samples": options.samples, "arrays": list(arrays), "figure": str(picture)}
    words = (
        f"{count} sequences continued by {horizon} steps: mean and {len(options.quantiles)} quantiles of "
        f"{options.samples} futures, written to {out}; the first of them is drawn in {picture}"
    )
    return _finish(result, words, options, output)


COMMANDS: dict[str, Callable[[SequenceOptions, Terminal, Any], int]] = {
    "infer": infer_sequences,
    "sample": sample_sequences,
    "evaluate": evaluate_sequences,
    "forecast": forecast_sequences,
}
"""What each command does."""


def _last_steps(sequences: AbstractSequences) -> np.ndarray:
    """The end of the first sequence, NaN where nothing was observed."""
    length = int(sequences.lengths[0])
    last = sequences.read(0, max(0, length - _SHOWN_STEPS), length)
    values = last.values.astype(np.float64)
    return values if last.observed is None else np.where(last.observed, values, np.nan)


def _inputs(file: Path | None, observations: SequencesDescription, count: int, steps: int) -> jax.Array | None:
    """Known inputs of the steps to come as the model takes them: the usual duration first, where durations are an input."""
    width = int(np.prod(observations.action_shape)) if observations.acted else 0
    if width and file is None:
        raise BadInputError(
            f"Expected --actions with the known inputs of the steps to come, which the model needs, got none: pass an array "
            f"(.npy) of shape {(count, steps, *observations.action_shape)}."
        )
    if not width and file is not None:
        raise BadInputError(f"Expected no --actions, since the model has no known inputs, got {file}: leave it out.")
    parts = [np.ones((count, steps, 1))] if observations.uneven else []
    if file is not None:
        given = _array(file)
        wanted = (count, steps, *observations.action_shape)
        if given.shape != wanted or not np.isfinite(given).all():
            raise BadInputError(
                f"Expected finite inputs of shape {wanted} in {file}, got the shape {given.shape}: one row a sequence, one "
                f"entry a step to come."
            )
        parts.append(given.reshape(count, steps, width))
    return jnp.asarray(np.concatenate(parts, axis=2), jnp.result_type(float)) if parts else None


def _array(file: Path) -> np.ndarray:
    """Numbers of a .npy."""
    try:
        given = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BadInputError(f"Expected an array (.npy) of known inputs, but {file} cannot be read: {error}.") from error
    if not isinstance(given, np.ndarray):
        given.close()
        raise BadInputError(
            f"Expected an array (.npy) of known inputs, got an archive of arrays in {file}: save one alone."
        )
    if given.dtype.kind not in "buif":
        raise BadInputError(f"Expected numbers as known inputs, got the type {given.dtype} in {file}: convert them.")
    return given


def _finish(result: dict[str, Any], words: str, options: SequenceOptions, output: Any) -> int:
    output.write((json.dumps(plain(result), ensure_ascii=False) if options.json else words) + "\n")
    output.flush()
    return 0
