"""A model fitted to rows, and what can be asked of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import jax.numpy as jnp
import numpy as np

from ...data import AbstractRows, Message, check_rows, open_rows, permutation, require_shape
from ...distributions import Masked
from ...metrics import calibrate, ecdf_difference_band
from ...results import BadInputError
from ...runs import RunContext
from ...train import plain
from ...typing import Array, Float, Key
from ...viz import CalibrationSummary, plot_calibration_summary, plot_samples
from .._arrays import ArraysWriter
from .._fitted import AbstractFitted, OnProgress, Outcome, ignore
from .._tables import Found, require_categories, table_columns
from .._task import Source
from ._axes import row_axes
from ._baselines import compare_rows
from ._figures import show_model
from ._impute import impute
from ._inference import (
    draw_rows,
    expected_rows,
    infer_rows,
    inferred,
    log_unit_nats,
    score_rows,
    summarize_rows,
    weigh_rows,
)
from ._requirements import count_missing, missing_words, requirements
from ._system import RowsSystem

_MOST_SHOWN = 100


@final
@dataclass(frozen=True)
class FittedRows(AbstractFitted[AbstractRows, RowsSystem]):
    """A latent variable model of rows with its engine."""

    def open(self, data: Source, *, message: Message | None = None) -> AbstractRows:
        description, options = self.description, self.system.options
        if isinstance(data, AbstractRows | np.ndarray):
            rows = self.task.open(data)
        else:
            # Columns of a table are found by the names that the model was fitted to, in any order.
            known = tuple(zip(description.columns, description.categories, strict=False))
            rows = open_rows(data, table_columns(options, Found(description.columns, known)), message=message)
        require_shape(rows, description.shape, of="the fitted model")
        require_categories(rows, description.categories, "the fitted model")
        likelihood, divisor = description.likelihood, description.scaling.divisor
        check_rows(rows, *requirements(likelihood, description.num_classes, divisor, options))
        missing = count_missing(rows)
        if missing and message is not None:
            new = options.reads_data and not description.num_missing
            unseen = ": the fit had none, and networks read 0 in their places" if new else ""
            message(f"{missing_words(missing, len(rows), rows.shape)}{unseen}")
        return rows

    def infer(
        self,
        data: Source,
        *,
        key: Key,
        out: Path | None = None,
        iterations: int | None = None,
        samples: int | None = None,
        on_progress: OnProgress = ignore,
    ) -> Outcome:
        """Posterior and bound of each row; beside the arguments of every fitted model there are two.

        Where numbers are missing, `imputed` has the rows with E[x_missing | x_seen] in their places.

        Args:
            iterations: of inference, in place of those of the fit.
            samples: of the posterior for each bound; 16 by default.
        """
        rows, setup = self.open(data), self.system.setup(self.selected, iterations=iterations)
        total, num_failed, num_missing = 0.0, 0, count_missing(rows)
        with ArraysWriter(out, len(rows)) as writer:
            for start, found in inferred(setup, self.description, rows, samples or 16, key=key):
                params, mean, distortion, rate, failed = found
                stop, elbo = start + len(mean), -(distortion + rate)
                block = {f"posterior_{name}": leaf for name, leaf in params._asdict().items()}
                block |= {"mean": mean, "elbo_nats": elbo, "distortion_nats": distortion, "rate_nats": rate}
                if num_missing:
                    stored, numbered = rows.read(np.arange(start, stop)), {"first": start, "num_samples": samples or 16}
                    block["imputed"] = impute(setup, self.description, stored, params, mean, **numbered, key=key)
                writer.write(slice(start, stop), block | {"failed": failed})
                total, num_failed = total + float(elbo.sum()), num_failed + int(failed.sum())
                on_progress(stop)
            writer.add(dims=np.asarray(self.system.dims))
        numbers = {
            "rows": len(rows),
            "iterations": iterations or self.system.inference.num_steps,
            "elbo_nats": total / len(rows),
            "exact": setup.exact is not None,
            "failed_rows": num_failed,
            **({"missing_numbers": num_missing} if num_missing else {}),
            "arrays": writer.names,
        }
        axes = row_axes(self.description, sum(self.system.dims), writer.arrays)
        return Outcome(numbers, writer.arrays, axes=axes, observed=lambda: _observed(rows))

    def evaluate(
        self,
        data: Source,
        *,
        key: Key,
        samples: int | None = None,
        rows: int | None = None,
        iterations: int | None = None,
        seed: int = 0,
        on_progress: OnProgress = ignore,
    ) -> Outcome:
        """Bound and importance-weighted likelihood of new rows, averages and the numbers of each row.

        Args:
            samples: importance samples for each row; 5,000 by default.
            rows: how many rows are evaluated, chosen by the seed; all by default.
            iterations: of inference, in place of those of the fit.
        """
        chosen, samples, order = self.open(data), samples or 5_000, None
        if rows is not None and rows < len(chosen):
            order = np.sort(permutation(len(chosen), seed)[:rows])
            chosen = chosen.select(order)
        if len(chosen) < 2:
            raise BadInputError(f"Expected at least two rows to average over, got one in {chosen.name}.")
        setup = self.system.setup(self.selected, iterations=iterations)
        scores = score_rows(setup, self.description, chosen, num_samples=samples, key=key, on_progress=on_progress)
        numbers = {
            **({} if setup.exact is not None else {"importance_samples": samples}),
            "iterations": iterations or self.system.inference.num_steps,
            **summarize_rows(scores, self.description, chosen),
        }
        axes = row_axes(self.description, sum(self.system.dims), scores, numbers=order)
        return Outcome(numbers, scores, axes=axes, observed=lambda: _observed(chosen))

    def sample(self, number: int | None = None, *, key: Key) -> Outcome:
        """Rows drawn from the model, 64 by default, in the unit of the data, and a sheet of their means if they are images."""
        number = 64 if number is None else number
        latents, means, draws = draw_rows(self.selected.learned.model, number, key=key)
        description, figure = self.description, None
        arrays = {"samples": description.restore(draws), "means": description.restore(means), "latents": latents}
        if description.image_shape:
            figure = plot_samples(description.pictures(arrays["means"][:_MOST_SHOWN]))
        axes = row_axes(description, sum(self.system.dims), arrays, along="draw")
        return Outcome({"rows": number}, arrays, figure, axes=axes)

    def calibrate(
        self, *, key: Key, simulations: int = 1_000, iterations: int | None = None, on_progress: OnProgress = ignore
    ) -> Outcome:
        """Simulation-based calibration of the model with its engine.

        Args:
            simulations: simulated rows, at least 80.
            iterations: of inference, in place of those of the fit.
            on_progress: told the number of simulations that are done.
        """
        model, engine, family, steps, objective = self.system.setup(self.selected, iterations=iterations)
        names = _latent_names(self.system.dims)
        how: dict[str, Any] = {"num_simulations": simulations, "num_steps": steps, "objective": objective}
        report = calibrate(model, engine, family, key=key, names=names, on_progress=on_progress, **how)
        same = ("calibrated", "verdict", "p_values", "significance", "levels", "coverage", "coverage_stderr")
        numbers = {name: getattr(report, name) for name in same} | {
            "simulations": simulations,
            "quantities": report.names,
            "p_values_chi_square": report.chi_square,
            "p_values_kolmogorov": report.kolmogorov,
            "p_values_importance_weighted": report.corrected,
            "pareto_k_quantiles": report.pareto_quantiles,
            "share_pareto_k_above_0.7": 1.0 - report.reliable,
            "failed_simulations": report.num_failed,
        }
        ranks, pareto_k = np.asarray(report.calibration.ranks), np.asarray(report.calibration.pareto_shape)
        positions, places = (ranks + 0.5) / (report.calibration.num_draws + 1), np.linspace(0.0, 1.0, 101)[1:-1]
        band = ecdf_difference_band(simulations, places, key=key)
        tests, coverage = (report.p_values, report.rejected), (report.levels, report.coverage)
        summary = CalibrationSummary(positions, *tests, pareto_k, *coverage, places, *band)
        figure = plot_calibration_summary(summary, report.names, significance=report.significance)
        return Outcome(plain(numbers), {"ranks": ranks, "pareto_k": pareto_k}, figure, str(report))

    def means(self, rows: Array | Masked, *, key: Key) -> Float[np.ndarray, "n d"]:
        """E_q[z] of prepared rows; all share one key, so that what a row gets depends on the row alone."""
        setup = self.system.setup(self.selected)
        return np.asarray(infer_rows(setup, rows, _same_number(rows), False, 1, key=key).mean)

    def log_likelihoods(self, rows: Array | Masked, samples: int, *, key: Key) -> Float[np.ndarray, " n"]:
        """log p(x) of prepared rows in nats of the data, exact or from so many importance samples; keys as for `means`."""
        setup = self.system.setup(self.selected)
        return np.asarray(weigh_rows(setup, rows, samples, key=key)) - log_unit_nats(self.description, rows)

    def expected(self, latents: Array) -> np.ndarray:
        """E[x | z] in the unit of the data."""
        means = expected_rows(self.selected.learned.model, jnp.asarray(latents, jnp.result_type(float)))
        return self.description.restore(means)

    def beginning(self, data: AbstractRows) -> AbstractRows:
        return data.select(np.arange(min(len(data), self.system.options.evaluation_rows)))

    def measure(self, data: AbstractRows, train: AbstractRows, context: RunContext, *, key: Key) -> dict[str, Any]:
        samples = self.system.options.evaluation_samples
        with context.progress("evaluating rows", total=len(data)) as bar:
            setup = self.system.setup(self.selected)
            scores = score_rows(setup, self.description, data, num_samples=samples, key=key, on_progress=bar.move_to)
        how = {} if setup.exact is not None else {"importance_samples": samples}
        nats, estimate = scores["log_likelihood_nats"], "exact" if setup.exact is not None else "importance-weighted"
        gain = compare_rows(self.description, train, data, nats, estimate=estimate)
        return {**how, **summarize_rows(scores, self.description, data), **gain}

    def report(self, data: AbstractRows, context: RunContext, *, key: Key) -> None:
        show_model(self.system, self.selected, data, context, key=key)


def _observed(rows: AbstractRows) -> dict[str, np.ndarray]:
    return {"observed": rows.read(np.arange(len(rows)))}


def _same_number(rows: Array | Masked) -> Array:
    return jnp.zeros(len(rows.value if isinstance(rows, Masked) else rows), jnp.int32)


def _latent_names(dims: tuple[int, ...]) -> list[str]:
    if len(dims) == 1:
        return [f"z[{i}]" for i in range(dims[0])]
    return [f"z{level + 1}[{i}]" for level, dim in enumerate(dims) for i in range(dim)]
