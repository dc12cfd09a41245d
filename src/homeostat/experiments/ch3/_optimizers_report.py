"""Claims, tables and figures of the race between iterative inference and optimizers (Figs. 3.6, 3.7 and 3.8)."""

import jax
import jax.numpy as jnp
import numpy as np

from ... import viz
from ...core import AbstractModel
from ...distributions import DiagonalGaussianParams
from ...runs import RunContext
from ...typing import Array, Float
from ..kit import measure, printed, setting_curve
from ._data import SplitData
from ._racing import Race, Watched


def report(context: RunContext, races: dict[str, Race], *, num_iterations: int, num_samples: int) -> None:
    """Measure the claims about bounds, tabulate, and draw bounds against iterations and time (Fig. 3.6)."""
    races = {name: Race(*map(np.asarray, found)) for name, found in races.items()}
    ours = races["iterative"].bounds
    # The best optimizer is chosen where step sizes are, on training rows.
    best = max(races.keys() - {"iterative"}, key=lambda name: float(races[name].tuned_nats))
    theirs = races[best].bounds
    measure(context, "optimizers/final", ours[:, -1] - theirs[:, -1])
    measure(context, "optimizers/fewer-iterations", iterations_ratio(ours, theirs, seed=0))
    measure(context, "optimizers/stable", ours[:, num_iterations] - ours[:, -1])
    rows = []
    for name, found in races.items():
        bounds, seconds, level = found.bounds, float(found.seconds), final_level(found.bounds)
        passages = [first_passage(each.mean(axis=0), level) for each in (bounds, ours)]
        told = (int(passage) if np.isfinite(passage) else "never" for passage in passages)
        rows.append((
            name, "none" if name == "iterative" else f"{float(found.setting):g}", bounds.shape[1] - 1,
            printed(bounds[:, -1], 2), *told, 1e3 * seconds, passages[0] * seconds,
        ))  # fmt: skip
    context.table(
        "race",
        ("method", "step size", "iterations", "final bound (nats)", "its iterations to its final bound",
         "iterative's iterations to that bound", "milliseconds an iteration", "its seconds to its final bound"),
        rows,
        caption=f"Inference on {len(ours)} validation examples at once, {num_samples} samples; the best "
        f"optimizer on training examples is {best}. A final bound is the mean over the last tenth of the iterations. "
        "Natural gradient uses the Fisher information of the likelihood, diagonal family.",
    )  # fmt: skip
    highest = max(races, key=lambda name: races[name].bounds.mean(axis=0).max())
    bounds = races[highest].bounds
    reference = bounds[:, int(np.argmax(bounds.mean(axis=0)))]
    # Errors of differences: how hard an example is concerns all methods alike.
    curves = [
        viz.BoundCurve(*setting_curve(name, found.bounds - reference[:, None]), found.seconds * np.arange(found.bounds.shape[1]))
        for name, found in races.items()
    ]  # fmt: skip
    context.figure(
        "progress", viz.plot_bound_progress(curves, best_nats=0.0, trained_steps=num_iterations),
        caption=f"Mean bound on {len(reference)} validation examples below the best mean that any method reached "
        f"({reference.mean():.2f} nats, {highest}), against iterations and wall-clock time. Bands: two standard errors of the "
        "paired difference.",
    )  # fmt: skip


def draw_reconstructions(
    context: RunContext, data: SplitData, model: AbstractModel, path: DiagonalGaussianParams, rows: Array
) -> None:
    """Fig. 3.7: means of the data under the model along inference on the first rows, as many as there are paths."""
    num, length, _ = path.loc.shape
    moments = [k for k in (0, 1, 2, 3, 4, 6, 8, 12, 16) if k < length]
    mean = jax.jit(jax.vmap(jax.vmap(lambda z: model.emission(z).mean)))(path.loc[:, jnp.asarray(moments)])
    shown, seen = np.asarray(mean).reshape(num, -1, *data.shape), np.asarray(rows[:num]).reshape(num, *data.shape)
    context.figure(
        "reconstructions", viz.plot_reconstructions_over_iterations(seen, shown, iterations=moments),
        caption="Means of the data under the model at the posterior's mean, by iteration; right: the binarised example.",
    )  # fmt: skip


def report_norms(context: RunContext, watched: Watched, norms: Float[Array, "rows moments"], num_samples: int) -> None:
    """Fig. 3.8 and the claim about gradient norms; `norms` along inference on validation examples, after training."""
    label = "norm of the gradient of the mean, nats per unit"
    context.figure(
        "gradient-norms",
        viz.plot_gradient_norms(np.asarray(watched.steps), np.asarray(watched.norms), ylabel=label),
        caption=f"Gradient of the bound with respect to the posterior's means during training, by iteration of inference; "
        f"mean over {len(norms)} validation examples, {num_samples} samples.",
    )
    norm_path = np.asarray(norms)
    falls = np.diff(norm_path.mean(axis=0)[1:]) < 0.0
    share = float(falls.mean())
    context.measure("optimizers/gradient-falls", share, (share * (1.0 - share) / len(falls)) ** 0.5)
    context.table(
        "norms", ("iterations done", "mean norm (nats per unit)"),
        [(moment, printed(column)) for moment, column in enumerate(norm_path.T)],
        caption="Gradient of the bound with respect to the posterior's means after training, on validation examples.",
    )  # fmt: skip


def first_passage(curve_nats: np.ndarray, level_nats: float) -> float:
    """The first moment at which a curve is at or above a level, infinite if there is none; moment 0 is the start."""
    reached = np.flatnonzero(curve_nats >= level_nats)
    return float(reached[0]) if reached.size else float("inf")


def final_level(bounds_nats: np.ndarray) -> float:
    """A method's own final bound: its mean over rows and over the last tenth of its iterations."""
    mean = bounds_nats.mean(axis=0)
    return float(mean[-max(1, len(mean) // 10) :].mean())


def iterations_ratio(
    ours: np.ndarray, theirs: np.ndarray, *, seed: int, num_resamples: int = 500
) -> tuple[float, float]:
    """Iterations that `theirs` needs to its own final bound, over those that `ours` needs to the same level; rows are the same.

    Returns:
        The ratio, 0 if `ours` never gets there, and its standard error by resampling rows.
    """

    def ratio(rows: np.ndarray) -> float:
        level = final_level(theirs[rows])
        needed = max(1.0, first_passage(ours[rows].mean(axis=0), level))
        return first_passage(theirs[rows].mean(axis=0), level) / needed

    generator, num = np.random.default_rng(seed), len(ours)
    resampled = [ratio(generator.integers(0, num, num)) for _ in range(num_resamples)]
    return ratio(np.arange(num)), float(np.std(resampled, ddof=1))
