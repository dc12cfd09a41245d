"""What a fit to sequences looks like: learning curves, predictions against updates, beliefs, and what errors still hold."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from ..data import AbstractSequences, FullLength, PaddedBatch, SoundSequences, sequence_batches
from ..inference import SequenceBatch, filter
from ..train import read_json_lines
from ..viz import (
    BeliefBand,
    plot_frames,
    plot_one_step,
    plot_posterior_bands,
    plot_prediction_update,
    plot_prediction_update_rolls,
    plot_prediction_update_waves,
    plot_quantile_fan,
    plot_whiteness,
)
from ..workflow import SequencesDescription, SequencesSystem, Tracker
from ..workflow.sequences._describe import GREY_LEVELS
from ._context import RunContext
from ._fit_figures import expected

_STEPS, _DRAWS = 200, 64
_FRAME_STEPS, _FRAME_DRAWS = 40, 4
_ENTRIES, _LATENTS, _SHOWN_FRAMES = 3, 3, 10
_CLOSE_STEPS = 30
_WAVE_STEPS = 12
_PIANO_KEYS = 88
_BEYOND = 1e12
"""Nats of a training that explodes; no axis should hold them."""


class Outputs(NamedTuple):
    """What a model says of each step of one sequence from the second on, and its beliefs; leading axis [time].

    Attributes:
        predicted: mean of x_{t+1} given what came before, [time - 1, ...].
        spread: its standard deviation.
        updated: mean of x_{t+1} under the belief after it.
        left: its standard deviation.
        mean: of the state after each observation, [time, d].
        deviation: its standard deviation.
    """

    predicted: Any
    spread: Any
    updated: Any
    left: Any
    mean: Any
    deviation: Any


@eqx.filter_jit
def outputs(tracker: Tracker, batch: SequenceBatch, key: jax.Array, num_samples: int) -> Outputs:
    """Outputs before and after each update of the only sequence of a batch, averaged over draws of its state."""
    model = tracker.model
    x, mask = batch.observations[0], jax.tree.map(lambda leaf: leaf[0], batch.mask)
    actions = None if batch.actions is None else batch.actions[0]
    filter_key, draw_key = jax.random.split(key)
    found = filter(tracker.filter, model, x, actions, key=filter_key, mask=mask, throw=False)

    def draw(step: jax.Array, one_key: jax.Array) -> tuple[tuple[jax.Array, jax.Array], ...]:
        before_key, state_key, after_key = jax.random.split(one_key, 3)
        before = jax.tree.map(lambda leaf: leaf[step], found.beliefs).snapshot(key=before_key)
        carry = model.init_carry() if before.carry is None else before.carry
        action = None if actions is None else actions[step]
        carry = model.next_carry(carry, before.state, before.observation, action)
        ahead = model.emission_given(carry, model.prior(carry).sample(state_key))
        after = jax.tree.map(lambda leaf: leaf[step + 1], found.beliefs).snapshot(key=after_key)
        now = model.emission_given(model.init_carry() if after.carry is None else after.carry, after.state)
        shape = x.shape[1:]
        return tuple((expected(one), jnp.broadcast_to(one.variance, shape)) for one in (ahead, now))

    def at(pair: tuple[jax.Array, jax.Array]) -> tuple[tuple[jax.Array, jax.Array], ...]:
        step, step_key = pair
        drawn = jax.vmap(draw, in_axes=(None, 0))(step, jax.random.split(step_key, num_samples))
        # The variance of a mixture: the mean of the variances and the variance of the means.
        return tuple(
            (jnp.mean(mean, axis=0), jnp.sqrt(jnp.mean(variance, axis=0) + jnp.var(mean, axis=0)))
            for mean, variance in drawn
        )

    count = x.shape[0] - 1
    (predicted, spread), (updated, left) = jax.lax.map(at, (jnp.arange(count), jax.random.split(draw_key, count)))
    mean, variance = jax.vmap(lambda belief: (belief.mean, jnp.diagonal(belief.covariance)))(found.beliefs)
    return Outputs(predicted, spread, updated, left, mean, jnp.sqrt(variance))


class _Scene(NamedTuple):
    """One sequence with what was predicted of it, in the unit of the data, [time - 1, entries]; from the second step on."""

    seen: np.ndarray
    predicted: np.ndarray
    spread: np.ndarray
    updated: np.ndarray
    left: np.ndarray
    time: np.ndarray
    label: str


def show_filtering(
    system: SequencesSystem, learned: Tracker, sequences: AbstractSequences, context: RunContext, *, key: Any
) -> None:
    """Draw the beginning of the first sequence: predictions one step ahead, updates, beliefs, and the errors' pattern.

    Args:
        system: what was built.
        learned: what training left.
        sequences: that no number was learned from, where there are any.
        context: of the run.
        key: for draws.
    """
    observations = system.observations
    framed = len(observations.shape) > 1 and not _is_sound(sequences)
    steps, draws = (_FRAME_STEPS, _FRAME_DRAWS) if framed else (_STEPS, _DRAWS)
    padded = _beginning(sequences, min(steps, int(sequences.lengths[0])))
    found = jax.tree.map(np.asarray, outputs(learned, observations.batch(padded), key, draws))
    scene = _scene(padded, found, observations)
    # The entries that vary most say most about what can be predicted.
    entries = most_varied(scene.seen)
    names = [entry_name(observations, entry) for entry in entries.tolist()]
    what = f"in sequence {sequences.labels[0]!r}"
    probable = observations.likelihood == "bernoulli"
    band = None if probable else scene.spread[:, entries]
    bands = "as probabilities" if probable else "with bands of two standard deviations"
    context.figure(
        "one-step",
        plot_one_step(
            scene.seen[:, entries],
            scene.predicted[:, entries],
            band,
            names=names,
            time=scene.time,
            label=scene.label,
            limits=_limits(observations),
        ),
        caption=f"What was seen and what was predicted one step ahead {what}, {bands}; the entries that vary most.",
    )
    context.figure(
        "prediction-update",
        _prediction_update(scene, entries, names, observations, sequences),
        caption=f"What was predicted one step ahead, and what the model says of the same step once it has seen it, {what}.",
    )
    shown = np.sort(np.argsort(-found.mean.var(axis=0), kind="stable")[:_LATENTS])
    belief = BeliefBand("posterior", found.mean[:, shown], found.deviation[:, shown])
    time, label = _time(padded, observations, first=0)
    context.figure(
        "beliefs",
        plot_posterior_bands([belief], names=[f"latent {number}" for number in shown], time=time, label=label),
        caption=f"Beliefs about the state after each step {what}, with bands of two standard deviations; the latents whose "
        f"means vary most.",
    )
    errors = (scene.seen - scene.predicted) / np.maximum(scene.spread, 1e-6 * scene.spread.max())
    context.figure(
        "whiteness",
        plot_whiteness(errors[:, entries], names=names),
        caption="Autocorrelation of the standardised one-step errors. Inside the dotted lines it cannot be told from that of "
        "white noise (95 %): then nothing is left that a linear predictor could use.",
    )


def _is_sound(sequences: AbstractSequences) -> bool:
    while hasattr(sequences, "sequences"):
        sequences = getattr(sequences, "sequences")  # noqa: B009 - views hold what they are views of
    return isinstance(sequences, SoundSequences)


def _beginning(sequences: AbstractSequences, steps: int) -> PaddedBatch:
    """So many steps of the first sequence."""
    length = int(sequences.lengths[0])
    whole = next(iter(sequence_batches(sequences.select([0]), FullLength((length,)), 1, seed=0)))
    return whole._replace(
        values=whole.values[:, :steps],
        observed=whole.observed[:, :steps],
        lengths=np.minimum(whole.lengths, steps),
        times=None if whole.times is None else whole.times[:, :steps],
        actions=None if whole.actions is None else whole.actions[:, : steps - 1],
    )


def _scene(padded: PaddedBatch, found: Outputs, observations: SequencesDescription) -> _Scene:
    seen = np.where(padded.observed[0, 1:], padded.values[0, 1:].astype(np.float64), np.nan)
    scale = np.broadcast_to(observations.scale, observations.shape).reshape(1, -1)

    def flat(array: np.ndarray) -> np.ndarray:
        return array.reshape(len(array), -1)

    return _Scene(
        flat(seen),
        flat(observations.restore(found.predicted)),
        flat(found.spread) * scale,
        flat(observations.restore(found.updated)),
        flat(found.left) * scale,
        *_time(padded, observations, first=1),
    )


def _time(padded: PaddedBatch, observations: SequencesDescription, *, first: int) -> tuple[np.ndarray, str]:
    """Times where steps differ in duration, else numbers of steps from 1; from step `first` (from 0) on."""
    if observations.uneven and padded.times is not None:
        return padded.times[0, first:] - padded.times[0, 0], "time since the first step, in the unit of the data"
    return np.arange(first + 1.0, padded.values.shape[1] + 1.0), "step"


def most_varied(seen: np.ndarray) -> np.ndarray:
    """Numbers of the entries that vary most, rising; NaN is missing."""
    count = np.maximum(np.isfinite(seen).sum(axis=0), 1)
    centred = seen - np.nansum(seen, axis=0) / count
    variance = np.nansum(centred**2, axis=0) / count
    return np.sort(np.argsort(-variance, kind="stable")[:_ENTRIES])


def entry_name(observations: SequencesDescription, entry: int) -> str:
    """The name of the column, or the number of the entry."""
    return observations.columns[entry] if observations.columns else f"entry {entry}"


def _prediction_update(
    scene: _Scene,
    entries: np.ndarray,
    names: Sequence[str],
    observations: SequencesDescription,
    sequences: AbstractSequences,
) -> Figure:
    """Figure 4.3 of the thesis for numbers, piano rolls, sounds or frames."""
    shape = observations.shape
    if _is_sound(sequences):
        rows = [array[:_WAVE_STEPS].reshape(-1, *shape) for array in (scene.seen, scene.predicted, scene.updated)]
        # Of several channels the first.
        seen, predicted, updated = (array.reshape(*array.shape[:2], -1)[:, :, 0] for array in rows)
        return plot_prediction_update_waves(seen, predicted, updated, first=2)
    if observations.likelihood == "bernoulli" and shape == (_PIANO_KEYS,):
        return plot_prediction_update_rolls(np.nan_to_num(scene.seen), scene.predicted, scene.updated, first=2)
    if len(shape) in (2, 3) and shape[2:] in ((), (1,), (3,)):
        chosen = np.unique(np.linspace(0, len(scene.seen) - 1, _SHOWN_FRAMES).astype(np.int64))
        strips = {
            name: _pictures(array[chosen].reshape(-1, *shape), scene.seen, _limits(observations))
            for name, array in (("data", scene.seen), ("prediction", scene.predicted), ("update", scene.updated))
        }
        return plot_frames(strips, times=(chosen + 2).tolist())
    some = slice(0, _CLOSE_STEPS)
    return plot_prediction_update(
        BeliefBand("prediction", scene.predicted[some, entries], scene.spread[some, entries]),
        BeliefBand("update", scene.updated[some, entries], scene.left[some, entries]),
        scene.seen[some, entries],
        names=names,
        first=2,
        called="seen",
    )


def _limits(observations: SequencesDescription) -> tuple[float, float]:
    """Least and greatest number that can be observed."""
    if observations.likelihood == "bernoulli":
        return 0.0, 1.0
    return (0.0, GREY_LEVELS - 1.0) if observations.likelihood == "discretized-gaussian" else (-np.inf, np.inf)


def _pictures(frames: np.ndarray, seen: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Frames with values from 0 to 1, on one scale: that of the limits, or of what was seen where there are none."""
    low, high = limits if np.isfinite(limits).all() else (float(np.nanmin(seen)), float(np.nanmax(seen)))
    shown = np.clip((np.nan_to_num(frames, nan=low) - low) / ((high - low) or 1.0), 0.0, 1.0)
    return shown[..., 0] if shown.shape[3:] == (1,) else shown


