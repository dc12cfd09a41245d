"""Claims, tables and figures of predictive coding against iterative inference."""

from collections.abc import Sequence

import numpy as np

from ...runs import RunContext
from ...viz import BoundCurve, SettingCurve, plot_bound_by_setting, plot_bound_progress
from ..kit import mean_and_error, printed
from ._coding import RULES, CodingMeasures
from ._coding_costs import CodingCosts

ITERATIONS = (1, 2, 4, 8)
"""Where costs are timed and tables are filled."""


def measure_claims(context: RunContext, all_: CodingMeasures, spent: CodingCosts) -> None:
    """Differences are paired within seeds; standard errors are over seeds."""

    def apart(above: np.ndarray, below: np.ndarray) -> float:
        value, stderr = mean_and_error(above - below)
        return value / stderr

    coding, forward, gradient, data = (
        part.mean(axis=1) for part in (all_.coding, all_.forward, all_.gradient, all_.data)
    )
    bounds = [part.mean(axis=1) for part in (all_.bound_coding, all_.bound_gaussian)]
    context.measure("predictive_coding/settles", *mean_and_error(coding[:, 0] - coding[:, 8]))
    context.measure("predictive_coding/few-iterations", apart(coding[:, 8], gradient[:, 2]))
    context.measure("predictive_coding/feedforward", apart(forward[:, 8], data[:, 2]))
    context.measure("predictive_coding/bound", apart(bounds[0][:, 3], bounds[1][:, 1]))
    affordable = _affordable(spent)
    context.measure("predictive_coding/equal-compute", apart(coding[:, 8], gradient[:, affordable]))
    timely = _timely(spent)
    context.measure("predictive_coding/equal-time", apart(coding[:, 8], gradient[:, timely]))
    context.measure("predictive_coding/seconds", float(spent.seconds[0, 3] / spent.seconds[2, 1]))
    optimum = all_.optimum.mean(axis=1)
    share = (gradient[:, 0] - gradient[:, 2]) / (gradient[:, 0] - optimum)
    context.measure("predictive_coding/few-suffice", *mean_and_error(share))
    context.note(
        "compute",
        f"One iteration costs {float(spent.coding):,.0f} multiply-adds with predictive coding (one pass down, one up), "
        f"{float(spent.gradient):,.0f} with iterative inference that reads gradients and {float(spent.data):,.0f} with one that "
        f"reads the observation too; the feedforward pass costs {float(spent.encoder):,.0f}. Eight iterations of predictive "
        f"coding pay for {affordable} of iterative inference with gradients in multiply-adds and for {timely} in time. The optimum lies at "
        f"{printed(mean_and_error(optimum), 2)} nats.",
    )


def tabulate_coding(
    context: RunContext, all_: CodingMeasures, spent: CodingCosts, rates: Sequence[float], *, num_timed: int
) -> None:
    """Energies, bounds and the rates that were tried."""
    names = (
        "predictive coding",
        "feedforward, then predictive coding",
        "iterative (gradients)",
        "iterative (gradients, data)",
    )
    energies = (all_.coding, all_.forward, all_.gradient, all_.data)
    unit = (float(spent.coding), float(spent.coding), float(spent.gradient), float(spent.data))
    extra = (0.0, float(spent.encoder) - float(spent.coding), 0.0, 0.0)
    rows = []
    for index, name in enumerate(names):
        for place, k in enumerate(ITERATIONS):
            updates = (0, 1, k, k)[index]
            passes = 2 * (k - 1 if index == 1 else k)
            rows.append((
                name, k, printed(mean_and_error(energies[index].mean(axis=1)[:, k]), 2), passes, updates,
                round((k * unit[index] + extra[index]) / 1e6, 2), round(1e3 * float(spent.seconds[index, place]), 2),
            ))  # fmt: skip
    context.table(
        "energies",
        ("inference of points", "iterations", "energy (nats)", "decoder passes", "encoder passes", "million multiply-adds",
         f"ms for {num_timed} rows"),
        rows, caption="-log p(x, z) on test rows, mean ± standard error over seeds; decoder passes are down (predictions) and up "
        "(errors). Rule and rate of predictive coding are those that validation prefers at each number of iterations.",
    )  # fmt: skip
    context.table(
        "bounds",
        ("iterations", "predictive coding (nats)", "iterative (nats)"),
        [(k, *(printed(mean_and_error(part.mean(axis=1)[:, place]), 2) for part in (all_.bound_coding, all_.bound_gaussian)))
         for place, k in enumerate(ITERATIONS)],
        caption="Free energy of Gaussian q on test rows, mean ± standard error over seeds.",
    )  # fmt: skip
    tried = [
        (rule, *(f"{value:.1f}" for value in all_.validation[:, index, :, 8].mean(axis=0)))
        for index, rule in enumerate(RULES)
    ]
    context.table(
        "rates", ("rule", *(f"{rate:g}" for rate in rates)), rows=tried,
        caption="Energy on validation rows after 8 iterations of predictive coding from the common start, by rate; inf has "
        "diverged.",
    )  # fmt: skip


