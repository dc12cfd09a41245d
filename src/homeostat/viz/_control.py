"""Pictures of an agent at work, from plain arrays: terms of its energy, success over time, and episodes."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..typing import Float, Int
from ._style import COLOURS, INK, panels


def plot_terms(
    terms: Mapping[str, Float[np.ndarray, " steps"]], *, ending: int | None = None, title: str = ""
) -> Figure:
    """One panel for each term, in nats, over the steps of an episode.

    Args:
        terms: name of a term and its value at every decision.
        ending: decision at which the goal was reached; marked.
    """
    figure, axes = panels(2.7 * len(terms), 2.7, 1, len(terms))
    for axis, (name, values), colour in zip(axes, terms.items(), np.resize(COLOURS, len(terms)), strict=True):
        axis.plot(values, color=colour, lw=1.8)
        if ending is not None:
            axis.axvline(ending, color=INK, lw=0.8, ls=":")
        middle = float(np.mean(values))
        if np.ptp(values) < 1e-3 * max(1.0, abs(middle)):
            # A constant would otherwise be drawn as the noise of its last digits.
            axis.set_ylim(middle - max(1.0, 0.05 * abs(middle)), middle + max(1.0, 0.05 * abs(middle)))
        axis.set(title=name, xlabel="decision", ylabel="nats")
    if title:
        figure.suptitle(title)
    return figure


def plot_success(
    times: Mapping[str, Float[np.ndarray, " episodes"]],
    *,
    horizon: float,
    xlabel: str,
    start: float = 0.0,
    limit: float | None = None,
) -> Figure:
    """Share of episodes that reached the goal by a time, one curve with its 95 % band for each agent.

    Args:
        times: name of an agent and when each of its episodes reached the goal, infinite if never.
        limit: a deadline; marked.
    """
    figure, (axis,) = panels(5.6, 3.4)
    grid = np.linspace(start, horizon, 400)
    for (name, values), colour in zip(times.items(), np.resize(COLOURS, len(times)), strict=True):
        values = np.asarray(values)
        share = (values[None, :] <= grid[:, None] + 1e-9).mean(axis=1)
        low, high = wilson_interval(share, len(values))
        axis.plot(grid, share, color=colour, lw=1.8, label=name)
        axis.fill_between(grid, low, high, color=colour, alpha=0.15, lw=0)
    if limit is not None:
        axis.axvline(limit, color=INK, lw=0.8, ls=":")
    axis.set(xlabel=xlabel, ylabel="share of episodes at the goal", ylim=(-0.02, 1.02), xlim=(start, horizon))
    axis.legend(frameon=False, loc="best")
    return figure


def wilson_interval(
    share: Float[np.ndarray, "*n"] | float, count: int
) -> tuple[Float[np.ndarray, "*n"] | float, Float[np.ndarray, "*n"] | float]:
    """95 % interval of a share of `count` trials (Wilson's score interval)."""
    z = 1.959964
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return centre - half, centre + half


def animate_control(
    observations: Float[np.ndarray, "time h w"],
    expected: Float[np.ndarray, "time h w"],
    deviation: Float[np.ndarray, "time h w"],
    goal: Float[np.ndarray, "h w"],
    paths: Float[np.ndarray, "time horizon_plus_one 2"],
    distance: Int[np.ndarray, " time"],
) -> np.ndarray:
    """An episode of control from pixels, as frames [time, height, width, 3] of bytes.

    Args:
        expected: the image it expects under its belief.
        deviation: standard deviation of that image under the belief.
        paths: centre of the sprite (x, y) in pixels under the chosen plan, from the believed one on.
        distance: steps to the goal that are left.
    """
    frames = []
    # An edge of a belief that is nearly certain would be invisible on a scale from 0 to 1.
    top = max(float(deviation.max()), 1e-6)
    extent = (0, goal.shape[1], goal.shape[0], 0)
    for t in range(len(observations)):
        figure, axes = panels(8.4, 2.5, 1, 4, boxed=True)
        shown = (observations[t], expected[t], deviation[t], goal)
        titles = ("observation", "belief: expected image", f"belief: deviation (max {top:.2f})", "goal, and the plan")
        for axis, image, title, limit in zip(axes, shown, titles, (1.0, 1.0, top, 1.0), strict=True):
            axis.imshow(image, cmap="gray" if limit == 1.0 else "magma", vmin=0.0, vmax=limit, extent=extent)
            axis.set_title(title, fontsize=9)
            axis.set(xticks=[], yticks=[])
        axes[3].contour(
            np.arange(goal.shape[1]) + 0.5, np.arange(goal.shape[0]) + 0.5, expected[t], [0.5], colors=[COLOURS[0]]
        )
        axes[3].plot(paths[t, :, 0], paths[t, :, 1], "o-", color=COLOURS[1], ms=3, lw=1.2)
        left = int(distance[t])
        figure.suptitle(f"step {t}: " + ("at the goal" if left == 0 else f"{left} steps away"), fontsize=10)
        frames.append(_pixels(figure))
    return np.stack(frames)


def plot_belief_maps(
    maps: Float[np.ndarray, "time n n"],
    moments: Sequence[int],
    *,
    extent: tuple[float, float],
    windows: Float[np.ndarray, "time 2"],
    width: float,
    sprites: Float[np.ndarray, "time 2"],
    goal: Float[np.ndarray, "2"],
    size: float = 64.0,
) -> Figure:
    """Where the agent believes the sprite to be, at some moments of an episode.

    Args:
        maps: probability of each position, rows are y.
        extent: positions of the first and the last row and column, pixels.
        windows: upper left corner (x, y) of what is seen, pixels.
        width: side of what is seen, pixels.
        size: side of the canvas, pixels.
    """
    figure, axes = panels(2.1 * len(moments), 2.4, 1, len(moments), boxed=True)
    for axis, t in zip(axes, moments, strict=True):
        _belief_panel(axis, maps[t], extent, windows[t], width, sprites[t], goal, size)
        axis.set_title(f"decision {t}", fontsize=9)
    return figure


def animate_gaze(
    maps: Float[np.ndarray, "time n n"],
    scenes: Float[np.ndarray, "time h w"],
    views: Float[np.ndarray, "time v v"],
    *,
    extent: tuple[float, float],
    windows: Float[np.ndarray, "time 2"],
    width: float,
    goal: Float[np.ndarray, "2"],
    epistemic: Float[np.ndarray, " time"],
    size: float = 64.0,
) -> np.ndarray:
    """An episode with a moving gaze, as frames [time, height, width, 3] of bytes: the world, the view, the belief.

    Args:
        maps: probability of each position, rows are y.
        scenes: the world's picture, which the agent does not see.
        views: what it sees of it.
        extent: positions of the first and the last row and column, pixels.
        windows: upper left corner (x, y) of the view, pixels.
        width: side of the view, pixels.
        epistemic: epistemic value of the chosen action, in nats.
        size: side of the canvas, pixels.
    """
    frames = []
    for t in range(len(maps)):
        figure, (world, view, belief) = panels(7.2, 2.7, 1, 3, boxed=True)
        world.imshow(scenes[t], cmap="gray", vmin=0.0, vmax=1.0, extent=(0, size, size, 0))
        world.add_patch(Rectangle(tuple(windows[t]), width, width, fill=False, ec=COLOURS[5], lw=1.5))
        world.plot(*goal, "+", color=COLOURS[1], ms=9, mew=2)
        view.imshow(views[t], cmap="gray", vmin=-0.2, vmax=1.2)
        _belief_panel(belief, maps[t], extent, windows[t], width, None, goal, size)
        for axis, title in ((world, "world (hidden)"), (view, "what is seen"), (belief, "belief about the position")):
            axis.set_title(title, fontsize=9)
            axis.set(xticks=[], yticks=[])
        figure.suptitle(f"decision {t}: next look worth {epistemic[t]:.2f} nats", fontsize=10)
        frames.append(_pixels(figure))
    return np.stack(frames)


def _belief_panel(axis, probabilities, extent, window, width, sprite, goal, size) -> None:
    low, high = extent
    half = 0.5 * (high - low) / max(len(probabilities) - 1, 1)
    box = (low - half, high + half, high + half, low - half)
    # The square root shows a wide faint belief and a sharp one on the same scale.
    axis.imshow(np.sqrt(probabilities), cmap="viridis", extent=box, vmin=0.0)
    axis.add_patch(Rectangle(tuple(window), width, width, fill=False, ec=COLOURS[5], lw=1.5))
    axis.plot(*goal, "+", color=COLOURS[1], ms=9, mew=2)
    if sprite is not None:
        axis.plot(*sprite, "o", mfc="none", mec="white", ms=8)
    axis.set(xlim=(0, size), ylim=(size, 0), xticks=[], yticks=[])
    axis.set_facecolor(matplotlib.colormaps["viridis"](0.0))


def _pixels(figure: Figure) -> np.ndarray:
    figure.set_dpi(72)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
