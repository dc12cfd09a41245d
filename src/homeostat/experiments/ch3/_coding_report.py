"""Costs, claims, tables and figures of predictive coding against iterative inference."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from ...inference.engines import PredictiveCoding
from ...metrics import take_turns
from ...runs import RunContext
from ...typing import Array, Float, Key, PyTree
from ...viz import BoundCurve, plot_bound_by_setting, plot_bound_progress
from ..kit import mean_and_error, printed, setting_curve
from ._coding import ITERATIONS, RULES, Candidates, CodingMeasures, encoded, follow


class CodingCosts(NamedTuple):
    """What inference costs: predictive coding, it after a feedforward pass, iterative inference by gradients, and with data.

    Attributes:
        multiply_adds: in weight matrices, for one observation. A step of predictive coding is one pass of predictions down
            and one of errors up; an iteration of iterative inference is the same two passes and the update network.
        seconds: least wall-clock time for the rows at once.
    """

    multiply_adds: Float[np.ndarray, "4 iterations"]
    seconds: Float[np.ndarray, "4 iterations"]


def costs(candidates: Candidates, rows: Float[Array, "n size"], *, key: Key) -> CodingCosts:
    """Count and time."""
    model, encoder, gradient, data, _ = candidates
    coding, starts = PredictiveCoding(optax.sgd(0.01)), jnp.zeros((len(rows), *model.initial().event_shape), rows.dtype)
    run = partial(follow, model)
    tasks = (
        lambda k: run(coding, rows, starts, k),
        lambda k: run(coding, rows, encoded(encoder, rows), k - 1),
        lambda k: run(gradient, rows, starts, k),
        lambda k: run(data, rows, starts, k),
    )
    # The least of many: what else the machine does can only add to it.
    seconds = [[take_turns([partial(task, k)], 15).min() for k in ITERATIONS] for task in tasks]
    step, once, by_gradient, by_both = map(_matrix_entries, ((model, model), encoder, gradient, data))
    adds = [[k * step, once + (k - 1) * step, k * (step + by_gradient), k * (step + by_both)] for k in ITERATIONS]
    return CodingCosts(np.asarray(adds, float).T, np.asarray(seconds))


def _matrix_entries(tree: PyTree) -> int:
    """Multiply-adds of one pass through dense layers."""
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array)) if leaf.ndim == 2)


def _by_method(all_: CodingMeasures) -> dict[str, Float[np.ndarray, "seeds moments"]]:
    """Mean energies of test rows."""
    parts = {
        "predictive coding": all_.coding,
        "feedforward, then predictive coding": all_.forward,
        "iterative (gradients)": all_.gradient,
        "iterative (gradients, data)": all_.data,
    }
    return {name: part.mean(axis=1) for name, part in parts.items()}


def measure_claims(context: RunContext, all_: CodingMeasures, spent: CodingCosts) -> None:
    """Differences are paired within seeds; standard errors are over seeds."""

    def apart(claim: str, above: np.ndarray, below: np.ndarray) -> None:
        value, stderr = mean_and_error(above - below)
        context.measure(f"predictive_coding/{claim}", value / stderr)

    coding, forward, gradient, data = _by_method(all_).values()
    # Iterations of iterative inference that 8 of predictive coding pay for: in multiply-adds, and in wall-clock time, with
    # straight lines between the iterations that were timed.
    one = spent.multiply_adds[:, 0]
    affordable = int(min(max(8.0 * one[0] // one[2], 0), 8))
    times = np.interp(np.arange(9), (0, *ITERATIONS), (0.0, *spent.seconds[2]))
    timely = int(np.flatnonzero(times <= spent.seconds[0, 3]).max())
    context.measure("predictive_coding/settles", *mean_and_error(coding[:, 0] - coding[:, 8]))
    apart("few-iterations", coding[:, 8], gradient[:, 2])
    apart("feedforward", forward[:, 8], data[:, 2])
    apart("bound", all_.bound_coding.mean(axis=1)[:, 3], all_.bound_gaussian.mean(axis=1)[:, 1])
    apart("equal-compute", coding[:, 8], gradient[:, affordable])
    apart("equal-time", coding[:, 8], gradient[:, timely])
    context.measure("predictive_coding/seconds", float(spent.seconds[0, 3] / spent.seconds[2, 1]))
    optimum = all_.optimum.mean(axis=1)
    share = (gradient[:, 0] - gradient[:, 2]) / (gradient[:, 0] - optimum)
    context.measure("predictive_coding/few-suffice", *mean_and_error(share))
    context.note(
        "compute",
        f"One iteration costs {one[0]:,.0f} multiply-adds with predictive coding (one pass down, one up), {one[2]:,.0f} with "
        f"iterative inference that reads gradients and {one[3]:,.0f} with one that reads the observation too; the feedforward "
        f"pass costs {one[1]:,.0f}. Eight iterations of predictive coding pay for {affordable} of iterative inference with "
        f"gradients in multiply-adds and for {timely} in time. The optimum lies at {printed(optimum, 2)} nats.",
    )


def tabulate_coding(
    context: RunContext, all_: CodingMeasures, spent: CodingCosts, rates: Sequence[float], *, num_timed: int
) -> None:
    """Energies, bounds and the rates that were tried."""
    rows = []
    for index, (name, energies) in enumerate(_by_method(all_).items()):
        for place, k in enumerate(ITERATIONS):
            passes, updates = 2 * (k - (index == 1)), (0, 1, k, k)[index]
            millions, ms = 1e-6 * spent.multiply_adds[index, place], 1e3 * spent.seconds[index, place]
            energy = printed(energies[:, k], 2)
            rows.append((name, k, energy, passes, updates, round(float(millions), 2), round(float(ms), 2)))
    context.table(
        "energies",
        ("inference of points", "iterations", "energy (nats)", "decoder passes", "encoder passes", "million multiply-adds",
         f"ms for {num_timed} rows"),
        rows, caption="-log p(x, z) on test rows, mean ± standard error over seeds; decoder passes are down (predictions) and up "
        "(errors). Rule and rate of predictive coding are those that validation prefers at each number of iterations.",
    )  # fmt: skip
    bounds = [part.mean(axis=1) for part in (all_.bound_coding, all_.bound_gaussian)]
    context.table(
        "bounds", ("iterations", "predictive coding (nats)", "iterative (nats)"),
        [(k, *(printed(of[:, place], 2) for of in bounds)) for place, k in enumerate(ITERATIONS)],
        caption="Free energy of Gaussian q on test rows, mean ± standard error over seeds.",
    )  # fmt: skip
    tried = all_.validation[..., 8].mean(axis=0)
    context.table(
        "rates", ("rule", *(f"{rate:g}" for rate in rates)),
        [(rule, *(f"{value:.1f}" for value in values)) for rule, values in zip(RULES, tried, strict=True)],
        caption="Energy on validation rows after 8 iterations of predictive coding from the common start, by rate; inf has "
        "diverged.",
    )  # fmt: skip


def draw_coding(
    context: RunContext, all_: CodingMeasures, spent: CodingCosts, *, num_trained: int, num_timed: int
) -> None:
    """Energies over iterations and time, and bounds over iterations."""
    optimum, moments, curves = all_.optimum.mean(axis=1)[:, None], np.arange(max(ITERATIONS) + 1), []
    for (name, energies), seconds in zip(_by_method(all_).items(), spent.seconds, strict=True):
        times = np.interp(moments, (0, *ITERATIONS), (0.0, *seconds))
        curves.append(BoundCurve(*setting_curve(name, optimum - energies), times))
    figure = plot_bound_progress(curves, best_nats=0.0, trained_steps=num_trained, floor_nats=0.1)
    by_step, by_time = figure.axes
    by_step.set_xticks((0, *ITERATIONS), labels=[str(k) for k in (0, *ITERATIONS)])
    by_step.set_ylabel("nats below the optimum")
    # A few milliseconds are no decade: name round values instead of powers of ten.
    low, high = spent.seconds[:, 0].min(), spent.seconds[:, -1].max()
    ticks = [m * 10.0**e for e in range(-6, 3) for m in (1, 2, 5) if low / 1.5 <= m * 10.0**e <= high * 1.2]
    by_time.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    by_time.set_xticks([], minor=True)
    by_time.set_xlabel(f"seconds for {num_timed} rows")
    context.figure(
        "energies", figure,
        caption="Log joint density log p(x, z) of point estimates below that of a long optimisation, over iterations and over "
        "wall-clock time. Bands are two standard errors over seeds.",
    )  # fmt: skip
    named = {"predictive coding, curvature": all_.bound_coding, "iterative": all_.bound_gaussian}
    settings = [setting_curve(name, -part.mean(axis=1)) for name, part in named.items()]
    context.figure(
        "bounds", plot_bound_by_setting(ITERATIONS, settings, xlabel="iterations"),
        caption="Bound on log p(x): Gaussians about the points of predictive coding, with the scales that their curvature "
        "gives, and iterative inference of Gaussians.",
    )  # fmt: skip
