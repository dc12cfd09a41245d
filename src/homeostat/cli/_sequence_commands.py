"""The commands on a run fitted to sequences: fit and resume, infer, evaluate, sample, forecast."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..presets import SequenceObservations, check_sequence_config
from ..results import BadInputError, CheckpointError
from ..train import plain
from ._arrays import new_file, write_arrays
from ._fit_command import print_fit
from ._fitted import timed
from ._folder import Request, default_folder, erase_if_nothing_done, new_run
from ._machine import compilation_cache, quiet_store
from ._run import execute
from ._sequence_fit import SequenceFitRequest, sequence_fit_experiment
from ._sequence_fitted import (
    draw_sequences,
    foresee,
    free_energies,
    load_fitted_sequences,
    look_ahead,
    open_new_sequences,
    parts,
    split_sequence_config,
    summarize_sequences,
    track,
)
from ._sequences import SEQUENCE_FIT, SequenceFitOptions, SequenceOptions
from ._summary import number, summary_rows
from ._terminal import Terminal


def start_sequence_fit(
    options: SequenceFitOptions, terminal: Terminal, at_work: list[Path], output: Any, precision: int
) -> int:
    """Fit in a new run folder."""
    check_sequence_config(options.config)
    fit = SequenceFitRequest(options.data, options.config)
    request = Request(
        experiment=SEQUENCE_FIT,
        scale="",
        seed=options.seed,
        config=json.loads(json.dumps(fit.plain())),
        arguments=[],
        checkpoint_seconds=options.checkpoint_seconds,
        precision=precision,
    )
    named = request._replace(experiment=f"fit-{options.config.model}", scale=options.config.engine)
    path = options.out or default_folder(named)
    with new_run(path, request) as folder:
        at_work.append(path)
        terminal.say(f"run folder: {path}")
        try:
            return _work(folder, fit, options.cache, options.json, terminal, output)
        except BadInputError:
            erase_if_nothing_done(folder)
            raise


def resume_sequence_fit(folder: Any, cache: bool, as_json: bool, terminal: Terminal, output: Any) -> int:
    """Go on with a fit that was interrupted."""
    try:
        fit = SequenceFitRequest(*split_sequence_config(folder.request.config))
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"Expected the options of a fit in {folder.path}, got others: another version of homeostat started it. Use that "
            f"version, or start a new run."
        ) from error
    return _work(folder, fit, cache, as_json, terminal, output)


def _work(folder: Any, fit: SequenceFitRequest, cache: bool, as_json: bool, terminal: Terminal, output: Any) -> int:
    experiment = sequence_fit_experiment(fit)
    with compilation_cache(cache, terminal), quiet_store():
        result = execute(folder, [experiment], {experiment.name: fit}, terminal=terminal)
    return print_fit(result, folder.path, as_json, output)


def infer_sequences(options: SequenceOptions, terminal: Terminal, output: Any) -> int:
    """Beliefs and free energy of each step, in one file."""
    out = new_file(options.out, ".npz")
    fitted = load_fitted_sequences(options.run)
    sequences = open_new_sequences(fitted, options.data, terminal)
    observations, key = fitted.observations, jax.random.key(options.seed)
    count, longest = len(sequences), int(sequences.lengths.max())
    arrays: dict[str, np.ndarray] = {}
    result: dict[str, Any] = {"run": str(options.run), "data": options.data, "out": str(out), "rows": count}
    energies: list[np.ndarray] = []
    with timed(result), terminal.progress("filtering sequences", count) as bar:
        for part in parts(sequences, observations, fitted.system.config.bounds):
            numbers = part.padded.indices[: part.count]
            found = track(fitted.kept.learned, part.batch, jnp.asarray(part.padded.indices), key)
            energy = free_energies(part, found, observations)
            energies += list(energy)
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
            bar.move_to(len(energies))
    arrays |= {"lengths": sequences.lengths, "labels": np.array(sequences.labels)}
    write_arrays(out, arrays)
    total = float(sum(one.sum() for one in energies))
    result |= {"free_energy_per_step_nats": total / sequences.num_steps, "arrays": list(arrays)}
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
    energies: list[np.ndarray] = []
    order: list[int] = []
    errors, compared, steps = 0.0, 0, 0
    with timed(result), terminal.progress("evaluating sequences", len(sequences)) as bar:
        for part in parts(sequences, observations, fitted.system.config.bounds):
            numbers = jnp.asarray(part.padded.indices)
            energies += list(
                free_energies(part, track(fitted.kept.learned, part.batch, numbers, filter_key), observations)
            )
            order += part.padded.indices[: part.count].tolist()
            mean, _ = foresee(fitted.kept.learned, part.batch, numbers, ahead_key, options.samples)
            predicted = observations.restore(np.asarray(mean)[: part.count])
            seen = part.padded.observed[: part.count, 1:]
            wrong = np.where(seen, predicted - part.padded.values[: part.count, 1:], 0.0)
            errors, compared = errors + float((wrong**2).sum()), compared + int(seen.sum())
            some = part.padded.observed[: part.count]
            steps += int(some.reshape(*some.shape[:2], -1).any(axis=2).sum())
            bar.move_to(len(energies))
    discrete = observations.likelihood != "gaussian"
    result |= summarize_sequences(energies, steps, discrete, int(np.prod(observations.shape)))
    result |= {"steps": steps, "one_step_error": float(np.sqrt(errors / max(compared, 1)))}
    if out is not None:
        totals = np.empty(len(sequences))
        totals[order] = [one.sum() for one in energies]
        write_arrays(
            out,
            {"free_energy_nats": totals, "lengths": sequences.lengths, "labels": np.array(sequences.labels)},
        )
        result["out"] = str(out)
    lines = [f"{words:<40}{value:>20}" for words, value in summary_rows(result)]
    table = "\n".join([f"{result['rows']} sequences, averages per sequence where nothing else is said", *lines])
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
    fitted = load_fitted_sequences(options.run)
    sequences = open_new_sequences(fitted, options.data, terminal)
    observations, key = fitted.observations, jax.random.key(options.seed)
    count, horizon = len(sequences), options.horizon
    future = _inputs(options.actions, observations, count, horizon)
    quantiles = np.empty((count, len(options.quantiles), horizon, *observations.shape))
    means = np.empty((count, horizon, *observations.shape))
    result: dict[str, Any] = {"run": str(options.run), "data": options.data, "out": str(out), "rows": count}
    done = 0
    with timed(result), terminal.progress("forecasting sequences", count) as bar:
        for part in parts(sequences, observations, fitted.system.config.bounds):
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
    result |= {"horizon": horizon, "samples": options.samples, "arrays": list(arrays)}
    words = (
        f"{count} sequences continued by {horizon} steps: mean and {len(options.quantiles)} quantiles of "
        f"{options.samples} futures, written to {out}"
    )
    return _finish(result, words, options, output)


COMMANDS: dict[str, Callable[[SequenceOptions, Terminal, Any], int]] = {
    "infer": infer_sequences,
    "sample": sample_sequences,
    "evaluate": evaluate_sequences,
    "forecast": forecast_sequences,
}
"""What each command does."""


def _inputs(file: Path | None, observations: SequenceObservations, count: int, steps: int) -> jax.Array | None:
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
        try:
            given = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise BadInputError(
                f"Expected an array (.npy) of known inputs, but {file} cannot be read: {error}."
            ) from error
        if given.shape != (count, steps, *observations.action_shape) or not np.isfinite(given).all():
            raise BadInputError(
                f"Expected finite inputs of shape {(count, steps, *observations.action_shape)} in {file}, got the shape "
                f"{given.shape}: one row a sequence, one entry a step to come."
            )
        parts.append(given.reshape(count, steps, width))
    return jnp.asarray(np.concatenate(parts, axis=2), jnp.result_type(float)) if parts else None


def _finish(result: dict[str, Any], words: str, options: SequenceOptions, output: Any) -> int:
    output.write((json.dumps(plain(result), ensure_ascii=False) if options.json else words) + "\n")
    output.flush()
    return 0
