"""Figures of discrete states: what each emits, how they follow one another, and their probabilities along a sequence."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ....data import AbstractSequences
from ....inference import SequenceBatch
from ....runs import RunContext
from ....typing import Array
from ....viz import plot_probabilities_in_time, plot_probability_table, plot_state_emissions
from .._axes import STEPS, WARM_STEPS, entry_name, first_sequence, shown_steps, symbol_names, time_axis
from .._description import SequencesDescription

_ENTRIES = 6


def plot_states(
    description: SequencesDescription,
    moments: tuple[Array, Array],
    matrix: Array,
    along: Callable[[SequenceBatch], tuple[Array, Array]],
    sequences: AbstractSequences,
    context: RunContext,
) -> None:
    """Draw emissions, transitions, and the probabilities of the states along the first sequence.

    Args:
        moments: mean and variance of the output in each state.
        matrix: p(z' | z), [z, z'].
        along: gives probabilities given all steps, and the most probable path, of the only sequence of a batch.
    """
    _show_emissions(description, moments, context)
    names = [str(state) for state in range(len(matrix))]
    figure = plot_probability_table(np.asarray(matrix), rows=names, columns=names, labels=("state", "next state"))
    context.figure("transitions", figure, caption="Probability of the next state (column) after each state (row).")
    plot_states_in_time(description, along, names, sequences, context)


def plot_states_in_time(
    description: SequencesDescription,
    along: Callable[[SequenceBatch], tuple[Array, Array]],
    names: list[str],
    sequences: AbstractSequences,
    context: RunContext,
) -> None:
    """Draw the probabilities of named states along the first sequence; arguments as for `plot_states`."""
    start, stop = shown_steps(sequences, STEPS)
    warm = min(start, WARM_STEPS)
    padded = first_sequence(sequences, start - warm, stop)
    time, label = time_axis(padded, start - warm, description, sequences)
    found = along(jax.tree.map(jnp.asarray, description.batch(padded)))
    smoothed, path = (np.asarray(array)[warm:] for array in found)
    figure = plot_probabilities_in_time(smoothed, path, time=time[warm:], rows=names, label=label)
    caption = f"Probabilities of the states given all the steps shown in sequence {sequences.labels[0]!r}, and the most probable path."
    context.figure("states", figure, caption=caption)


def _show_emissions(description: SequencesDescription, moments: tuple[Array, Array], context: RunContext) -> None:
    if description.likelihood == "categorical":
        rows = [str(state) for state in range(len(moments[0]))]
        table = np.asarray(moments[0])
        figure = plot_probability_table(
            table, rows=rows, columns=symbol_names(description), labels=("state", entry_name(description, 0))
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
