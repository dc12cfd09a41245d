"""Claims, tables and figures of the surfaces (Figs. 3.1 and 3.5)."""

from collections.abc import Sequence

import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ... import viz
from ...core import AbstractModel
from ...metrics import bootstrap
from ...runs import RunContext
from ...typing import Array, Float
from ..kit import mean_and_error, printed
from ._optimum import Grid, bound_on_grid
from ._surface import PointBounds


def report_gaps(
    context: RunContext,
    found: dict[str, PointBounds],
    *,
    num_iterations: int,
    ascent_rates: Sequence[float],
    ascent_steps: int,
) -> None:
    """Measure the claims and tabulate gaps."""
    direct, iterative = found["direct"], found["iterative"]
    direct_gap = np.asarray(direct.optimum_nats - direct.path_nats[:, -1])
    path_nats = np.asarray(iterative.path_nats)
    steps = num_iterations
    gap = np.asarray(iterative.optimum_nats) - path_nats[:, steps]
    context.measure("surface/iterative-gap", *mean_and_error(gap))
    context.measure(
        "surface/iterative-gap-median",
        float(np.median(gap)),
        float(bootstrap(jnp.median, jnp.asarray(gap), key=jr.key(0)).stderr),
    )
    context.measure("surface/direct-gap-larger", *mean_and_error(direct_gap - gap))
    context.measure("surface/remains", *mean_and_error(path_nats[:, steps] - path_nats[:, 2 * steps]))
    local = np.asarray(iterative.local_nats) - path_nats[:, steps]
    rows = [
        (
            "direct",
            "its own",
            *_described(direct_gap),
            printed(mean_and_error(direct.local_nats - direct.path_nats[:, -1])),
        )
    ]
    for moment in sorted({1, 2, 4, 8, steps, 2 * steps}):
        gaps = np.asarray(iterative.optimum_nats) - path_nats[:, moment]
        to_local = printed(mean_and_error(local)) if moment == steps else "not measured"
        rows.append((f"iterative, {moment}", "its own", *_described(gaps), to_local))
    best, of_best = -np.inf, None
    for name, bounds in found.items():
        for index, rate in enumerate(ascent_rates):
            ends = np.asarray(bounds.ascent_nats[:, index, -1])
            gaps = np.asarray(bounds.optimum_nats) - ends
            rows.append((f"ascent, rate {rate:g}", f"of {name}", *_described(gaps), "not measured"))
            if name == "direct" and np.mean(ends) > best:
                best, of_best = np.mean(ends), ends
    assert of_best is not None
    context.measure("surface/ascent-above-direct", *mean_and_error(of_best - np.asarray(direct.path_nats[:, -1])))
    context.table(
        "gaps",
        ("inference", "model", "mean gap (nats)", "median gap (nats)", "share within 0.05 nats",
         "mean gap to the nearest maximum (nats)"),
        rows,
        caption=f"Bound at the optimum (grid and Newton's method) minus bound of the estimate, {len(gap)} "
        f"validation examples, point estimates; gradient ascent after {ascent_steps} steps. Where a surface has several "
        "maxima, a method may end at a lower one: the last column leaves that out, and counts from the maximum to which "
        "Newton's method climbs from the estimate.",
    )  # fmt: skip


def draw_surfaces(
    context: RunContext,
    models: dict[str, AbstractModel],
    shown: Float[Array, "n size"],
    found: dict[str, PointBounds],
    *,
    num_iterations: int,
    ascent_rates: Sequence[float],
    ascent_steps: int,
    grid_cells: int,
) -> None:
    """Figs. 3.1 and 3.5 for the first few validation examples."""
    for name, model in models.items():
        bounds = found[name]
        # Training decides on which scale the latents live.
        places = np.abs(np.concatenate([np.asarray(bounds.optimum), np.asarray(bounds.path[:, -1])]))
        grid = Grid(1.5 * float(np.quantile(places, 0.99)), grid_cells)
        surface = np.asarray(bound_on_grid(model, shown, grid)).reshape(len(shown), grid.cells, grid.cells)
        kept = [
            index
            for index in range(len(ascent_rates))
            if float(jnp.mean(bounds.ascent_nats[:, index, -1])) > float(jnp.mean(bounds.ascent_nats[:, index, 0]))
        ]
        # Every place at first, then one in twenty.
        marks = np.unique(np.append(np.arange(20), np.arange(20, ascent_steps + 1, 20)))
        for example in range(len(shown)):
            ascents = [
                viz.PathOnSurface(
                    f"gradient ascent, rate {ascent_rates[index]:g}",
                    np.asarray(bounds.ascent[example, index, marks]),
                )
                for index in kept
            ]
            path = np.asarray(bounds.path[example])
            own = viz.PathOnSurface(
                "direct" if name == "direct" else f"iterative, {num_iterations} iterations",
                path[: 2 if name == "direct" else num_iterations + 1],
            )
            figure = viz.plot_energy_surface(
                grid.side,
                grid.side,
                -surface[example],
                ascents if name == "direct" else [*ascents, own],
                [own] if name == "direct" else [],
                labels=("first latent", "second latent"),
                optimum="highest bound of the grid",
            )
            what = "the direct estimate" if name == "direct" else "the path of iterative inference"
            context.figure(
                f"surface-{name}-{example}",
                figure,
                caption=f"Bound over two latents for one validation example, gradient ascent ({ascent_steps} steps; rates at "
                f"which it diverges are left out), and {what}.",
            )


def report_gaussian_gaps(context: RunContext, gaps: dict[str, Float[Array, " n"]]) -> None:
    """Tabulate gaps of Gaussian posteriors."""
    context.table(
        "gaussian",
        ("engine", "mean gap (nats)", "share within 0.05 nats"),
        [(name, printed(mean_and_error(gap)), float(np.mean(np.asarray(gap) <= 0.05))) for name, gap in gaps.items()],
        caption=f"The same with a diagonal Gaussian posterior: gaps to the best of long optimisations in the same family on "
        f"{len(gaps['direct'])} validation examples, by 512 samples that are the same for both. Each engine on its own model.",
    )


def _described(gaps: np.ndarray) -> tuple[str, float, float]:
    return printed(mean_and_error(gaps)), float(np.median(gaps)), float(np.mean(gaps <= 0.05))
