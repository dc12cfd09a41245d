"""Plots of templates, dictionaries and scenes, from plain arrays."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ..typing import Array, Float
from ._style import panels, show


def plot_learned_template(
    images: Sequence[Float[Array, "n n"]],
    start: Float[Array, "a a"],
    learned: Float[Array, "a a"],
    aligned: Float[Array, "b b"],
    truth: Float[Array, "b b"],
) -> Figure:
    """Some training images above; below, where learning started, what it found, the same aligned, and the truth."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    top, bottom = np.ravel(figure.subfigures(2, 1, height_ratios=(1, 1.7)))
    for axes, image in zip(np.atleast_1d(top.subplots(1, len(images))), images, strict=True):
        show(axes, image)
    titles = ("start", "learned", "learned, aligned", "truth")
    for axes, picture, title in zip(bottom.subplots(1, 4), (start, learned, aligned, truth), titles, strict=True):
        show(axes, picture, title)
    return figure


def plot_sparse_templates(
    mean: Float[Array, "n n"],
    atoms: Float[Array, "atoms n n"],
    images: Float[Array, "shown size size"],
    templates: Float[Array, "shown n n"],
    explanations: Float[Array, "shown size size"],
    weights: Float[Array, "shown atoms"],
) -> Figure:
    """A dictionary, and how it explains images."""
    shown, num = images.shape[0], atoms.shape[0]
    figure = Figure(figsize=(9, 7), layout="constrained")
    top, bottom = np.ravel(figure.subfigures(2, 1, height_ratios=(1, 3.6)))
    panels = top.subplots(1, num + 1)
    show(panels[0], mean, "mean")
    limit = float(np.abs(atoms).max())
    for k, axes in enumerate(panels[1:]):
        axes.imshow(atoms[k], cmap="RdBu_r", vmin=-limit, vmax=limit)
        axes.set(xticks=[], yticks=[], title=f"atom {k}")
    rows = bottom.subplots(4, shown, squeeze=False)
    for column in range(shown):
        show(rows[0, column], images[column])
        show(rows[1, column], templates[column])
        show(rows[2, column], explanations[column])
        rows[3, column].bar(np.arange(num), weights[column], color="tab:blue")
        rows[3, column].axhline(0.0, color="0.6", linewidth=0.6)
        rows[3, column].set(ylim=(-1.1 * np.abs(weights).max(), 1.1 * np.abs(weights).max()), xticks=[])
        if column:
            rows[3, column].set_yticks([])
    for row, label in zip(rows, ("image", "template", "explained", "weights"), strict=True):
        row[0].set_ylabel(label)
    return figure


def plot_scenes(
    images: Float[Array, "scenes n n 3"],
    explanations: Float[Array, "scenes n n 3"],
    masks: Float[Array, "scenes objects n n"],
    colours: Sequence[Sequence[float]],
) -> Figure:
    """Scenes, their explanations, and the objects that they were explained by."""
    num, objects = masks.shape[:2]
    figure = Figure(figsize=(1.5 * max(num, 2), 1.5 * (2 + objects)), layout="constrained")
    rows = figure.subplots(2 + objects, num, squeeze=False)
    for column in range(num):
        show(rows[0, column], images[column])
        show(rows[1, column], explanations[column])
        for k in range(objects):
            show(rows[2 + k, column], masks[column, k][:, :, None] * np.asarray(colours[k]))
    labels = ("scene", "explained", *(f"object {k + 1}" for k in range(objects)))
    for row, label in zip(rows, labels, strict=True):
        row[0].set_ylabel(label)
    return figure


def plot_bounds(names: Sequence[str], bounds: Sequence[Float[Array, " images"]]) -> Figure:
    """Bounds of each model on the same images, one point for each image."""
    figure, (axes,) = panels(6, 0.9 + 0.55 * len(names), boxed=True)
    axes.boxplot([np.asarray(b) for b in bounds], orientation="horizontal", tick_labels=list(names), showmeans=True)
    axes.set(xlabel="nats per image (lower is better)")
    axes.invert_yaxis()
    return figure
