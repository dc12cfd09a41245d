"""The commands that use a fitted run: infer, sample, evaluate, calibrate."""

import json
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..data import permutation
from ..metrics import calibrate, ecdf_difference_band
from ..results import BadInputError
from ..train import plain, write_bytes, write_json
from ..viz import CalibrationSummary, plot_calibration_summary, plot_samples
from ._arrays import ArraysWriter, new_file, write_arrays
from ._fit_figures import draw_samples
from ._fitted import (
    Fitted,
    block_size,
    blocks,
    device_rows,
    explain,
    load_fitted,
    measure,
    open_new_rows,
    summarize,
    timed,
)
from ._fitted_options import FittedOptions
from ._images import encode_png
from ._summary import number, summary_rows
from ._terminal import Terminal

_MOST_SHOWN = 100


def infer_command(options: FittedOptions, terminal: Terminal, output: Any) -> int:
    """Posterior and bound of each row, streamed into one file."""
    out = new_file(options.out, ".npz")
    fitted = load_fitted(options.run)
    rows = open_new_rows(fitted, options.data, terminal)
    perception = fitted.system.perception(fitted.kept, iterations=options.iterations)
    observations, key, size = fitted.observations, jax.random.key(options.seed), block_size(rows.num_rows)
    result: dict[str, Any] = {"run": str(options.run), "data": options.data, "out": str(out), "rows": rows.num_rows}
    total, failed = 0.0, 0
    with (
        timed(result),
        ArraysWriter(out, rows.num_rows) as writer,
        terminal.progress("inferring rows", rows.num_rows) as bar,
    ):
        for start, count, prepared in blocks(rows, observations, size):
            numbers = start + jnp.arange(size)
            found = explain(perception, device_rows(prepared), numbers, key, observations.binarized, options.samples)
            distortion = np.asarray(found.distortion_nats) + observations.log_unit_nats
            elbo = -(distortion + np.asarray(found.rate_nats))
            params = {f"posterior_{name}": np.asarray(leaf) for name, leaf in found.params._asdict().items()}
            arrays = {
                **params,
                "mean": np.asarray(found.mean),
                "elbo_nats": elbo,
                "distortion_nats": distortion,
                "rate_nats": np.asarray(found.rate_nats),
                "failed": np.asarray(found.failed),
            }
            writer.write(start, {name: array[:count] for name, array in arrays.items()})
            total, failed = total + float(elbo[:count].sum()), failed + int(arrays["failed"][:count].sum())
            bar.move_to(start + count)
        writer.add("dims", np.asarray(fitted.system.dims))
    result |= {
        "iterations": options.iterations or fitted.system.inference.num_steps,
        "elbo_nats": total / rows.num_rows,
        "failed_rows": failed,
        "arrays": writer.names,
    }
    words = f"{rows.num_rows} rows; bound on log p(x) {number(result['elbo_nats'])} nats per row; written to {out}"
    return _finish(result, words, options, output)


def sample_command(options: FittedOptions, terminal: Terminal, output: Any) -> int:
    """Rows from the model, and a sheet of them if they are images."""
    out = new_file(options.out, ".npz")
    fitted = load_fitted(options.run)
    observations = fitted.observations
    picture = new_file(out.with_suffix(".png"), ".png") if observations.image_shape else None
    result: dict[str, Any] = {"run": str(options.run), "out": str(out), "rows": options.number}
    with timed(result):
        key = jax.random.key(options.seed)
        latents, means, draws = draw_samples(fitted.kept.learned.model, options.number, key=key)
        rows = {"samples": observations.restore(draws), "means": observations.restore(means), "latents": latents}
        write_arrays(out, rows)
    words = f"{options.number} rows written to {out}"
    if picture is not None:
        shown = observations.pictures(rows["means"][:_MOST_SHOWN])
        write_bytes(picture, encode_png(plot_samples(shown)))
        result["picture"] = str(picture)
        words += f", the means of the first {len(shown)} drawn in {picture}"
    return _finish(result, words, options, output)


