"""Pictures of hidden Markov models have an entry for each state, whatever time is counted in."""

import numpy as np
import pytest

from homeostat.viz import plot_probabilities_in_time, plot_probability_table


@pytest.mark.parametrize("columns", [["0", "1"], ["low", "very high"]])
def test_a_table_of_probabilities_names_rows_and_columns(columns):
    figure = plot_probability_table(
        np.array([[0.9, 0.1], [0.3, 0.7]]), rows=["0", "1"], columns=columns, labels=("state", "next state")
    )
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == columns
    assert [text.get_text() for text in axis.texts] == ["0.90", "0.10", "0.30", "0.70"]


@pytest.mark.parametrize("time", [np.arange(1.0, 5.0), np.datetime64("2020-01-01") + 7 * np.arange(4)])
def test_states_in_time_stand_at_their_steps(time):
    probabilities = np.array([[1.0, 0.0], [0.4, 0.6], [0.1, 0.9], [0.0, 1.0]])
    figure = plot_probabilities_in_time(probabilities, np.array([0, 1, 1, 1]), time=time, rows=["0", "1"], label="step")
    axis = figure.axes[0]
    np.testing.assert_array_equal(axis.collections[0].get_array().reshape(2, 4), probabilities.T)
    assert axis.lines[0].get_ydata().tolist() == [0, 1, 1, 1]
