"""Tables of steps: one series, dates, steps that were left out, and known inputs that are text."""

import numpy as np
import pyarrow as pa
import pytest

from homeostat.data import SequenceFormat, Standardization, TableColumns, open_sequences
from homeostat.results import BadInputError


def opened(table, columns=None):
    """Sequences of a table in memory, and what was said about it."""
    told = []
    return open_sequences(pa.table(table), SequenceFormat(columns or TableColumns()), message=told.append), told


def test_one_series_of_months_with_a_gap():
    dates = ["1959-01", "1959-02", "1959-04", "1959-05", "1959-06"]
    found, told = opened({"x": [1.0, 2, 4, 5, 6], "Date": dates})
    assert len(found) == 1 and found.columns == ("x",) and found.timed
    part = found.read(0)
    assert part.times.tolist() == [0, 1, 2, 3, 4, 5]
    assert part.values[:, 0].tolist() == [1, 2, 0, 4, 5, 6]
    assert part.observed[:, 0].tolist() == [True, True, False, True, True, True]
    assert found.calendar.unit == "months"
    assert found.calendar.dates(part.times[[2, 5]]).astype("M8[M]").astype(str).tolist() == ["1959-03", "1959-06"]
    assert told == [
        "table: one sequence of 5 steps (no column of sequences; --sequence-column names one)",
        "columns: x",
        "time: months from 1959-01 (column Date)",
        "steps that were left out: 1, which are inserted as missing",
    ]
    # Views keep the calendar.
    views = Standardization.overall(found).apply(found.select([0]))
    assert views.calendar == found.calendar
    plain, _ = opened({"x": [1.0, 2, 4, 5, 6], "when": dates})
    assert plain.columns == ("x",) and plain.lengths.tolist() == [6]


def test_times_by_their_names():
    table = {"year": [2020, 2021, 2022], "month": [1, 1, 2], "x": [1.0, 2, 3]}
    found, _ = opened(table)
    assert found.columns == ("month", "x") and found.times(0).tolist() == [2020, 2021, 2022]
    # Years that do not rise are numbers like others.
    found, told = opened(table | {"year": [2020, 2020, 2021]})
    assert found.columns == ("year", "month", "x") and not found.timed and "no column of times" in told[-1]
    found, _ = opened(table, TableColumns(time=""))
    assert found.columns == ("year", "month", "x") and not found.timed
    found, _ = opened(table | {"sequence": ["a", "b", "a"]}, TableColumns(sequence="", values=("x",)))
    assert len(found) == 1 and found.lengths.tolist() == [3] and found.timed
    asked, _ = opened(table, TableColumns(values=("year", "x")))
    assert asked.columns == ("year", "x") and not asked.timed
    chosen, _ = opened({"day": ["2021-01-04", "2021-01-05"], "x": [1, 2], "y": [1, 2]}, TableColumns(values=("y",)))
    assert chosen.columns == ("y",) and chosen.calendar.unit == "days"


@pytest.mark.parametrize(
    ("dates", "day_first", "second", "told"),
    [
        (
            ["01/30/2021", "01/31/2021", "02/01/2021"],
            True,
            "2021-01-31",
            "days from 2021-01-30 (column date, read as month/day/year)",
        ),
        (
            ["30/01/2021", "31/01/2021", "01/02/2021"],
            False,
            "2021-01-31",
            "days from 2021-01-30 (column date, read as day/month/year)",
        ),
        (
            ["01/02/2021", "01/03/2021", "01/04/2021"],
            False,
            "2021-01-03",
            "which no date in it decides; the other way with --day-first)",
        ),
        (
            ["01/02/2021", "01/03/2021", "01/04/2021"],
            True,
            "2021-03-01",
            "read as day/month/year, which no date in it decides; the other way without --day-first)",
        ),
        ([20210130, 20210131, 20210201], False, "2021-01-31", "time: days from 2021-01-30 (column date)"),
        (["20210130", "20210131", "20210201"], False, "2021-01-31", "time: days from 2021-01-30 (column date)"),
        ([20210130, 20210131, 20210132], False, None, "time: the numbers of column date"),
    ],
)
def test_dates_whose_column_says_what_they_are(dates, day_first, second, told):
    found, lines = opened({"x": [1.0, 2, 3], "date": dates}, TableColumns(day_first=day_first))
    assert lines[2].endswith(told) and found.columns == ("x",)
    if second is not None:
        assert str(found.calendar.dates(found.times(0)[1:2]).astype("M8[D]")[0]) == second


