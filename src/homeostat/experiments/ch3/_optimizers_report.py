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
from ._passage import final_level, first_passage, iterations_ratio
from ._racing import Race, mean_gradient_norms
from ._watching import Watched


def report(context: RunContext, races: dict[str, Race], *, num_iterations: int, num_samples: int) -> None:
    """Measure the claims about bounds and tabulate."""
    ours = np.asarray(races["iterative"].bounds)
    rivals = {name: found for name, found in races.items() if name != "iterative"}
    # The best optimizer is chosen where step sizes are, on training rows.
    best = max(rivals, key=lambda name: float(rivals[name].tuned_nats))
    theirs = np.asarray(rivals[best].bounds)
    context.measure("optimizers/final", *mean_and_error(ours[:, -1] - theirs[:, -1]))
    context.measure("optimizers/fewer-iterations", *iterations_ratio(ours, theirs, seed=0))
    context.measure("optimizers/stable", *mean_and_error(ours[:, num_iterations] - ours[:, -1]))
    rows = []
    for name, found in races.items():
        bounds = np.asarray(found.bounds)
        level = final_level(bounds)
        passage = first_passage(bounds.mean(axis=0), level)
        rows.append(
            (
                name,
                "none" if name == "iterative" else f"{float(found.setting):g}",
                bounds.shape[1] - 1,
                printed(mean_and_error(bounds[:, -1]), 2),
                _or_never(passage),
                _or_never(first_passage(ours.mean(axis=0), level)),
                1e3 * float(found.seconds),
                passage * float(found.seconds),
            )
        )
    context.table(
        "race",
        ("method", "step size", "iterations", "final bound (nats)", "its iterations to its final bound",
         "iterative's iterations to that bound", "milliseconds an iteration", "its seconds to its final bound"),
        rows,
        caption=f"Inference on {len(ours)} validation examples at once, {num_samples} samples; the best "
        f"optimizer on training examples is {best}. A final bound is the mean over the last tenth of the iterations. "
        "Natural gradient uses the Fisher information of the likelihood, diagonal family.",
    )  # fmt: skip


def draw_bounds(context: RunContext, races: dict[str, Race], *, num_iterations: int) -> None:
    """Fig. 3.6: bounds against iterations and time."""
    best = max(races, key=lambda name: np.asarray(races[name].bounds).mean(axis=0).max())
    reference = np.asarray(races[best].bounds)
    reference = reference[:, int(np.argmax(reference.mean(axis=0)))]
    curves = []
    for name, found in races.items():
        bounds = np.asarray(found.bounds)
        # Errors of differences: how hard an example is concerns all methods alike.
        below = reference[:, None] - bounds
        seconds = float(found.seconds) * np.arange(bounds.shape[1])
        error = below.std(axis=0, ddof=1) / len(bounds) ** 0.5
        curves.append(viz.BoundCurve(name, bounds.mean(axis=0), error, seconds))
    context.figure(
        "progress",
        viz.plot_bound_progress(curves, best_nats=float(reference.mean()), trained_steps=num_iterations),
        caption=f"Mean bound on {len(reference)} validation examples below the best mean that any method reached "
        f"({reference.mean():.2f} nats, {best}), against iterations and wall-clock time. Bands: two standard errors of the "
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

    shown = np.asarray(reconstruct(path[:, jnp.asarray(moments), :dim]))
    context.figure(
        "reconstructions",
        viz.plot_reconstructions_over_iterations(
            np.asarray(rows[: len(path)]).reshape(-1, *data.shape),
            shown.reshape(len(shown), len(moments), *data.shape),
            iterations=moments,
        ),
        caption="Means of the data under the model at the posterior's mean, by iteration; right: the binarised example.",
    )


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
    norms = np.asarray(watched.norms)
    context.figure(
        "gradient-norms",
        viz.plot_gradient_norms(
            np.asarray(watched.steps), norms, ylabel="norm of the gradient of the mean, nats per unit"
        ),
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