def draw_coding(
    context: RunContext, all_: CodingMeasures, spent: CodingCosts, *, num_trained: int, num_timed: int
) -> None:
    """Energies over iterations and time, and bounds over iterations."""
    names = (
        "predictive coding",
        "feedforward + predictive coding",
        "iterative, gradients",
        "iterative, gradients and data",
    )
    curves, moments = [], np.arange(max(ITERATIONS) + 1)
    for name, energy, seconds in zip(
        names, (all_.coding, all_.forward, all_.gradient, all_.data), spent.seconds, strict=True
    ):
        above = energy.mean(axis=1) - all_.optimum.mean(axis=1)[:, None]
        mean, stderr = np.stack([mean_and_error(column) for column in above.T], axis=1)
        curves.append(BoundCurve(name, -mean, stderr, np.interp(moments, (0, *ITERATIONS), (0.0, *seconds))))
    figure = plot_bound_progress(curves, best_nats=0.0, trained_steps=num_trained, floor_nats=0.1)
    by_step, by_time = figure.axes
    by_step.set_xticks((0, *ITERATIONS), labels=[str(k) for k in (0, *ITERATIONS)])
    by_step.set_ylabel("nats below the optimum")
    # A few milliseconds are no decade: name round values instead of powers of ten.
    low, high = (np.asarray([curve.seconds[place] for curve in curves]) for place in (1, -1))
    ticks = [m * 10.0**e for e in range(-6, 3) for m in (1, 2, 5) if low.min() / 1.5 <= m * 10.0**e <= high.max() * 1.2]
    by_time.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    by_time.set_xticks([], minor=True)
    by_time.set_xlabel(f"seconds for {num_timed} rows")
    context.figure(
        "energies", figure,
        caption="Log joint density log p(x, z) of point estimates below that of a long optimisation, over iterations and over "
        "wall-clock time. Bands are two standard errors over seeds.",
    )  # fmt: skip
    settings = []
    for name, part in zip(
        ("predictive coding, curvature", "iterative"), (all_.bound_coding, all_.bound_gaussian), strict=True
    ):
        mean, stderr = np.stack([mean_and_error(column) for column in part.mean(axis=1).T], axis=1)
        settings.append(SettingCurve(name, -mean, stderr))
    context.figure(
        "bounds", plot_bound_by_setting(ITERATIONS, settings, xlabel="iterations"),
        caption="Bound on log p(x): Gaussians about the points of predictive coding, with the scales that their curvature "
        "gives, and iterative inference of Gaussians.",
    )  # fmt: skip


def _affordable(spent: CodingCosts) -> int:
    """Iterations of iterative inference, of those with a measurement, that 8 of predictive coding pay for."""
    return int(min(max(8.0 * float(spent.coding) // float(spent.gradient), 0), 8))


def _timely(spent: CodingCosts) -> int:
    """The same in wall-clock time, straight lines between the iterations that were timed."""
    times = np.interp(np.arange(9), (0, *ITERATIONS), (0.0, *spent.seconds[2]))
    return int(np.flatnonzero(times <= spent.seconds[0, 3]).max())
