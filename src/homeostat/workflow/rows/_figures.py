"""Figures of a fit to rows: reconstructions, loadings, samples, and the use of the latents."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...data import AbstractRows
from ...distributions import DiagonalGaussian, Ladder
from ...metrics import encode, representation
from ...models.static import AbstractLinearFactors, SparseCoding
from ...runs import RunContext
from ...typing import Key
from ...viz import literal, plot_active_units, plot_samples, plot_sheets
from .._task import Selected
from ._describe import RowsDescription
from ._inference import VALIDATION_SAMPLES, PosteriorSummary, draw_rows, expected_rows, inferred
from ._requirements import count_missing
from ._system import InferenceSetup, RowsSystem

_SHOWN_ROWS = 8
_SHOWN_SAMPLES = 50
_SHOWN_ATOMS = 40
_NAME = 32
"""Characters of a column's name under a picture."""


def show_model(system: RowsSystem, selected: Selected, rows: AbstractRows, context: RunContext, *, key: Key) -> None:
    """Draw what was learned, on rows that no weight was learned from where there are any, and put it into the report."""
    rows_key, sample_key, units_key = jax.random.split(key, 3)
    description, setup = system.description, system.setup(selected)
    parts = [found for _, found in inferred(setup, description, rows, VALIDATION_SAMPLES, key=rows_key)]
    found = jax.tree.map(lambda *leaves: jnp.asarray(np.concatenate(leaves)), *parts)
    _show_reconstructions(description, setup, found, rows, context)
    if isinstance(setup.model, AbstractLinearFactors | SparseCoding):
        _show_weights(description, setup.model, context)
    _show_samples(description, setup.model, context, sample_key)
    _show_units(system.dims, setup, found, context, units_key)


def _relative(description: RowsDescription, rows: np.ndarray) -> np.ndarray:
    """What varies of flat rows, real numbers in deviations from the mean of the training rows, so that columns share colours."""
    flat, scaling = np.asarray(rows, np.float64).reshape(len(rows), -1), description.scaling
    return scaling.keep(flat if description.discrete else scaling.relative(flat))


def _unit(description: RowsDescription) -> str:
    """The unit of `_relative`, in words."""
    if description.likelihood == "gaussian":
        scales = description.scaling.keep(description.scaling.scale)
        if description.scaling.size > 1 and np.ptp(scales) == 0.0:
            return f"units of {scales[0] * description.scaling.divisor:.4g}\n(one for all columns)"
        return "standard deviations\nof the column"
    words = {"bernoulli": "fraction or probability", "categorical": "category", "discretized-gaussian": "grey value"}
    return words.get(description.likelihood, "count")


def _entries(description: RowsDescription) -> dict[str, Any]:
    """Names of what varies in a row, and of their axis."""
    columns = [literal(name, _NAME) for name in description.columns]
    names = np.asarray(columns or [str(entry) for entry in range(description.scaling.varies.size)])
    return {
        "names": description.scaling.keep(names).tolist(),
        "label": "column" if description.columns else "entry of the row",
    }


def _show_reconstructions(
    description: RowsDescription,
    setup: InferenceSetup,
    found: PosteriorSummary,
    rows: AbstractRows,
    context: RunContext,
) -> None:
    shown = rows.read(np.arange(min(_SHOWN_ROWS, len(rows))))
    means = expected_rows(setup.model, found.mean[: len(shown)])
    if description.likelihood == "multinomial":
        # The model's mean is that of a document of typical length.
        means = means * (shown.reshape(len(shown), -1).sum(axis=1) / means.sum(axis=1))[:, None]
    told = description.restore(means)
    if description.image_shape:
        both = np.concatenate([shown, told])
        figure = plot_samples(description.pictures(both), columns=len(shown))
        caption = "Above, rows of data; below, the model's mean at the mean of their posteriors."
    else:
        data, reconstruction = _relative(description, shown), _relative(description, told)
        sheets = {"data": data, "reconstruction": reconstruction}
        caption = "Rows of data, and the model's mean at the mean of their posteriors"
        if description.likelihood == "categorical":
            # Numbers of categories have no difference.
            caption += "."
        else:
            sheets["residual"] = data - reconstruction
            caption += "; the residual is the data less the reconstruction."
        figure = plot_sheets(sheets, unit=_unit(description), **_entries(description))
    if count_missing(rows):
        caption = f"{caption.removesuffix('.')}. What is missing is pink."
    context.figure("reconstructions", figure, caption=caption)


def _show_weights(description: RowsDescription, model: Any, context: RunContext) -> None:
    linear = isinstance(model, AbstractLinearFactors)
    weights = np.asarray(model.loadings if linear else model.dictionary).T
    order = np.argsort(-np.sum(weights**2, axis=1), kind="stable")[:_SHOWN_ATOMS]
    what = "Factor loadings, the strongest first" if linear else "Atoms of the dictionary, the longest first"
    one = "factor" if linear else "atom"
    if description.image_shape:
        images = description.scaling.spread(weights[order]).reshape(len(order), *description.image_shape)
        bound = np.abs(images).reshape(len(order), -1).max(axis=1).reshape(-1, *[1] * (images.ndim - 1))
        figure = plot_samples(0.5 + 0.5 * images / np.where(bound > 0, bound, 1.0))
    else:
        if not description.scaling.standardized:
            weights = weights / description.scaling.keep(description.scaling.scale)
        figure = plot_sheets(
            {what: weights[order]},
            unit=f"{'loading' if linear else 'entry of the atom'},\n{_unit(description)}",
            rows=[str(place + 1) for place in range(len(order))],
            row_label=one,
            centred=True,
            **_entries(description),
        )
        latents = ", ".join(map(str, order.tolist()))
        what += f"; {one}s 1 to {len(order)} are latent variables {latents} (from 0)"
    context.figure("weights", figure, caption=f"{what}.")


def _show_samples(description: RowsDescription, model: Any, context: RunContext, key: Key) -> None:
    _, means, draws = draw_rows(model, _SHOWN_SAMPLES, key=key)
    if description.image_shape:
        figure = plot_samples(description.pictures(description.restore(means)))
        context.figure("samples", figure, caption="Means of images under latents drawn from the prior.")
        return
    drawn = _relative(description, description.restore(draws))
    figure = plot_sheets(
        {"rows drawn from the model": drawn}, unit=_unit(description), row_label="draw", **_entries(description)
    )
    context.figure("samples", figure, caption="Rows drawn from the model.")


def _show_units(
    dims: tuple[int, ...], setup: InferenceSetup, found: PosteriorSummary, context: RunContext, key: Key
) -> None:
    """Active units, where the rate falls apart into those of single units."""
    gaussian = isinstance(setup.family, DiagonalGaussian | Ladder)
    if not gaussian or isinstance(setup.model, SparseCoding) or len(found.failed) < 2:
        return
    codes = encode(setup.model, setup.family, found.params, key=key)
    use = representation(codes, dims=dims)
    cuts = np.cumsum(dims)[:-1]
    figure = plot_active_units(np.split(np.asarray(use.variance), cuts), np.split(np.asarray(use.rate_nats), cuts))
    context.figure("units", figure, caption="How far each latent depends on the data, and the nats it costs.")
    levels = use.levels
    columns = (levels.num_units, levels.num_active, levels.rate_nats, levels.active_rate_nats)
    context.table(
        "units",
        ("level", "units", "active", "rate, nats", "of it in active units"),
        [(level, *row) for level, row in enumerate(zip(*(array.tolist() for array in columns), strict=True), 1)],
        caption="Use of the latents on validation rows, the level nearest the data first.",
    )
