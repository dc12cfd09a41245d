"""Figures of a fit to sequences: predictions against updates, beliefs, autocorrelation of errors, and forecasts."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...data import GREY_LEVELS, AbstractSequences, PaddedBatch
from ...metrics import FilterOutputs
from ...runs import RunContext
from ...typing import Float, Key
from ...viz import (
    BeliefBand,
    plot_frames,
    plot_one_step,
    plot_posterior_bands,
    plot_prediction_update,
    plot_prediction_update_rolls,
    plot_prediction_update_waves,
    plot_probabilities_in_time,
    plot_quantile_fan,
    plot_whiteness,
)
from .._numbers import COUNTS
from ._axes import (
    STEPS,
    WARM_STEPS,
    entry_name,
    first_sequence,
    is_sound,
    most_varied,
    shown_steps,
    symbol_names,
    time_axis,
)
from ._description import SequencesDescription
from .models import SequencesSystem

_DRAWS = 64
_FRAME_STEPS, _FRAME_DRAWS = 40, 4
_LATENTS, _SHOWN_FRAMES = 3, 10
_CLOSE_STEPS = 30
_WAVE_STEPS = 12
_PIANO_KEYS = 88


class _Scene(NamedTuple):
    """One sequence with what was predicted of it, in the unit of the data, [time - 1, entries]; from the second step on."""

    seen: np.ndarray
    predicted: np.ndarray
    spread: np.ndarray
    updated: np.ndarray
    left: np.ndarray


def show_filtering(system: SequencesSystem, sequences: AbstractSequences, context: RunContext, *, key: Key) -> None:
    """Draw the beginning of the first sequence: predictions one step ahead, updates, beliefs, and the errors' pattern.

    The sequences are such that no number was learned from, where there are any; of those whose beginnings were, the end is drawn.
    """
    description = system.description
    framed = len(description.shape) > 1 and not is_sound(sequences)
    steps, draws = (_FRAME_STEPS, _FRAME_DRAWS) if framed else (STEPS, _DRAWS)
    start, stop = shown_steps(sequences, steps)
    warm = min(start, WARM_STEPS)
    padded = first_sequence(sequences, start - warm, stop)
    batch = jax.tree.map(jnp.asarray, description.batch(padded))
    found = system.model.outputs(system.learned, batch, draws, key=key)
    found = FilterOutputs(*(np.asarray(array)[warm:] for array in found))
    time, label = time_axis(padded, start - warm, description, sequences)
    scene, time = _scene(padded, warm, found, description), time[warm:]
    # The entries that vary most say most about what can be predicted.
    entries = most_varied(scene.seen)
    names = [entry_name(description, entry) for entry in entries.tolist()]
    what = f"in sequence {sequences.labels[0]!r}"
    probable = description.likelihood == "bernoulli"
    bands = "as probabilities" if probable else "with bands of two standard deviations"
    seen, predicted, spread = (array[:, entries] for array in (scene.seen, scene.predicted, scene.spread))
    unit = "probability" if probable else "unit of the data"
    axes: dict[str, Any] = {"names": names, "time": time[1:], "label": label, "unit": unit}
    figure = plot_one_step(seen, predicted, None if probable else spread, **axes, limits=_limits(description))
    caption = f"What was seen and what was predicted one step ahead {what}, {bands}; the entries that vary most."
    context.figure("one-step", figure, caption=caption)
    figure = _prediction_update(scene, entries, axes, description, sequences, first=start + 2)
    caption = (
        f"What was predicted one step ahead, and what the model says of the same step once it has seen it, {what}."
    )
    context.figure("prediction-update", figure, caption=caption)
    if system.model.real_state:
        shown = np.sort(np.argsort(-found.mean.var(axis=0), kind="stable")[:_LATENTS])
        belief = BeliefBand("posterior", found.mean[:, shown], found.scale[:, shown])
        latents = [f"latent {number}" for number in shown]
        figure = plot_posterior_bands([belief], names=latents, time=time, label=label, unit="state (no unit)")
        caption = (
            f"Beliefs about the state after each step {what}, with bands of two standard deviations; the latents whose means "
            f"vary most."
        )
        context.figure("beliefs", figure, caption=caption)
    errors = (scene.seen - scene.predicted) / np.maximum(scene.spread, 1e-6 * scene.spread.max())
    caption = (
        "Autocorrelation of the standardised one-step errors. Inside the dotted lines it cannot be told from that of "
        "white noise (95 %): then nothing is left that a linear predictor could use."
    )
    context.figure("whiteness", plot_whiteness(errors[:, entries], names=names), caption=caption)


def _scene(padded: PaddedBatch, first: int, found: FilterOutputs, description: SequencesDescription) -> _Scene:
    shown = slice(first + 1, None)
    seen = np.where(padded.observed[0, shown], padded.values[0, shown].astype(np.float64), np.nan)
    scaling = description.scaling

    def flat(array: np.ndarray) -> np.ndarray:
        return array.reshape(len(array), -1)

    def spread(array: np.ndarray) -> np.ndarray:
        return scaling.spread(flat(array) * scaling.unit[None, :])

    return _Scene(
        flat(seen),
        flat(description.restore(found.predicted)),
        spread(found.predicted_scale),
        flat(description.restore(found.updated)),
        spread(found.updated_scale),
    )


def _prediction_update(
    scene: _Scene,
    entries: np.ndarray,
    axes: dict[str, Any],
    description: SequencesDescription,
    sequences: AbstractSequences,
    *,
    first: int,
) -> Any:
    """Figure 4.3 of the thesis for numbers, piano rolls, sounds or frames.

    Args:
        axes: names, times and units of the entries.
        first: number of the first step shown.
    """
    shape = description.shape
    if is_sound(sequences):
        rows = [array[:_WAVE_STEPS].reshape(-1, *shape) for array in (scene.seen, scene.predicted, scene.updated)]
        # Of several channels the first.
        seen, predicted, updated = (array.reshape(*array.shape[:2], -1)[:, :, 0] for array in rows)
        return plot_prediction_update_waves(seen, predicted, updated, first=first)
    if description.likelihood == "bernoulli" and shape == (_PIANO_KEYS,):
        return plot_prediction_update_rolls(np.nan_to_num(scene.seen), scene.predicted, scene.updated, first=first)
    if len(shape) in (2, 3) and shape[2:] in ((), (1,), (3,)):
        chosen = np.unique(np.linspace(0, len(scene.seen) - 1, _SHOWN_FRAMES).astype(np.int64))
        strips = {
            name: _pictures(array[chosen].reshape(-1, *shape), scene.seen, _limits(description))
            for name, array in (("data", scene.seen), ("prediction", scene.predicted), ("update", scene.updated))
        }
        return plot_frames(strips, times=(chosen + first).tolist())
    seen, *beliefs = (array[:_CLOSE_STEPS, entries] for array in scene)
    bands = BeliefBand("prediction", *beliefs[:2]), BeliefBand("update", *beliefs[2:])
    return plot_prediction_update(*bands, seen, **{**axes, "time": axes["time"][:_CLOSE_STEPS]}, called="seen")


def _limits(description: SequencesDescription) -> tuple[float, float]:
    if description.likelihood == "bernoulli":
        return 0.0, 1.0
    if description.likelihood in COUNTS:
        return 0.0, np.inf
    return (0.0, GREY_LEVELS - 1.0) if description.likelihood == "discretized-gaussian" else (-np.inf, np.inf)


def _pictures(frames: np.ndarray, seen: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Frames with values from 0 to 1, on one scale: that of the limits, or of what was seen where there are none."""
    low, high = limits if np.isfinite(limits).all() else (float(np.nanmin(seen)), float(np.nanmax(seen)))
    shown = np.clip((np.nan_to_num(frames, nan=low) - low) / ((high - low) or 1.0), 0.0, 1.0)
    return shown[..., 0] if shown.shape[3:] == (1,) else shown