def forecast_figure(
    observations: SequencesDescription,
    seen: np.ndarray,
    quantiles: np.ndarray,
    probabilities: Sequence[float],
) -> Figure:
    """The fan of one forecast, of the entries that vary most.

    Args:
        observations: what the sequences are.
        seen: the last steps in the unit of the data, [time, ...]; NaN is missing.
        quantiles: [quantiles, horizon, ...].
        probabilities: of the quantiles.
    """
    flat, ahead = seen.reshape(len(seen), -1), quantiles.reshape(*quantiles.shape[:2], -1)
    entries = most_varied(flat)
    label = "steps from the last one seen" + (", in usual durations" if observations.uneven else "")
    names = [entry_name(observations, entry) for entry in entries.tolist()]
    return plot_quantile_fan(flat[:, entries], ahead[:, :, entries], probabilities, names=names, label=label)


def show_sequence_training(context: RunContext) -> None:
    """Draw the learning curves in nats of the data per step, if there are enough numbers."""
    words = {
        "free_energy_nats": "training",
        "validation_free_energy_nats": "validation",
        "distortion_nats": "distortion",
        "rate_nats": "rate",
    }
    series: dict[str, list[tuple[float, float]]] = {name: [] for name in words}
    for line in read_json_lines(context.folder / "metrics.jsonl"):
        for name, points in series.items():
            if line.get(name) is not None and abs(line[name]) < _BEYOND:
                points.append((line["step"], line[name]))
    if len(series["free_energy_nats"]) < 2:
        return
    panels = {"free energy": ("free_energy_nats", "validation_free_energy_nats")}
    panels |= {words[name]: (name,) for name in ("distortion_nats", "rate_nats") if len(series[name]) > 1}
    figure = Figure(figsize=(1.5 + 2.7 * len(panels), 2.9), layout="constrained")
    for axis, (title, names) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels.items(), strict=True):
        for name in names:
            if series[name]:
                axis.plot(
                    *zip(*series[name], strict=True),
                    marker="o" if len(series[name]) < 12 else "",
                    ms=3,
                    label=words[name],
                )
        axis.set_title(title, fontsize=10)
        axis.set(xlabel="steps of learning", ylabel="nats per step")
        axis.spines[["top", "right"]].set_visible(False)
        values = np.concatenate([np.asarray(line.get_ydata(), float) for line in axis.lines])
        # The first updates are far above all others: the axis shows where learning happens.
        low, high = float(values.min()), float(np.quantile(values, 0.95))
        axis.set_ylim(low - 0.05 * (high - low or 1.0), high + 0.1 * (high - low or 1.0))
        if len(axis.lines) > 1:
            axis.legend(frameon=False, fontsize=8)
    context.figure(
        "training",
        figure,
        caption="Free energy per step of a sequence, in the unit of the data, against the steps of learning.",
    )
