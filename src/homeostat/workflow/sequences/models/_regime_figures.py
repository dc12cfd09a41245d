"""Figures of regimes: the dynamics of each, how they follow one another, and their probabilities along a sequence."""

from collections.abc import Callable

import jax
import numpy as np

from ....data import AbstractSequences
from ....inference import SequenceBatch
from ....runs import RunContext
from ....typing import Array, Float
from ....viz import plot_probabilities_in_time, plot_probability_table, plot_regime_dynamics
from .._axes import STEPS, WARM_STEPS, entry_name, first_sequence, shown_steps, time_axis
from .._description import SequencesDescription

_ENTRIES = 6


def plot_regimes(
    description: SequencesDescription,
    matrices: Float[np.ndarray, "k d d"],
    deviations: Float[np.ndarray, "k m"],
    chain: Float[np.ndarray, "k k"],
    along: Callable[[SequenceBatch], Array],
    sequences: AbstractSequences,
    context: RunContext,
) -> None:
    """Draw dynamics, transitions, and the probabilities of the regimes along the first sequence.

    Args:
        matrices: A of each regime.
        deviations: of the output one step ahead of a known state, in the unit of the model.
        chain: p(s' | s), [s, s'].
        along: gives the probabilities after each step of the only sequence of a batch.
    """
    scaling = description.scaling
    deviations = deviations * scaling.unit[None, :]
    telling = np.sort(np.argsort(-(np.log(deviations).var(axis=0)), kind="stable")[:_ENTRIES])
    names = [entry_name(description, int(np.flatnonzero(scaling.varies)[entry])) for entry in telling.tolist()]
    figure = plot_regime_dynamics(np.linalg.eigvals(matrices), deviations[:, telling], names=names)
    caption = (
        "Left: eigenvalues of the dynamics of each regime. Inside the circle what happened fades, the faster the nearer to the centre; "
        "away from the horizontal axis the state turns by that angle each step. Right: standard deviation of the output one step after "
        "a known state, in the unit of the data."
    )
    context.figure("dynamics", figure, caption=caption)
    regimes = [str(regime) for regime in range(len(chain))]
    figure = plot_probability_table(chain, rows=regimes, columns=regimes, labels=("regime", "next regime"))
    context.figure("transitions", figure, caption="Probability of the next regime (column) after each regime (row).")
    start, stop = shown_steps(sequences, STEPS)
    warm = min(start, WARM_STEPS)
    padded = first_sequence(sequences, start - warm, stop)
    time, label = time_axis(padded, start - warm, description, sequences)
    found = np.asarray(along(jax.tree.map(np.asarray, description.batch(padded))))[warm:]
    figure = plot_probabilities_in_time(found, time=time[warm:], rows=regimes, label=label, what="regime")
    caption = (
        f"Probabilities of the regimes after each step in sequence {sequences.labels[0]!r}, given what came before."
    )
    context.figure("regimes", figure, caption=caption)
