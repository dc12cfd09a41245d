"""What a fit looks like: learning curves, reconstructions or loadings, samples, and the use of the latents."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from ..data import AbstractRows
from ..distributions import DiagonalGaussian, Ladder
from ..metrics import encode, representation
from ..models.static import AbstractLinearFactors, SparseCoding
from ..train import read_json_lines
from ..viz import plot_active_units, plot_samples
from ..workflow import InferenceSetup, Kept, Observations, System
from ._context import RunContext
from ._fitted import LOOK_SAMPLES, Explained, block_size, blocks, device_rows, explain

_SHOWN_ROWS = 8
_SHOWN_SAMPLES = 50
_SHOWN_ATOMS = 40
_MOST_CELLS = 64
_BEYOND = 1e12
"""Nats of a training that explodes; no axis should hold them."""


def show_training(context: RunContext) -> None:
    """Draw the learning curves, if there are enough numbers."""
    curves = _curves(context)
    if curves is not None:
        context.figure("training", curves, caption="Free energy and its two parts against the number of updates.")


def show_model(
    system: System, perception: InferenceSetup, kept: Kept, rows: AbstractRows, context: RunContext, *, key: Any
) -> None:
    """Draw what was learned and put it into the report.

    Args:
        system: what was built.
        perception: how the fitted model infers.
        kept: what training left.
        rows: that no weight was learned from, where there are any.
        context: of the run.
        key: for draws.
    """
    rows_key, sample_key, units_key = jax.random.split(key, 3)
    found = _explain_all(system, perception, rows, rows_key)
    _show_reconstructions(system, perception, found, rows, context)
    model = kept.learned.model
    if isinstance(model, AbstractLinearFactors | SparseCoding):
        _show_weights(system.observations, model, context)
    _show_samples(system, kept, context, sample_key)
    _show_units(system, perception, found, context, units_key)


def draw_samples(model: Any, num: int, *, key: jax.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latents from the prior, the mean of each one's observation, and a draw of it."""

    @jax.jit
    def draw(keys: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        def one(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            latent_key, data_key = jax.random.split(key)
            z = model.initial().sample(latent_key)
            emission = model.emission(z)
            return z, expected(emission), emission.sample(data_key).astype(z.dtype)

        return jax.vmap(one)(keys)

    # In blocks, so that many samples need no more memory than few.
    size = min(num, 256)
    parts = []
    for start in range(0, num, size):
        keys = jax.vmap(lambda n: jax.random.fold_in(key, n))(start + jnp.arange(size))
        parts.append([np.asarray(array)[: num - start] for array in draw(keys)])
    latents, means, draws = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return latents, means, draws


def expected(emission: Any) -> jax.Array:
    """The mean of an observation; of categories, the most probable one."""
    base = getattr(emission, "base_dist", emission)
    if type(base).__name__ == "CategoricalLogits":
        return jnp.argmax(base.logits, axis=-1).astype(base.logits.dtype)
    return jnp.broadcast_to(emission.mean, emission.event_shape)


def _relative(observations: Observations, rows: np.ndarray) -> np.ndarray:
    """Flat rows, real numbers in standard deviations from the mean of the training rows, so that columns can share colours."""
    flat = np.asarray(rows, np.float64).reshape(len(rows), -1)
    if observations.likelihood != "gaussian":
        return flat
    return (flat / observations.divisor - observations.loc[None, :]) / observations.scale[None, :]


def plot_sheet(values: np.ndarray, *, title: str, ylabel: str) -> Figure:
    """Rows of numbers as colours."""
    values = np.asarray(values)[:, :_MOST_CELLS]
    figure = Figure(figsize=(7.5, 1.2 + 0.09 * len(values)), layout="constrained")
    axis = figure.subplots()
    bound = float(np.abs(values).max()) or 1.0
    signed = bool(values.min() < 0)
    image = axis.imshow(
        values, aspect="auto", cmap="RdBu_r" if signed else "viridis", vmin=-bound if signed else 0.0, vmax=bound
    )
    axis.set(xlabel="entry of the row", ylabel=ylabel, title=title)
    axis.title.set_fontsize(10)
    figure.colorbar(image)
    return figure


def _curves(context: RunContext) -> Figure | None:
    names = {
        "free_energy_nats": "free energy (training)",
        "validation_free_energy_nats": "free energy (validation)",
        "distortion_nats": "distortion",
        "rate_nats": "rate",
    }
    series: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for line in read_json_lines(context.folder / "metrics.jsonl"):
        for name, points in series.items():
            if line.get(name) is not None and abs(line[name]) < _BEYOND:
                points.append((line["step"], line[name]))
    if max(len(points) for points in series.values()) < 2:
        return None
    figure = Figure(figsize=(9.5, 2.9), layout="constrained")
    panels = dict(zip(("an upper bound on $-\\log p(x)$", "distortion", "rate"), figure.subplots(1, 3), strict=True))
    bound, distortion, rate = panels.values()
    places = {
        "free_energy_nats": bound,
        "validation_free_energy_nats": bound,
        "distortion_nats": distortion,
        "rate_nats": rate,
    }
    for name, points in series.items():
        if points:
            style = ".-" if name.startswith("validation") else "-"
            places[name].plot(*np.asarray(points).T, style, lw=1.2, ms=4, label=names[name])
    for title, axis in panels.items():
        axis.set_title(title, fontsize=10)
        axis.set(xlabel="updates", ylabel="nats")
        axis.spines[["top", "right"]].set_visible(False)
        values = np.concatenate([np.zeros(0), *(np.asarray(line.get_ydata(), float) for line in axis.lines)])
        if len(values) > 1:
            # The first updates are far above all others: the axis shows where learning happens.
            low, high = float(values.min()), float(np.quantile(values, 0.95))
            axis.set_ylim(low - 0.05 * (high - low or 1.0), high + 0.1 * (high - low or 1.0))
    if bound.lines:
        bound.legend(frameon=False, fontsize=8)
    return figure


def _explain_all(system: System, perception: InferenceSetup, rows: AbstractRows, key: Any) -> Explained:
    """What inference says of all rows, by the program that looked at them in training."""
    observations, size = system.observations, block_size(len(rows))
    parts = []
    for start, count, prepared in blocks(rows, observations, size):
        numbers = start + jnp.arange(size)
        found = explain(perception, device_rows(prepared), numbers, key, observations.binarized, LOOK_SAMPLES)
        parts.append(jax.tree.map(lambda leaf, n=count: leaf[:n], found))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def _show_reconstructions(
    system: System, perception: InferenceSetup, found: Explained, rows: AbstractRows, context: RunContext
) -> None:
    observations = system.observations
    shown = rows.read(np.arange(min(_SHOWN_ROWS, len(rows))))
    means = jax.jit(jax.vmap(lambda z: expected(perception.model.emission(z))))(found.mean[: len(shown)])
    means = np.asarray(means)
    if observations.likelihood == "multinomial":
        # The model's mean is that of a document of typical length.
        means = means * (shown.reshape(len(shown), -1).sum(axis=1) / means.sum(axis=1))[:, None]
    restored = observations.restore(means)
    if observations.image_shape:
        pictures = observations.pictures(np.concatenate([shown, restored]))
        figure = plot_samples(pictures, columns=len(shown))
        caption = "Above, rows of data; below, the model's mean at the mean of their posteriors."
        context.figure("reconstructions", figure, caption=caption)
        return
    flat = _relative(observations, np.concatenate([shown, restored]))
    figure = plot_sheet(
        flat, title=f"{len(shown)} rows above, what the model says of them below", ylabel="row, reconstruction"
    )
    context.figure(
        "reconstructions", figure, caption="Validation rows, and the model's mean at the mean of the posterior."
    )


def _show_weights(observations: Observations, model: Any, context: RunContext) -> None:
    linear = isinstance(model, AbstractLinearFactors)
    weights = np.asarray(model.loadings if linear else model.dictionary).T
    order = np.argsort(-np.sum(weights**2, axis=1), kind="stable")[:_SHOWN_ATOMS]
    what = "Factor loadings, the strongest first." if linear else "Atoms of the dictionary, the longest first."
    if observations.image_shape:
        images = weights[order].reshape(len(order), *observations.image_shape)
        bound = np.abs(images).reshape(len(order), -1).max(axis=1).reshape(-1, *[1] * (images.ndim - 1))
        figure = plot_samples(0.5 + 0.5 * images / np.where(bound > 0, bound, 1.0))
    else:
        figure = plot_sheet(weights[order], title=what, ylabel="factor" if linear else "atom")
    context.figure("weights", figure, caption=what)


def _show_samples(system: System, kept: Kept, context: RunContext, key: Any) -> None:
    observations = system.observations
    _, means, draws = draw_samples(kept.learned.model, _SHOWN_SAMPLES, key=key)
    if observations.image_shape:
        figure = plot_samples(observations.pictures(observations.restore(means)))
        context.figure("samples", figure, caption="Means of images under latents drawn from the prior.")
        return
    figure = plot_sheet(
        _relative(observations, observations.restore(draws)), title="rows drawn from the model", ylabel="draw"
    )
    context.figure("samples", figure, caption="Rows drawn from the model.")


def _show_units(system: System, perception: InferenceSetup, found: Explained, context: RunContext, key: Any) -> None:
    """Active units, where the rate falls apart into those of single units."""
    gaussian = isinstance(perception.family, DiagonalGaussian | Ladder)
    if not gaussian or isinstance(perception.model, SparseCoding) or len(found.failed) < 2:
        return
    codes = encode(perception.model, perception.family, found.params, key=key)
    use = representation(codes, dims=system.dims)
    cuts = np.cumsum(system.dims)[:-1]
    figure = plot_active_units(np.split(np.asarray(use.variance), cuts), np.split(np.asarray(use.rate_nats), cuts))
    context.figure("units", figure, caption="How far each latent depends on the data, and the nats it costs.")
    levels = use.levels
    context.table(
        "units",
        ("level", "units", "active", "rate, nats", "of it in active units"),
        [
            (level + 1, int(n), int(active), float(rate), float(used))
            for level, (n, active, rate, used) in enumerate(
                zip(levels.num_units, levels.num_active, levels.rate_nats, levels.active_rate_nats, strict=True)
            )
        ],
        caption="Use of the latents on validation rows, the level nearest the data first.",
    )
