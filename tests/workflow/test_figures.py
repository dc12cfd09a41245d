"""What the pictures of fits to a user's own data say: names, units and dates."""

import numpy as np
import pytest

from homeostat.data import ArrayRows, Calendar, Sequences
from homeostat.workflow import RowsOptions
from homeostat.workflow._fit import _show_training
from homeostat.workflow.rows._describe import describe_rows
from homeostat.workflow.rows._figures import _entries, _relative, _unit
from homeostat.workflow.sequences._axes import last_dates
from tolerances import ALGEBRA

RANDOM = np.random.default_rng(0)
ROWS = np.insert(RANDOM.normal(size=(20, 3)) * (1.0, 10.0, 100.0), 1, 7.0, axis=1)


def described(options):
    rows = ArrayRows(ROWS)
    return describe_rows(rows, rows, options)._replace(columns=("a", "always", "b", "c"))


def test_columns_stand_in_their_deviations_without_those_that_never_vary():
    description = described(RowsOptions(model="factor-analysis", engine="exact"))
    kept = np.delete(ROWS, 1, axis=1)
    expected = (kept - kept.mean(axis=0)) / kept.std(axis=0)
    np.testing.assert_allclose(_relative(description, ROWS), expected, atol=1e3 * ALGEBRA)
    assert _entries(description) == {"names": ["a", "b", "c"], "label": "column"}
    assert _entries(description._replace(columns=()))["names"] == ["0", "2", "3"]
    awkward = description._replace(columns=("$ in", "always", "$ out $", 40 * "c"))
    assert _entries(awkward)["names"] == [r"\$ in", r"\$ out \$", 31 * "c" + "…"]
    assert _unit(description) == "standard deviations\nof the column"


def test_one_unit_of_all_columns_is_not_called_that_of_each():
    common = np.sqrt(np.mean(np.delete(ROWS, 1, axis=1).var(axis=0)))
    assert f"units of {common:.4g}" in _unit(described(RowsOptions(model="probabilistic-pca", engine="exact")))


def test_forecasts_have_the_dates_of_the_months_to_come():
    months = Calendar("months", "2020-01-31T00:00:00", month_ends=True)
    sequences = Sequences(RANDOM.normal(size=(1, 5, 1)), times=np.arange(5.0), calendar=months)
    found = last_dates(sequences, 2, 3, 1.0)
    assert found is not None
    assert found.astype("M8[D]").astype(str).tolist() == [
        "2020-04-30", "2020-05-31", "2020-06-30", "2020-07-31", "2020-08-31",
    ]  # fmt: skip
    assert last_dates(Sequences(RANDOM.normal(size=(1, 5, 1))), 2, 3, 1.0) is None


@pytest.mark.parametrize(("rate", "titles"), [(0.0, ["free energy"]), (0.5, ["free energy", "distortion", "rate"])])
def test_a_likelihood_that_is_maximised_has_no_panel_of_a_rate(rate, titles):
    lines = [{"step": s, "free_energy_nats": 2, "distortion_nats": 2, "rate_nats": rate} for s in (0, 1)]

    class Run:
        def figure(self, name, figure, *, caption):
            self.drawn = [axis.get_title() for axis in figure.axes]

    _show_training(run := Run(), lines, "row")
    assert run.drawn == titles