def test_dates_that_fall_may_be_the_other_way_round():
    with pytest.raises(
        BadInputError, match="times that rise .* read as day/month/year, .* the other way without --day-first"
    ):
        opened({"date": ["01/09/2021", "01/10/2021", "02/01/2021"], "x": [1.0, 2, 3]}, TableColumns(day_first=True))


def test_numbers_of_eight_digits_are_dates_under_the_name_of_a_time_only():
    found, _ = opened({"x": [20210130.0, 20210131, 20210201], "day": [1, 2, 3]})
    assert found.read(0).values[:, 0].tolist() == [20210130, 20210131, 20210201] and found.calendar is None


def test_infinite_values_are_named_by_column_and_step():
    with pytest.raises(
        BadInputError, match="got inf in step 2 \\(from 0\\), column y of sequence '0'.* leave the cell empty"
    ):
        opened({"time": [0, 1, 2], "x": [1.0, 2, 3], "y": [1.0, 2, float("inf")]})


def test_known_inputs_that_are_text():
    table = {"time": [0, 1, 3, 4], "x": [1.0, 2, 3, 4], "drug": ["no", "a", "no", None], "dose": [0.5, 1, 2, 3]}
    found, told = opened(table, TableColumns(actions=("drug", "dose")))
    assert found.action_columns == (("drug", ("a", "no")), ("dose", ())) and found.action_shape == (3,)
    part = found.read(0)
    np.testing.assert_array_equal(part.actions, [[0, 1, 0.5], [1, 0, 1], [0, 1, 2]])
    # What an input was in a step that was left out is not known, so that no step is put in.
    assert part.times.tolist() == [0, 1, 3, 4]
    assert "columns: x; known inputs: drug=a, drug=no, dose" in told
    assert told[-1] == "steps that were left out: 1, which stay so, because known inputs would be missing"
    known = TableColumns(actions=("drug", "dose"), categories=(("drug", ("a", "b", "no")), ("dose", ())))
    again, _ = opened(table, known)
    np.testing.assert_array_equal(again.read(0).actions[:, :3], [[0, 0, 1], [1, 0, 0], [0, 0, 1]])
    # A name alone makes no times of text.
    meals, _ = opened({"time": ["Lunch", "Dinner", "Lunch"]})
    assert meals.columns == ("time",) and not meals.timed
    states, _ = opened({"state": ["sun", "rain", "sun", None]})
    assert states.categories == (("rain", "sun"),) and states.read(0).values[:, 0].tolist() == [1, 0, 1, 0]
    assert states.read(0).observed[:, 0].tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    ("table", "columns", "message"),
    [
        ({"date": ["2021-01-04", "2021-01-04"]}, {}, r"got 2021-01-04T00:00:00 after 2021.*row 1 .*--sequence-column"),
        (
            {"date": ["2021-01-04", "2021-01-05", "soon"]},
            {},
            r"row 2 \(from 0\), column date .* got 'soon': write dates",
        ),
        ({"when": ["soon", "03/31/2021"]}, {"time": "when"}, r"row 0 \(from 0\), column when .* got 'soon'"),
        ({"date": ["2021-01-04", None]}, {}, r"a date and time, in row 1 .* an empty cell"),
        ({"date": ["2021-01-04", "2021-01-05"]}, {"unit": "months"}, "dates that are months apart in column date"),
        ({"time": [1, 2]}, {"unit": "months"}, "Expected dates in column time .* got numbers"),
        ({"who": ["k1", "k2"]}, {}, "column who .* looks like an identifier"),
        ({"who": ["k1", "k2"]}, {"actions": ("who",)}, "column who .* looks like an identifier"),
        (
            {"dose": [1.0, None, 2.0]},
            {"actions": ("dose",)},
            r"known inputs, got an empty cell in row 1 .* column dose",
        ),
        ({"when": ["2021-01-04", "2021-01-05"]}, {"actions": ("when",), "time": ""}, "got dates in when"),
        ({"sex": ["f", "f"]}, {}, "got text in sex beside numbers"),
    ],
)
def test_what_cannot_be_read(table, columns, message):
    with pytest.raises(BadInputError, match=message):
        opened(table | {"x": np.arange(len(next(iter(table.values()))))}, TableColumns(**columns))