def plot_forecast(
    description: SequencesDescription,
    seen: np.ndarray,
    quantiles: np.ndarray,
    probabilities: Sequence[float],
    dates: np.ndarray | None = None,
) -> Any:
    """The fan of one forecast, of the entries that vary most.

    Args:
        seen: the last steps in the unit of the data, [time, ...]; NaN is missing.
        quantiles: [quantiles, horizon, ...].
        dates: of the last steps and of those to come, if they have any.
    """
    flat, ahead = seen.reshape(len(seen), -1), quantiles.reshape(*quantiles.shape[:2], -1)
    entries = most_varied(flat)
    label = "steps from the last one seen" + (", in usual durations" if description.uneven else "")
    axes = {
        "names": [entry_name(description, entry) for entry in entries.tolist()],
        "time": dates,
        "label": label if dates is None else "date",
        "unit": "unit of the data",
    }
    return plot_quantile_fan(flat[:, entries], ahead[:, :, entries], probabilities, **axes)


def plot_symbol_forecast(description: SequencesDescription, probabilities: Float[np.ndarray, "horizon v"]) -> Any:
    """Probabilities of the symbols to come of one sequence."""
    time, name = np.arange(1.0, len(probabilities) + 1.0), entry_name(description, 0)
    label = "steps from the last one seen"
    return plot_probabilities_in_time(probabilities, time=time, rows=symbol_names(description), label=label, what=name)
