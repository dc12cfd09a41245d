"""Names of the axes of what a model of sequences says."""

from collections.abc import Mapping

import numpy as np

from ...data import AbstractSequences
from .._frames import Axes
from ._axes import symbol_names
from ._description import SequencesDescription

_DIMS = {
    "mean": ("sequence", "step", "latent"),
    "deviation": ("sequence", "step", "latent"),
    "probabilities": ("sequence", "step", "state"),
    "smoothed": ("sequence", "step", "state"),
    "states": ("sequence", "step"),
    "free_energy_nats": ("sequence", "step"),
    "lengths": ("sequence",),
    "observed": ("sequence", "step", "column"),
}
_BELIEFS = dict.fromkeys(("mean", "deviation", "probabilities", "smoothed", "states"), "posterior")


def belief_axes(
    sequences: AbstractSequences, description: SequencesDescription, arrays: Mapping[str, np.ndarray]
) -> Axes:
    """Axes of beliefs about the steps of sequences."""
    coords = _along(description, arrays) | {"sequence": (("sequence",), np.array(sequences.labels))}
    if sequences.calendar is not None:
        dates = np.full((len(sequences), int(sequences.lengths.max())), np.datetime64("NaT"), "M8[us]")
        for row, length in enumerate(sequences.lengths):
            dates[row, :length] = sequences.calendar.dates(np.asarray(sequences.times(row)))
        coords["date"] = (("sequence", "step"), dates)
    # What else a model says is of the columns, such as the level of each.
    others = [name for name, array in arrays.items() if name not in _DIMS and array.ndim == 3]
    dims = _DIMS | dict.fromkeys(others, ("sequence", "step", "column"))
    groups = _BELIEFS | dict.fromkeys(others, "posterior") | {"lengths": "constant_data"}
    return Axes(("sequence", "step"), dims, coords, groups, np.asarray(sequences.lengths))


def score_axes(sequences: AbstractSequences) -> Axes:
    """Axes of one number for each sequence."""
    dims = dict.fromkeys(("free_energy_nats", "lengths"), ("sequence",))
    coords = {"sequence": (("sequence",), np.array(sequences.labels))}
    return Axes(("sequence",), dims, coords, {"lengths": "constant_data"})


def draw_axes(description: SequencesDescription, arrays: Mapping[str, np.ndarray]) -> Axes:
    """Axes of sequences drawn from a model."""
    latent = ("draw", "step", "latent")
    dims = {"samples": ("draw", "step", "column"), "states": latent[: arrays["states"].ndim]}
    groups = {"samples": "prior_predictive", "states": "prior"}
    return Axes(("draw", "step"), dims, _along(description, {"mean": arrays["states"]}), groups)


def forecast_axes(
    sequences: AbstractSequences, description: SequencesDescription, horizon: int, quantiles: tuple[float, ...] = ()
) -> Axes:
    """Axes of steps to come, which count from 1 on, or have dates a usual duration apart."""
    dims = {
        "mean": ("sequence", "step", "column"),
        "quantiles": ("sequence", "quantile", "step", "column"),
        "symbols": ("sequence", "step", "symbol"),
    }
    coords = _along(description, {}) | {
        "sequence": (("sequence",), np.array(sequences.labels)),
        "step": (("step",), np.arange(1, horizon + 1)),
        "quantile": (("quantile",), np.array(quantiles)),
    }
    if description.likelihood == "categorical":
        coords["symbol"] = (("symbol",), np.array(symbol_names(description)))
    if sequences.calendar is not None:
        ends = [np.asarray(sequences.times(row))[-1] for row in range(len(sequences))]
        times = np.array(ends)[:, None] + description.time_unit * np.arange(1, horizon + 1)
        coords["date"] = (("sequence", "step"), sequences.calendar.dates(times).astype("M8[us]"))
    return Axes(("sequence", "step"), dims, coords, dict.fromkeys(dims, "predictions"))


def observed_steps(sequences: AbstractSequences) -> dict[str, np.ndarray]:
    """Sequences as one array, NaN where something is missing and beyond the ends."""
    longest = int(sequences.lengths.max())
    found = np.full((len(sequences), longest, *sequences.shape), np.nan)
    for row, length in enumerate(sequences.lengths):
        part = sequences.read(row)
        seen = np.ones(1, bool) if part.observed is None else part.observed
        found[row, :length] = np.where(seen, part.values, np.nan)
    return {"observed": found}


def _along(
    description: SequencesDescription, arrays: Mapping[str, np.ndarray]
) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Names of columns, latents and states."""
    entries = int(np.prod(description.shape))
    names = description.columns or tuple(f"entry {entry}" for entry in range(entries))
    found = {"column": (("column",), np.array(names))}
    for axis, array in (("latent", arrays.get("mean")), ("state", arrays.get("probabilities"))):
        if array is not None and array.ndim > 2:
            count = int(np.prod(array.shape[2:]))
            found[axis] = ((axis,), np.array([f"{axis} {number}" for number in range(count)]))
    return found
