"""Tables and pictures of bounds over two latents."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ... import viz
from ...core import AbstractModel
from ...metrics import bootstrap
from ...runs import RunContext
from ...typing import Array, Float
from ..kit import measure, printed
from ._surface import Ascent, Grid, PointBounds, bound_on_grid


def report_gaps(context: RunContext, found: dict[str, PointBounds], *, num_iterations: int, ascent: Ascent) -> None:
    """Measure the claims and tabulate gaps."""
    direct, iterative = found["direct"], found["iterative"]
    path, steps = iterative.path_nats, num_iterations
    direct_gap, gap = direct.optimum_nats - direct.path_nats[:, -1], iterative.optimum_nats - path[:, steps]
    # The best rate is that whose end is highest on the direct model.
    climbed = direct.ascent_nats[:, np.nanargmax(direct.ascent_nats[:, :, -1].mean(axis=0)), -1]
    measure(context, "surface/iterative-gap", gap)
    median = bootstrap(jnp.median, jnp.asarray(gap), key=jr.key(0))
    measure(context, "surface/iterative-gap-median", (np.median(gap), median.stderr))
    measure(context, "surface/direct-gap-larger", direct_gap - gap)
    measure(context, "surface/remains", path[:, steps] - path[:, 2 * steps])
    measure(context, "surface/ascent-above-direct", climbed - direct.path_nats[:, -1])

    def row(name: str, model: str, gaps: np.ndarray, local: np.ndarray | None = None) -> tuple:
        """`local` are gaps to the nearest maximum."""
        told = "not measured" if local is None else printed(local)
        return name, model, printed(gaps), float(np.median(gaps)), float(np.mean(gaps <= 0.05)), told

    rows = [row("direct", "its own", direct_gap, direct.local_nats - direct.path_nats[:, -1])]
    for moment in sorted({1, 2, 4, 8, steps, 2 * steps}):
        local = iterative.local_nats - path[:, steps] if moment == steps else None
        rows.append(row(f"iterative, {moment}", "its own", iterative.optimum_nats - path[:, moment], local))
    for name, bounds in found.items():
        for index, rate in enumerate(ascent.rates):
            gaps = bounds.optimum_nats - bounds.ascent_nats[:, index, -1]
            rows.append(row(f"ascent, rate {rate:g}", f"of {name}", gaps))
    context.table(
        "gaps",
        ("inference", "model", "mean gap (nats)", "median gap (nats)", "share within 0.05 nats",
         "mean gap to the nearest maximum (nats)"),
        rows,
        caption=f"Bound at the optimum (grid and Newton's method) minus bound of the estimate, {len(gap)} "
        f"validation examples, point estimates; gradient ascent after {ascent.num_steps} steps. Where a surface has several "
        "maxima, a method may end at a lower one: the last column leaves that out, and counts from the maximum to which "
        "Newton's method climbs from the estimate.",
    )  # fmt: skip


def draw_surfaces(
    context: RunContext, models: dict[str, AbstractModel], shown: Float[Array, "n size"], found: dict[str, PointBounds], *,
    num_iterations: int, ascent: Ascent, grid_cells: int,
) -> None:  # fmt: skip
    """Figs. 3.1 and 3.5 for the first few validation examples."""
    # Every place at first, then one in twenty.
    marks = np.unique(np.append(np.arange(20), np.arange(20, ascent.num_steps + 1, 20)))
    for name, model in models.items():
        bounds, direct = found[name], name == "direct"
        own = "direct" if direct else f"iterative, {num_iterations} iterations"
        what = "the direct estimate" if direct else "the path of iterative inference"
        # Training decides on which scale the latents live.
        places = np.abs(np.concatenate([bounds.optimum, bounds.path[:, -1]]))
        grid = Grid(1.5 * float(np.quantile(places, 0.99)), grid_cells)
        surface = np.asarray(bound_on_grid(model, shown, grid)).reshape(len(shown), grid.cells, grid.cells)
        kept = np.flatnonzero(bounds.ascent_nats[:, :, -1].mean(axis=0) > bounds.ascent_nats[:, :, 0].mean(axis=0))
        for example in range(len(shown)):
            ascents = [
                viz.PathOnSurface(f"gradient ascent, rate {ascent.rates[k]:g}", bounds.ascent[example, k, marks])
                for k in kept
            ]
            path = [viz.PathOnSurface(own, bounds.path[example, : 2 if direct else num_iterations + 1])]
            figure = viz.plot_energy_surface(
                grid.side, grid.side, -surface[example], *((ascents, path) if direct else ([*ascents, *path], [])),
                labels=("first latent", "second latent"), optimum="highest bound of the grid",
            )  # fmt: skip
            context.figure(
                f"surface-{name}-{example}", figure,
                caption=f"Bound over two latents for one validation example, gradient ascent ({ascent.num_steps} steps; rates "
                f"at which it diverges are left out), and {what}.",
            )  # fmt: skip


def report_gaussian_gaps(context: RunContext, gaps: dict[str, Float[Array, " n"]]) -> None:
    """Tabulate gaps of Gaussian posteriors."""
    context.table(
        "gaussian",
        ("engine", "mean gap (nats)", "share within 0.05 nats"),
        [(name, printed(gap), float(np.mean(np.asarray(gap) <= 0.05))) for name, gap in gaps.items()],
        caption=f"The same with a diagonal Gaussian posterior: gaps to the best of long optimisations in the same family on "
        f"{len(gaps['direct'])} validation examples, by 512 samples that are the same for both. Each engine on its own model.",
    )
