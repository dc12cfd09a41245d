"""Claims, tables and figures of the race between iterative inference and optimizers (Figs. 3.6, 3.7 and 3.8)."""

import jax
import jax.numpy as jnp
import numpy as np

from ... import viz
from ...core import AbstractModel
from ...runs import RunContext
from ...typing import Array, Float, Key
from ..kit import mean_and_error, printed
from ._data import SplitData
from ._racing import Race, Watched, mean_gradient_norms


def report(context: RunContext, races: dict[str, Race], *, num_iterations: int, num_samples: int) -> None:
    """Measure the claims about bounds, tabulate, and draw bounds against iterations and time (Fig. 3.6)."""
    races = {name: Race(*map(np.asarray, found)) for name, found in races.items()}
    ours = races["iterative"].bounds
    rivals = {name: found for name, found in races.items() if name != "iterative"}
    # The best optimizer is chosen where step sizes are, on training rows.
    best = max(rivals, key=lambda name: float(rivals[name].tuned_nats))
    theirs = rivals[best].bounds
    context.measure("optimizers/final", *mean_and_error(ours[:, -1] - theirs[:, -1]))
    context.measure("optimizers/fewer-iterations", *iterations_ratio(ours, theirs, seed=0))
    context.measure("optimizers/stable", *mean_and_error(ours[:, num_iterations] - ours[:, -1]))
    rows = []
    for name, found in races.items():
        bounds, seconds, level = found.bounds, float(found.seconds), final_level(found.bounds)
        passages = [first_passage(each.mean(axis=0), level) for each in (bounds, ours)]
        rows.append((
            name, "none" if name == "iterative" else f"{float(found.setting):g}", bounds.shape[1] - 1,
            printed(mean_and_error(bounds[:, -1]), 2), *map(_or_never, passages), 1e3 * seconds, passages[0] * seconds,
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
    bounds, curves = races[highest].bounds, []
    reference = bounds[:, int(np.argmax(bounds.mean(axis=0)))]
    for name, found in races.items():
        bounds = found.bounds
        # Errors of differences: how hard an example is concerns all methods alike.
        below = reference[:, None] - bounds
        seconds = float(found.seconds) * np.arange(bounds.shape[1])
        error = below.std(axis=0, ddof=1) / len(bounds) ** 0.5
        curves.append(viz.BoundCurve(name, bounds.mean(axis=0), error, seconds))
    context.figure(
        "progress",
        viz.plot_bound_progress(curves, best_nats=float(reference.mean()), trained_steps=num_iterations),
        caption=f"Mean bound on {len(reference)} validation examples below the best mean that any method reached "
        f"({reference.mean():.2f} nats, {highest}), against iterations and wall-clock time. Bands: two standard errors of the "
        "paired difference.",
    )


def draw_reconstructions(
    context: RunContext,
    data: SplitData,
    model: AbstractModel,
    path: Float[Array, "n moments k"],
    rows: Float[Array, "m size"],
) -> None:
    """Fig. 3.7: means of the data along inference."""
    moments = [k for k in (0, 1, 2, 3, 4, 6, 8, 12, 16) if k < path.shape[1]]
    dim = path.shape[2] // 2

    @jax.jit
    def reconstruct(loc: Float[Array, "n moments d"]) -> Float[Array, "n moments size"]:
        return jax.vmap(jax.vmap(lambda z: model.emission(z).mean))(loc)

    shown = np.asarray(reconstruct(path[:, jnp.asarray(moments), :dim])).reshape(len(path), len(moments), *data.shape)
    seen = np.asarray(rows[: len(path)]).reshape(-1, *data.shape)
    context.figure(
        "reconstructions", viz.plot_reconstructions_over_iterations(seen, shown, iterations=moments),
        caption="Means of the data under the model at the posterior's mean, by iteration; right: the binarised example.",
    )  # fmt: skip


def draw_norms(
    context: RunContext,
    model: AbstractModel,
    watched: Watched,
    path: Float[Array, "n moments k"],
    rows: Float[Array, "n size"],
    *,
    num_samples: int,
    key: Key,
) -> None:
    """Fig. 3.8 and the claim about gradient norms."""
    label = "norm of the gradient of the mean, nats per unit"
    context.figure(
        "gradient-norms",
        viz.plot_gradient_norms(np.asarray(watched.steps), np.asarray(watched.norms), ylabel=label),
        caption=f"Gradient of the bound with respect to the posterior's means during training, by iteration of inference; "
        f"mean over {len(rows)} validation examples, {num_samples} samples.",
    )
    norm_path = np.asarray(mean_gradient_norms(model, path, rows, key, num_samples))
    falls = np.diff(norm_path.mean(axis=0)[1:]) < 0.0
    share = float(falls.mean())
    context.measure("optimizers/gradient-falls", share, (share * (1.0 - share) / len(falls)) ** 0.5)
    context.table(
        "norms",
        ("iterations done", "mean norm (nats per unit)"),
        [(moment, printed(mean_and_error(norm_path[:, moment]))) for moment in range(norm_path.shape[1])],
        caption="Gradient of the bound with respect to the posterior's means after training, on validation examples.",
    )


def _or_never(iterations: float) -> int | str:
    return int(iterations) if np.isfinite(iterations) else "never"


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