def evaluate_command(options: FittedOptions, terminal: Terminal, output: Any) -> int:
    """Bound and importance-weighted likelihood of new rows."""
    out = None if options.out is None else new_file(options.out, ".npz")
    fitted = load_fitted(options.run)
    rows = open_new_rows(fitted, options.data, terminal)
    if options.rows is not None and options.rows < rows.num_rows:
        rows = rows.select(np.sort(permutation(rows.num_rows, options.seed)[: options.rows]))
    if rows.num_rows < 2:
        raise BadInputError(f"Expected at least two rows to average over, got one in {rows.name}.")
    perception = fitted.system.perception(fitted.kept, iterations=options.iterations)
    result: dict[str, Any] = {
        "run": str(options.run),
        "data": options.data,
        "importance_samples": options.samples,
        "iterations": options.iterations or fitted.system.inference.num_steps,
        "seed": options.seed,
    }
    with timed(result):
        measured = measure(
            perception,
            fitted.observations,
            rows,
            num_samples=options.samples,
            key=jax.random.key(options.seed),
            terminal=terminal,
        )
        result |= summarize(measured, fitted.observations, rows)
    if out is not None:
        write_arrays(out, measured._asdict())
        result["out"] = str(out)
    return _finish(result, _table(result), options, output)


def calibrate_command(options: FittedOptions, terminal: Terminal, output: Any) -> int:
    """Simulation-based calibration of the fitted model with its engine."""
    fitted = load_fitted(options.run)
    folder = options.out or options.run / f"calibration-{datetime.now():%Y%m%d-%H%M%S}"
    if folder.exists():
        raise BadInputError(
            f"Expected a new folder for the calibration, got {folder}, which exists: choose another --out."
        )
    perception = fitted.system.perception(fitted.kept, iterations=options.iterations)
    names = _latent_names(fitted.system.dims)
    result: dict[str, Any] = {"run": str(options.run), "out": str(folder), "simulations": options.simulations}
    with timed(result), terminal.progress("inferring simulated rows", options.simulations) as bar:
        report = calibrate(
            perception.model,
            perception.engine,
            perception.family,
            key=jax.random.key(options.seed),
            num_simulations=options.simulations,
            num_steps=perception.num_steps,
            names=names,
            objective=perception.objective,
            on_progress=bar.move_to,
        )
    result |= plain(
        {
            "calibrated": report.calibrated,
            "verdict": report.verdict,
            "quantities": report.names,
            "p_values": report.p_values,
            "p_values_chi_square": report.chi_square,
            "p_values_kolmogorov": report.kolmogorov,
            "p_values_importance_weighted": report.corrected,
            "significance": report.significance,
            "levels": report.levels,
            "coverage": report.coverage,
            "coverage_stderr": report.coverage_stderr,
            "pareto_k_quantiles": report.pareto_quantiles,
            "share_pareto_k_above_0.7": 1.0 - report.reliable,
            "failed_simulations": report.num_failed,
        }
    )
    _keep_calibration(folder, fitted, report, result, options)
    return _finish(result, f"{report}\n\nRanks, numbers and figure: {folder}", options, output)


COMMANDS: dict[str, Callable[[FittedOptions, Terminal, Any], int]] = {
    "infer": infer_command,
    "sample": sample_command,
    "evaluate": evaluate_command,
    "calibrate": calibrate_command,
}
"""What each command does."""


def _keep_calibration(
    folder: Path, fitted: Fitted, report: Any, result: dict[str, Any], options: FittedOptions
) -> None:
    calibration = report.calibration
    positions = (np.asarray(calibration.ranks) + 0.5) / (calibration.num_draws + 1)
    places = np.linspace(0.0, 1.0, 101)[1:-1]
    band = ecdf_difference_band(options.simulations, places, key=jax.random.key(options.seed))
    summary = CalibrationSummary(
        positions,
        report.p_values,
        report.rejected,
        np.asarray(calibration.pareto_shape),
        report.levels,
        report.coverage,
        places,
        np.asarray(band.low),
        np.asarray(band.high),
    )
    try:
        figure = plot_calibration_summary(summary, report.names, significance=report.significance)
        write_bytes(folder / "calibration.png", encode_png(figure))
        write_arrays(folder / "ranks.npz", {"ranks": np.asarray(calibration.ranks), "pareto_k": summary.pareto_shape})
        # Last, because a folder with the numbers is whole.
        write_json(folder / "calibration.json", result)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _latent_names(dims: tuple[int, ...]) -> list[str]:
    if len(dims) == 1:
        return [f"z[{i}]" for i in range(dims[0])]
    return [f"z{level + 1}[{i}]" for level, dim in enumerate(dims) for i in range(dim)]


def _table(result: dict[str, Any]) -> str:
    lines = [f"{words:<40}{value:>20}" for words, value in summary_rows(result)]
    return "\n".join([f"{result['rows']} rows, averages per row", *lines])


def _finish(result: dict[str, Any], words: str, options: FittedOptions, output: Any) -> int:
    output.write((json.dumps(plain(result), ensure_ascii=False) if options.json else words) + "\n")
    output.flush()
    return 0
