"""Figures of discrete states: what each emits, how they follow one another, and their probabilities along a sequence."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...data import AbstractSequences
from ...inference import ModelWithFilter
from ...runs import RunContext
from ...typing import Float, Key
from ...viz import plot_probabilities_in_time, plot_probability_table, plot_state_emissions
from ._describe import SequencesDescription
from ._figures import STEPS, WARM_STEPS, entry_name, first_sequence, shown_steps, time_axis
from ._inference import filter_batch
from ._states import emission_moments, transition_matrix

_ENTRIES = 6


def show_states(
    description: SequencesDescription,
    learned: ModelWithFilter[Any],
    sequences: AbstractSequences,
    context: RunContext,
    *,
    key: Key,
) -> None:
    """Draw emissions, transitions, and the probabilities of the states along the first sequence."""
    _show_emissions(description, learned, context)
    matrix = np.asarray(transition_matrix(learned.model))
    names = [str(state) for state in range(len(matrix))]
    figure = plot_probability_table(matrix, rows=names, columns=names, labels=("state", "next state"))
    context.figure("transitions", figure, caption="Probability of the next state (column) after each state (row).")
    start, stop = shown_steps(sequences, STEPS)
    warm = min(start, WARM_STEPS)
    padded = first_sequence(sequences, start - warm, stop)
    found = filter_batch(learned, jax.tree.map(jnp.asarray, description.batch(padded)), jnp.zeros(1, int), key=key)
    time, label = time_axis(padded, start - warm, description, sequences)
    smoothed, path = (np.asarray(found[name])[0, warm:] for name in ("smoothed", "states"))
    figure = plot_probabilities_in_time(smoothed, path, time=time[warm:], rows=names, label=label)
    caption = f"Probabilities of the states given all the steps shown in sequence {sequences.labels[0]!r}, and the most probable path."
    context.figure("states", figure, caption=caption)


def _show_emissions(description: SequencesDescription, learned: ModelWithFilter[Any], context: RunContext) -> None:
    moments = emission_moments(learned.model)
    if description.likelihood == "categorical":
        rows = [str(state) for state in range(len(moments[0]))]
        table = np.asarray(moments[0])
        figure = plot_probability_table(
            table, rows=rows, columns=_symbols(description), labels=("state", entry_name(description, 0))
        )
        context.figure("emissions", figure, caption="Probability of each symbol (column) in each state (row).")
        return
    scaling = description.scaling
    # In the unit of the data, and only what the model sees.
    means = scaling.keep(description.restore(np.asarray(moments[0])).reshape(len(moments[0]), -1))
    deviations = np.sqrt(np.asarray(moments[1], np.float64)) * scaling.unit[None, :]
    # The entries whose means differ most between states, beside what they scatter.
    telling = means.var(axis=0) / (deviations**2).mean(axis=0)
    shown = np.sort(np.argsort(-telling, kind="stable")[:_ENTRIES])
    names = [entry_name(description, int(np.flatnonzero(scaling.varies)[entry])) for entry in shown.tolist()]
    probable = description.likelihood == "bernoulli"
    figure = plot_state_emissions(means[:, shown], None if probable else deviations[:, shown], names=names)
    what = "Probability of a one" if probable else "Mean and standard deviation of each column"
    more = "; the columns that differ most" if len(telling) > _ENTRIES else ""
    context.figure("emissions", figure, caption=f"{what} in each state{more}.")


def plot_symbol_forecast(description: SequencesDescription, probabilities: Float[np.ndarray, "horizon v"]) -> Any:
    """Probabilities of the symbols to come of one sequence."""
    time, name = np.arange(1.0, len(probabilities) + 1.0), entry_name(description, 0)
    label = "steps from the last one seen"
    return plot_probabilities_in_time(probabilities, time=time, rows=_symbols(description), label=label, what=name)


def _symbols(description: SequencesDescription) -> list[str]:
    """Names of the categories, or their numbers."""
    return [*description.categories[0]] if description.categories else [*map(str, range(description.num_symbols))]
